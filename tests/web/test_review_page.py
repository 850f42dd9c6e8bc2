"""The review page in Chromium, driven by keys alone: blind, kept, saved, imported, and on the card."""

import json
import re
import shutil
import time
from types import SimpleNamespace

import pytest
from click.testing import CliRunner

from fake_run import STAMPED, write_run
from reviews import answer, reply, write_answers, write_review
from tinsmith.browser.chromium import Browser
from tinsmith.card import stage as card_stage
from tinsmith.card.published import FOLDER, PRIVATE
from tinsmith.card.snippet_run import SnippetRun
from tinsmith.card.verify import card_problems
from tinsmith.cli import main
from tinsmith.core.measure import current_measurements
from tinsmith.core.run_dir import RunDir, read_json, read_stamp, tree_sha256s, write_json
from tinsmith.pipeline.runner import run_pipeline

pytestmark = pytest.mark.browser

ITEMS = 24
HOSTILE = '</script><img src=x onerror="window.hacked = 1"> <!-- & **bold**'
KEYS = {"Enter": (13, "\r"), "Tab": (9, ""), "Backspace": (8, ""), "ArrowDown": (40, ""), " ": (32, " ")}


@pytest.fixture(scope="module")
def browser():
    with Browser(webgpu="none") as browser:
        yield browser


@pytest.fixture
def run(tmp_path, monkeypatch):
    """A run that has finished up to `remote`, with answers to review, whose card needs no browser."""
    monkeypatch.chdir(tmp_path)
    run = write_run(tmp_path / "tea-bot", STAMPED[: STAMPED.index("review")])
    write_answers(run.stage("evaluate"), [answer(n) for n in range(ITEMS - 1)] + [hostile(ITEMS - 1)])
    stamp = read_stamp(run.stamp("evaluate"))
    write_json(run.stamp("evaluate"), stamp | {"outputs": tree_sha256s(run.stage("evaluate"))})

    def ran(printed, package, answers):
        return [SnippetRun(s.form, s.code, "Rp 32k", "wasm" * (s.form != "answers"), "Chromium", 1.0) for s in printed]

    def up_to_card(config, run, options):
        run_pipeline(config, run, lambda line: None, options.first, "card")

    monkeypatch.setattr(card_stage, "run_snippets", ran)
    monkeypatch.setattr("tinsmith.commands.review.run_and_report", up_to_card)
    return run


def hostile(number):
    return answer(number, question=f"Why {HOSTILE}?", int4=reply(f"It costs {20 + number} kr. {HOSTILE}"))


def tinsmith(*arguments):
    return CliRunner().invoke(main, [*map(str, arguments)])


@pytest.fixture
def page(run, browser, tmp_path):
    """The page of the run, opened from the disk. What it saves goes to `saved/`."""
    done = tinsmith("review", run.root)
    assert done.exit_code == 0 and f"{ITEMS} questions, each with 2 replies" in done.stderr, done.output
    (tmp_path / "saved").mkdir()
    browser.call("Browser.setDownloadBehavior", {"behavior": "allow", "downloadPath": str(tmp_path / "saved")})
    page = browser.open((tmp_path / "review.html").as_uri())
    page.wait_for("document.activeElement.id === 'name'")
    page.evaluate("localStorage.clear()")
    return page


def press(page, *keys):
    """Press keys one after the other, as a keyboard would."""
    for key in keys:
        code, text = KEYS.get(key) or (ord(key.upper()) if key.isalnum() else 0, key)
        for kind in ("keyDown", "keyUp"):
            more = {"text": text} if text and kind == "keyDown" else {}
            event = {"type": kind, "key": key, "windowsVirtualKeyCode": code, **more}
            page._browser.call("Input.dispatchKeyEvent", event, page._session)


def start(page, name, is_author=False):
    press(page, *name, *(("Tab", " ") if is_author else ()), "Enter")
    page.wait_for("!document.getElementById('item').hidden")


def shown(page):
    """What a rater sees now."""
    seen = page.evaluate(
        """({
          question: document.getElementById("question").textContent,
          replies: [...document.querySelectorAll(".reply .prose")].map((one) => one.innerText),
          reference: document.querySelector(".reference")?.innerText ?? "",
          facts: [...document.querySelectorAll(".fact label span")].map((one) => one.firstChild.textContent),
        })"""
    )
    return SimpleNamespace(**seen)


def is_right(text):
    return text.startswith("It costs")


def grade_item(page, right=is_right, strike=()):
    """Review the item on the page by reading it, and go on to the next."""
    seen = shown(page)
    assert not seen.reference and len(seen.replies) == 2
    press(page, *("4" if right(text) else "2" for text in seen.replies), "Enter")
    page.wait_for("!!document.querySelector('.reference')")
    assert shown(page).replies == seen.replies
    press(page, *(key for text in seen.replies for key in (("y", "y") if right(text) else ("n", "n"))))
    page.wait_for("document.activeElement.type === 'checkbox'")
    done = page.evaluate("document.getElementById('progress').value")
    press(page, *strike, "Enter")
    page.wait_for(f"document.getElementById('progress').value > {done}")
    return seen


