"""The pages against WCAG 2.2 level A and AA, as far as axe-core can tell, in every state, width and colour scheme."""

import json

import pytest

from echo import ECHO
from fake_data_report import full_report
from ladder import ask, click, finish_loading, open_page, send, write_page
from packages import tiny_run, write_site
from reviews import CHOICE, SEED, answer, write_answers
from tinsmith.assess.review_set import review_set
from tinsmith.browser.chromium import Browser
from tinsmith.browser.npm import package_files, pinned_package
from tinsmith.browser.runtime import WEB_DIR
from tinsmith.browser.serve import SiteServer
from tinsmith.commands.compare_page import compare_page
from tinsmith.commands.difference_rows import Row, Section
from tinsmith.commands.questions_page import questions_page
from tinsmith.commands.review_page import review_page
from tinsmith.core.run_dir import read_json, write_json, write_text
from tinsmith.data.report_page import report_html
from tinsmith.model.answers.questions import Question
from tinsmith.model.passages import Passage, Source

pytestmark = pytest.mark.browser

RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
ANSWER = (
    "## Tea\n\nOne *two* **three** `four`.\n\n1. Heat\n2. Pour\n\n```\n" + "a very long line of code " * 8 + "\n```"
)
VIEWS = [(360, False), (360, True), (1280, False), (1280, True)]


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    run, folder, card = (
        tiny_run("llama", tmp_path_factory),
        tmp_path_factory.mktemp("site"),
        tmp_path_factory.mktemp("card"),
    )
    row = "| " + "a wide cell of the table | " * 9
    code = "```js\n" + "const pipe = await pipeline(); " * 9 + "\n```"
    write_text(
        card / "README.md",
        f"# Model Card: tea\n\n## Numbers\n\n{row}\n{'|---' * 9}|\n{row}\n\n{code}\n\n[Tea](https://tea.example)\n",
    )
    write_text(
        card / "EVIDENCE.md", f"# Evidence: tea\n\n{row}\n{'|---' * 9}|\n{row}\n\nThe [card](README.md#numbers)\n"
    )
    write_site(run, folder, card=card)
    return folder


@pytest.fixture(scope="module")
def browser():
    with Browser(webgpu="none") as browser:
        yield browser


def violations(page, width, dark, tmp_path):
    """What axe-core objects to, as `rule: selector: why`."""
    page.screenshot(tmp_path / "page.png", width, 740, dark)
    axe_core = package_files(pinned_package(WEB_DIR / "package-lock.json", "axe-core"), ("axe.min.js",))
    page.evaluate((axe_core / "axe.min.js").read_text() + "; 0")
    report = page.evaluate(f"axe.run({{ runOnly: {json.dumps(RULES)} }})", 60)
    assert len(report["passes"]) > 10
    return [
        f"{rule['id']}: {node['target']}: {node['failureSummary']}"
        for rule in report["violations"]
        for node in rule["nodes"]
    ]


@pytest.mark.parametrize(("width", "dark"), VIEWS)
def test_chat(site, browser, tmp_path, width, dark):
    worker = tmp_path / "worker.js"
    worker.write_text(ECHO)
    with SiteServer({"/": site, "/worker.js": worker}) as server:
        page = browser.open(f"{server.origin}/")
        page.wait_for("!!document.querySelector('#questions button:enabled')", 30)
        assert violations(page, width, dark, tmp_path) == []
        page.evaluate(
            f"""(() => {{
              document.getElementById("question").value = {json.dumps(ANSWER)};
              document.getElementById("ask").requestSubmit();
            }})()"""
        )
        page.wait_for("!!document.querySelector('.measure')", 30)
        assert violations(page, width, dark, tmp_path) == []


@pytest.mark.parametrize(("width", "dark"), VIEWS)
def test_while_loading_and_after_an_error(site, browser, tmp_path, width, dark):
    worker = tmp_path / "worker.js"
    worker.write_text("")  # never ready
    settings = {**read_json(site / "app.json"), "model": "./elsewhere/"}
    write_json(tmp_path / "app.json", settings)
    with SiteServer({"/": site, "/worker.js": worker}) as server:
        page = browser.open(f"{server.origin}/")
        page.wait_for("document.querySelectorAll('#questions button').length > 0", 30)
        assert violations(page, width, dark, tmp_path) == []
    with SiteServer({"/": site, "/app.json": tmp_path / "app.json"}) as server:
        page = browser.open(f"{server.origin}/")
        page.wait_for("document.getElementById('notice').textContent !== ''", 30)
        assert violations(page, width, dark, tmp_path) == []