def wait_for_file(folder, name, seconds=20):
    deadline = time.monotonic() + seconds
    while not (folder / name).exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    return folder / name


def save(page, tmp_path, name):
    """Press Enter on the button that has the focus at the end."""
    page.wait_for("document.activeElement.id === 'save-all'")
    press(page, "Enter")
    page.wait_for(f"document.getElementById('state').textContent.includes({json.dumps(name)})")
    return wait_for_file(tmp_path / "saved", name)


def test_twenty_items_by_keys_alone_and_onto_the_card(page, run, tmp_path):
    start(page, "Ada L.", is_author=True)
    first_places = []
    for number in range(1, ITEMS + 1):
        seen = grade_item(page)
        first_places.append(is_right(seen.replies[0]))
        assert page.evaluate("document.getElementById('count').textContent") == f"{number} of {ITEMS} done"
        assert page.evaluate("document.getElementById('save').hidden") == (number < 20 or number == ITEMS)
    assert 2 < sum(first_places) < ITEMS - 2, "the order of the replies must say nothing"
    path = save(page, tmp_path, "review-ada-l.json")
    assert [request.url.rpartition("/")[2] for request in page.requests] == ["review.html"]
    assert page.console == [] and page.exceptions == []
    assert "hacked" not in page.evaluate("Object.keys(window)")

    done = tinsmith("review", run.root, "--import", path)
    assert done.exit_code == 0 and f"imported the review by Ada L.: {ITEMS} items" in done.stderr, done.output
    values = {m.id: m.value for m in current_measurements(run)}
    assert (values["review.accuracy.int4"], values["review.accuracy.base"]) == (10, 0)
    assert (values["review.factual.int4"], values["review.quality.int4"], values["review.quality.base"]) == (
        10,
        7.5,
        2.5,
    )
    assert 0 < values["review.facts.int4"] < 1
    (rater,) = read_json(run.stage("review") / "review.json")["raters"]
    assert (rater["is_author"], rater["items"]) == (True, ITEMS)
    card = (run.stage("card") / "README.md").read_text()
    for title, score in (("Accuracy on domain questions", 10), ("Response quality", 7.5), ("Factual correctness", 10)):
        assert re.search(rf"{title}: {score:.2f} / 10 \(.*24 items, judged by 1 person, the author\)", card)
    published = [path for path in run.stage("card").rglob("*") if path.is_file()]
    assert not any("Ada L." in path.read_text(errors="ignore") for path in published)


def test_scores_can_be_computed_again_from_the_published_card(run, tmp_path):
    path = write_review(tmp_path / "ada.json", run.stage("evaluate"), "Ada L.")
    assert tinsmith("review", run.root, "--import", path).exit_code == 0
    published = tmp_path / "published"
    shutil.copytree(run.stage("card"), published)

    def problems():
        return [one for one in card_problems(RunDir(published / FOLDER), published, PRIVATE) if "review" in one]

    assert problems() == []
    grades = published / FOLDER / "review/grades.jsonl"
    assert "tea.json" not in grades.read_text(), "an id may be a name"
    grades.write_text(grades.read_text().replace('"grade": 1', '"grade": 0', 1))
    assert any("review.accuracy.int4" in one for one in problems())


def test_a_second_rater_agrees_less_and_can_be_removed(page, run, tmp_path):
    files = []
    for name, right in (("Ada", is_right), ("Bo", lambda text: is_right(text) or len(files) == 1)):
        if files:
            page.navigate((tmp_path / "review.html").as_uri())
            page.wait_for("document.activeElement.id === 'name'")
        start(page, name)
        orders = [grade_item(page, right).question for _ in range(ITEMS)]
        files.append((save(page, tmp_path, f"review-{name.lower()}.json"), orders))
    assert files[0][1] != files[1][1] and sorted(files[0][1]) == sorted(files[1][1])
    done = tinsmith("review", run.root, "--import", *(path for path, _ in files))
    assert done.exit_code == 0, done.output
    values = {m.id: m.value for m in current_measurements(run)}
    assert values["review.raters"] == 2 and values["review.alpha.accuracy"] < 0.5
    assert values["review.accuracy.base"] == 5

    again = tinsmith("review", run.root, "--import", files[0][0])
    assert again.exit_code == 2 and "there is a review by 'Ada' already" in again.stderr
    assert tinsmith("review", run.root, "--remove", "bo").exit_code == 0
    values = {m.id: m.value for m in current_measurements(run)}
    assert values["review.raters"] == 1 and values["review.accuracy.base"] == 0


def test_a_saved_file_that_was_edited_is_refused(page, run, tmp_path):
    start(page, "Ada")
    for _ in range(20):
        grade_item(page)
    page.evaluate("document.getElementById('save').focus()")
    press(page, "Enter")
    path = wait_for_file(tmp_path / "saved", "review-ada.json")
    text = path.read_text()
    path.write_text(text.replace('"accuracy": 0', '"accuracy": 1', 1))
    done = tinsmith("review", run.root, "--import", path)
    assert done.exit_code == 2 and "changed after the page saved it" in done.stderr
    assert not run.reviews.exists()
    path.write_text(text)
    shutil.copy(path, tmp_path / "again.json")
    assert tinsmith("review", run.root, "--import", tmp_path / "again.json").exit_code == 0