@pytest.mark.parametrize(("width", "dark"), VIEWS)
def test_every_rung_of_the_ladder(browser, tmp_path, width, dark):
    write_page(tmp_path / "site", fallback="model", owner_view=True, waits=True)
    with SiteServer({"/": tmp_path / "site"}) as server:
        page = open_page(browser, server.origin)
        assert violations(page, width, dark, tmp_path) == []
        ask(page, "sure: what is oat milk?")
        click(page, "Other answers")
        click(page, "Helpful")
        ask(page, "likely 1: can I send it back?")
        send(page, "Hello!")
        page.wait_for("document.querySelectorAll('.turn').length === 6 && !document.querySelector('[aria-busy]')", 30)
        page.evaluate("for (const view of document.querySelectorAll('.owner-view')) view.open = true")
        assert violations(page, width, dark, tmp_path) == []
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        send(page, "Who won in 1994?")
        page.wait_for("!!document.querySelector('.waiting')", 30)
        assert violations(page, width, dark, tmp_path) == []
        click(page, "Stop")
        page.wait_for("!!document.querySelector('.turn:last-child .actions')", 30)
        assert violations(page, width, dark, tmp_path) == []
        finish_loading(page)
        click(page, "Let the model answer")
        page.wait_for("!!document.querySelector('.mark.models')", 30)
        page.wait_for("!!document.querySelector('.turn:last-child .actions')", 30)
        assert violations(page, width, dark, tmp_path) == []
        page.evaluate("document.getElementById('feedback-link').click()")
        assert violations(page, width, dark, tmp_path) == []


@pytest.mark.parametrize("name", ["card", "evidence"])
@pytest.mark.parametrize(("width", "dark"), VIEWS)
def test_card(site, browser, tmp_path, width, dark, name):
    with SiteServer({"/": site}) as server:
        page = browser.open(f"{server.origin}/{name}.html")
        assert violations(page, width, dark, tmp_path) == []


@pytest.mark.parametrize(("width", "dark"), VIEWS)
def test_the_owners_questions(browser, tmp_path, width, dark):
    passages = [Passage("p1", "answer", "How long?", "For 15 years. " * 20, Source("a.json", "line 1"))]
    asked = [Question("guarantee?", "known", "p1", ("16 years",)), Question("who?", "far", origin="rules")]
    write_text(tmp_path / "questions.html", questions_page(asked, passages, WEB_DIR))
    page = browser.open((tmp_path / "questions.html").as_uri())
    page.wait_for("document.querySelectorAll('#list > li').length === 2")
    assert page.evaluate("document.querySelector('.problem').textContent") != ""
    assert violations(page, width, dark, tmp_path) == []


@pytest.mark.parametrize(("width", "dark"), VIEWS)
def test_a_review(browser, tmp_path, width, dark):
    items = review_set(write_answers(tmp_path / "evaluate", [answer(n) for n in range(20)]), CHOICE, SEED)
    write_text(tmp_path / "review.html", review_page(items, "tea-bot", WEB_DIR))
    page = browser.open((tmp_path / "review.html").as_uri())
    page.wait_for("document.activeElement.id === 'name'")
    assert violations(page, width, dark, tmp_path) == []
    page.evaluate("localStorage.clear()")
    page.evaluate("document.getElementById('name').value = 'Ada', document.getElementById('start').requestSubmit()")
    page.wait_for("document.querySelectorAll('.reply').length === 2")
    page.evaluate("document.querySelector('details').open = true")
    assert violations(page, width, dark, tmp_path) == []
    page.evaluate("document.querySelectorAll('.options label:last-child').forEach((one) => one.click())")
    page.evaluate("document.getElementById('item').requestSubmit()")
    page.wait_for("!!document.querySelector('.reference')")
    page.evaluate("document.querySelector('.fact input').click()")
    assert violations(page, width, dark, tmp_path) == []
    assert page.evaluate("document.documentElement.scrollWidth") <= width


@pytest.mark.parametrize(("width", "dark"), VIEWS)
def test_two_runs_compared(browser, tmp_path, width, dark):
    row = Row("Perplexity", "25.1 (22.4 to 28.0)", "24.1 (21.5 to 26.9)", "0.96 times (0.94 to 0.98)", "lower: better")
    sections = [
        Section("Settings", {"Run": [Row("seed", "17", "18")]}),
        Section("Numbers", {"Evaluation": [row]}, ["!"]),
    ]
    write_text(tmp_path / "compare.html", compare_page(sections, "old", "new"))
    page = browser.open((tmp_path / "compare.html").as_uri())
    assert violations(page, width, dark, tmp_path) == []


@pytest.mark.parametrize(("width", "dark"), VIEWS)
def test_data_report(browser, tmp_path, width, dark):
    write_text(tmp_path / "report.html", report_html(full_report("a long " + "word" * 40)))
    with SiteServer({"/": tmp_path}) as server:
        page = browser.open(f"{server.origin}/report.html")
        page.evaluate("for (const part of document.querySelectorAll('details')) part.open = true")
        assert violations(page, width, dark, tmp_path) == []
        assert page.evaluate("document.documentElement.scrollWidth") <= width