def test_what_is_done_is_kept_and_goes_on(page, tmp_path):
    start(page, "Ada")
    before = [grade_item(page).question for _ in range(3)]
    half = shown(page)
    press(page, "3")
    page.wait_for("document.querySelectorAll('.options input:checked').length === 1")
    page.navigate((tmp_path / "review.html").as_uri())
    page.wait_for("document.activeElement.id === 'name'")
    assert page.evaluate("document.getElementById('reviews').innerText") == f"Ada: 3 of {ITEMS}"
    start(page, " ada ")
    assert shown(page) == half and half.question not in before
    assert page.evaluate("document.querySelector('.options input:checked').name").startswith("quality-")
    press(page, "5", "Enter")
    page.wait_for("!!document.querySelector('.reference')")


def test_quality_is_final_once_the_reference_is_seen_and_verdicts_are_not(page, tmp_path):
    start(page, "Ada")
    grade_item(page)
    press(page, "Backspace")
    page.wait_for("!!document.querySelector('.reference')")
    names = "[...document.querySelectorAll('.options input')].map((one) => one.name.split('-')[0])"
    assert set(page.evaluate(names)) == {"accuracy", "factual"}
    checked = "[...document.querySelectorAll('.options input:checked')].map((one) => one.parentNode.innerText[0])"
    before = page.evaluate(checked)
    assert len(before) == 4
    page.evaluate("document.querySelector('.grades input').focus()")
    press(page, "n" if before[0] == "Y" else "y")
    page.wait_for(f"{checked}[0] !== {json.dumps(before[0])}")
    press(page, "Enter")
    page.wait_for("!document.querySelector('.reference')")


def test_enter_waits_for_an_answer_and_arrows_choose_too(page):
    start(page, "Ada")
    press(page, "1", "Enter")
    page.wait_for("document.getElementById('state').textContent === 'Answer this first.'")
    assert page.evaluate("document.querySelector('.current legend').textContent").startswith(
        "Response quality of reply B"
    )
    press(page, "ArrowDown", "ArrowDown")
    page.wait_for("document.querySelectorAll('.options input:checked').length === 2")
    press(page, "Enter")
    page.wait_for("!!document.querySelector('.reference')")


def test_facts_are_struck_and_wrong_values_added(page, run, tmp_path):
    start(page, "Ada")
    seen = shown(page)
    press(page, "2", "2", "Enter")
    page.wait_for("!!document.querySelector('.reference')")
    press(page, *"nnnn")
    page.wait_for("document.activeElement.type === 'checkbox'")
    facts = shown(page).facts
    press(page, "2", "Tab", *"99 kr; 98", "Enter")
    page.wait_for("document.getElementById('progress').value === 1")
    for _ in range(ITEMS - 1):
        grade_item(page)
    document = json.loads(save(page, tmp_path, "review-ada.json").read_text())
    item = document["items"][0]
    assert [fact["text"] for fact in item["facts"]] == facts and len(facts) == 2, seen.question
    assert [fact["is_confirmed"] for fact in item["facts"]] == [True, False]
    assert item["facts"][0]["forbidden"] == ["99 kr", "98"]
    assert all(fact["is_confirmed"] for item in document["items"][1:] for fact in item["facts"])


def test_texts_stay_text_and_nothing_is_loaded_or_sent(page):
    start(page, "Ada")
    for _ in range(ITEMS):
        if "script" in shown(page).question:
            break
        grade_item(page)
    assert HOSTILE in shown(page).question
    assert any('onerror="window.hacked = 1"> <!-- & bold' in text for text in shown(page).replies)
    assert not page.evaluate("'hacked' in window || !!document.querySelector('main img')")
    assert page.evaluate("fetch('https://tea.example/').then(() => 'sent', () => 'blocked')") == "blocked"
    refused = "(() => { try { document.body.innerHTML = '<p>'; return 'set'; } catch { return 'refused'; } })()"
    assert page.evaluate(refused) == "refused"


def test_options_that_do_not_go_together(run, tmp_path):
    for options, words in (
        (("--import",), "--import and the files to import go together"),
        (("a.json",), "--import and the files to import go together"),
        (("--import", "a.json", "--remove", "Ada"), "without --remove"),
        (("--of", "int4"), "at least two different replies"),
        (("--of", "int4,int4"), "at least two different replies"),
        (("--of", "int4,gpt"), "Choose from base, tuned, int4, page, reference"),
        (("--of", "int4,page"), "there are none of page"),
        (("--remove", "Ada"), "reviews are by: nobody"),
    ):
        done = tinsmith("review", run.root, *options)
        assert done.exit_code == 2 and words in done.stderr, options
    (tmp_path / "review.html").write_text("mine")
    done = tinsmith("review", run.root)
    assert done.exit_code == 2 and "already there" in done.stderr and (tmp_path / "review.html").read_text() == "mine"
