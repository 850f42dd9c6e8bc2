"""The owner's file of questions: written to edit, never over their work, and the page loads and sends nothing."""

import json
import shutil
from dataclasses import replace

import pytest
from click.testing import CliRunner

from endpoint import KEY, completion, endpoint, last_message
from fake_run import write_run_with_passages
from tinsmith.browser.chromium import Browser
from tinsmith.browser.runtime import WEB_DIR
from tinsmith.cli import main
from tinsmith.commands.questions_page import questions_page
from tinsmith.core.run_dir import write_json
from tinsmith.model.answers.questions import Question, check_questions, read_questions
from tinsmith.model.passages import Passage, Source
from tinsmith.model.writer.prompts import NOTHING
from tiny import tiny_conversations
from tiny_answers import write_tiny_answers

SOURCE = Source("a.json", "line 1")
HOSTILE = '</script><img src=x onerror="window.hacked = 1"> <!-- & \u2028 = "quoted"'
PASSAGES = [
    Passage("p1", "answer", "How long is the guarantee on kettles?", f"It lasts 15 years. {HOSTILE}", SOURCE),
    Passage("p2", "answer", "Which teapots whistle on gas stoves?", "The copper ones, from 1,500 – 2,500 kr.", SOURCE),
    Passage("d", "document", "Returns > Opened tea packages", "No refund for opened tea.", SOURCE),
]


@pytest.fixture
def run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return write_run_with_passages(tmp_path / "tea-bot", PASSAGES)


def questions(run, *options):
    return CliRunner().invoke(main, ["questions", str(run.root), *options])


def test_the_spreadsheet_is_labelled_and_reads_back(run, tmp_path):
    done = questions(run)
    assert done.exit_code == 0, done.output
    drafted = read_questions(tmp_path / "questions.csv")
    assert check_questions(drafted, PASSAGES) == []
    assert {question.id for question in drafted if question.kind == "known"} == {"p1", "p2", "d"}
    assert {question.origin for question in drafted} == {"rules"}
    header, first = (tmp_path / "questions.csv").read_text().splitlines()[:2]
    assert header == "id,kind,question,previous,must_state,must_not_state,origin,note"
    assert any(text in first for text in ("It lasts 15", "The copper ones", "No refund for opened tea."))
    assert "3 known, 10 far, 6 hostile" in done.stderr and "with kind `near`" in done.stderr


@pytest.mark.parametrize("options", [(), ("--html",)])
def test_the_owners_work_is_never_overwritten(run, tmp_path, options):
    path = tmp_path / ("questions.html" if options else "questions.csv")
    path.write_text("edited")
    done = questions(run, *options)
    assert done.exit_code == 2 and "already there" in done.stderr and "--out" in done.stderr
    assert path.read_text() == "edited"
    assert questions(run, *options, "--out", str(tmp_path / "new" / "file.csv")).exit_code == 0


def test_the_owners_file_can_be_edited_again_and_is_checked(run, tmp_path):
    (tmp_path / "mine.csv").write_text("question,id,must_state,kind\nguarantee?,p1,15 years,\nCups?,,,near\n")
    done = questions(run, "--from", "mine.csv", "--out", "again.csv")
    assert done.exit_code == 0 and "made by rules" not in done.stderr and "no rule can" not in done.stderr
    again = [replace(question, place="") for question in read_questions(tmp_path / "again.csv")]
    assert again == [Question("guarantee?", "known", "p1", ("15 years",)), Question("Cups?", "near")]
    (tmp_path / "wrong.csv").write_text("question,id,must_state\nguarantee?,p1,16 years\n")
    done = questions(run, "--from", "wrong.csv", "--out", "never.csv")
    assert done.exit_code == 2 and "wrong.csv:2" in done.stderr and "'16 years'" in done.stderr
    assert not (tmp_path / "never.csv").exists()


def test_without_passages_it_says_what_to_do(run):
    run.stamp("knowledge").unlink()
    done = questions(run)
    assert done.exit_code == 2 and "the knowledge stage has not finished" in done.stderr


def with_writer(run, **answers):
    """Let the run name a writer, and give it an index of its passages."""
    folder = run.stage("knowledge") / "answers"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    write_tiny_answers(folder, PASSAGES)
    config = json.loads(run.config.read_text())
    config["answers"] |= answers
    write_json(run.config, config)


def test_the_runs_endpoint_writes_and_the_owner_is_told(run, tmp_path, monkeypatch):
    monkeypatch.setenv("TINSMITH_WRITER_KEY", KEY)

    def reply(body, number):
        prompt = last_message(body)
        shown = next(passage for passage in PASSAGES if f"Title: {passage.title}\n" in prompt)
        quotes = {"p1": "15 years", "p2": "The copper ones", "d": "No refund"}
        if NOTHING in prompt:
            return 200, completion(NOTHING if "delivered" in prompt else quotes[shown.id]), {}
        if "what they ask next" in prompt:
            return 200, completion("And then?"), {}
        return 200, completion("Is it delivered?" if "does not answer" in prompt else f"is {shown.id} what I need?"), {}

    with endpoint(reply) as server:
        with_writer(run, writer=server.address, writer_model="m")
        done = questions(run)
    assert done.exit_code == 0, done.output
    assert f"sending up to 3 passages with their titles to {server.address} (m), on this machine" in done.stderr
    assert "They were written by the endpoint and made by rules." in done.stderr
    assert "3 known, 1 near, 10 far, 6 hostile, 3 follow_up" in done.stderr and "no rule can" not in done.stderr
    known = [one for one in read_questions(tmp_path / "questions.csv") if one.kind == "known"]
    assert sorted(one.question for one in known) == [f"is {id} what I need?" for id in ("d", "p1", "p2")]
    assert {one.origin for one in known} == {"endpoint"}
    assert KEY not in done.output and KEY not in (tmp_path / "questions.csv").read_text()


def test_an_endpoint_that_fails_leaves_no_file(run, tmp_path, monkeypatch):
    monkeypatch.setenv("TINSMITH_WRITER_KEY", KEY)
    with endpoint(lambda body, number: (401, f"wrong key {KEY}".encode(), {})) as server:
        with_writer(run, writer=server.address, writer_model="m")
        done = questions(run)
    assert done.exit_code == 2 and server.address in done.stderr and "TINSMITH_WRITER_KEY" in done.stderr
    assert KEY not in done.output and not (tmp_path / "questions.csv").exists()


def test_the_runs_base_writes(run, tiny_llama):
    run.stage("base").mkdir(exist_ok=True)
    (run.stage("base") / "model").symlink_to(tiny_llama, target_is_directory=True)
    with_writer(run, writer="base")
    done = questions(run)
    assert done.exit_code == 0, done.output
    assert "of 3 written questions were dropped" in done.stderr and "made by rules" in done.stderr


ASKED = [
    Question(f"how long {HOSTILE}", "known", "p1", ("15 years",), ("5 years",)),
    Question("and then?", "follow_up", "p2", ("1,500-2,500 KR",), (), ("Which teapots?", "Really?")),
    Question("who?", "far", origin="rules"),
]


@pytest.fixture(scope="module")
def browser():
    with Browser(webgpu="none") as browser:
        yield browser


@pytest.fixture
def page(browser, tmp_path):
    """The page with ASKED, opened from the disk; `saved()` gives what it downloads."""
    path = tmp_path / "questions.html"
    path.write_text(questions_page(ASKED, PASSAGES, WEB_DIR), encoding="utf-8")
    page = browser.open(path.as_uri())
    page.wait_for("document.querySelectorAll('#list > li').length === 3")
    return page


def saved(page, tmp_path):
    """What the page would save, read as the run does."""
    text = page.evaluate(
        """(async () => {
          const original = URL.createObjectURL;
          let content;
          URL.createObjectURL = (blob) => { content = blob; return original(blob); };
          HTMLAnchorElement.prototype.click = () => {};
          document.getElementById("download").click();
          return await content.text();
        })()"""
    )
    (tmp_path / "saved.jsonl").write_text(text, encoding="utf-8")
    return [replace(question, place="") for question in read_questions(tmp_path / "saved.jsonl")]


def edit(page, item, label, value):
    """Type into a control, found by its label."""
    page.evaluate(
        f"""(() => {{
          const item = document.querySelectorAll("#list > li")[{item}];
          const labels = [...item.querySelectorAll("label")];
          const label = labels.find((one) => one.firstChild.textContent === {json.dumps(label)});
          const control = label ? label.querySelector("input, textarea") : item.querySelector("select");
          control.value = {json.dumps(value)};
          control.dispatchEvent(new Event("input", {{ bubbles: true }}));
        }})()"""
    )


def state(page):
    return page.evaluate("document.getElementById('state').textContent")


def problems(page):
    return page.evaluate("[...document.querySelectorAll('.problem')].map((one) => one.textContent)")


@pytest.mark.browser
def test_the_page_gives_back_what_it_was_given_and_loads_nothing_else(page, tmp_path):
    assert saved(page, tmp_path) == ASKED
    assert state(page) == "3 questions" and set(problems(page)) == {""}
    assert [request.url.rpartition("/")[2] for request in page.requests] == ["questions.html"]
    assert page.console == [] and page.exceptions == []


@pytest.mark.browser
def test_only_fields_that_the_kind_needs_are_shown(page):
    def visible(item):
        shown = f"[...document.querySelectorAll('#list > li')[{item}].querySelectorAll('label')]"
        return page.evaluate(f"{shown}.filter((one) => one.checkVisibility()).map((one) => one.firstChild.textContent)")

    before = "Questions before it (one a line)"
    answer = ["Id of the right answer", "A right answer contains (one phrase a line)"]
    wrong = "Only a wrong answer contains (one phrase a line)"
    assert visible(0) == ["Question", *answer, wrong]
    assert visible(1) == [before, "Question", *answer, wrong]
    assert visible(2) == ["Question", wrong]
    edit(page, 2, "", "known")
    assert visible(2) == ["Question", *answer, wrong]


@pytest.mark.browser
def test_texts_stay_text_and_no_other_script_runs(page):
    shown = page.evaluate("document.querySelector('blockquote').textContent")
    assert HOSTILE in shown and not page.evaluate("'hacked' in window || !!document.querySelector('main img')")
    page.evaluate("document.body.append(Object.assign(document.createElement('a'), {id: 'ours'})), 0")
    blocked = """(() => {
      const script = document.createElement("script");
      try { script.textContent = "window.hacked = 2"; } catch { return "refused"; }
      document.body.append(script);
      return window.hacked ?? "blocked";
    })()"""
    assert page.evaluate(blocked) in ("refused", "blocked")
    fetched = "fetch('https://tea.example/').then(() => 'sent', () => 'blocked')"
    assert page.evaluate(fetched) == "blocked"


@pytest.mark.browser
def test_an_edited_question_is_the_owners_and_its_problems_are_shown(page, tmp_path):
    edit(page, 2, "", "near")
    edit(page, 2, "Question", "Do you sell cups?")
    edit(page, 0, "A right answer contains (one phrase a line)", "15 years\nlasts")
    edit(page, 1, "A right answer contains (one phrase a line)", "3,000 kr")
    assert state(page) == "3 questions, 1 to correct"
    assert problems(page)[1] == "The answer does not contain: 3,000 kr"
    edit(page, 1, "A right answer contains (one phrase a line)", "1,500–2,500")
    expected = [
        replace(ASKED[0], must_state=("15 years", "lasts")),
        replace(ASKED[1], must_state=("1,500–2,500",)),
        Question("Do you sell cups?", "near"),
    ]
    assert state(page) == "3 questions" and saved(page, tmp_path) == expected


@pytest.mark.browser
@pytest.mark.parametrize(
    ("item", "label", "value", "problem"),
    [
        (0, "Question", " ", "Write the question."),
        (0, "Id of the right answer", "p9", "No answer has this id"),
        (1, "Questions before it (one a line)", "", "Write the question before it."),
        (0, "Only a wrong answer contains (one phrase a line)", "15 YEARS", "cannot contain and not contain"),
        (0, "", "far", "No answer is right for this kind"),
        (2, "", "known", "Choose the answer that is right"),
    ],
)
def test_the_page_names_what_the_run_would_refuse(page, item, label, value, problem):
    edit(page, item, label, value)
    assert problem in problems(page)[item] and state(page) == "3 questions, 1 to correct"


@pytest.mark.browser
def test_questions_are_added_and_removed(page, tmp_path):
    page.evaluate("document.getElementById('add').click()")
    assert state(page) == "4 questions, 1 to correct"
    edit(page, 0, "Question", "whistles?")
    edit(page, 0, "Id of the right answer", "p2")
    page.evaluate("[...document.querySelectorAll('.head button')][1].click()")
    assert state(page) == "3 questions"
    assert saved(page, tmp_path) == [*ASKED[1:], Question("whistles?", "known", "p2")]


@pytest.mark.parametrize("command", ["check", "run"])
def test_check_and_run_name_mistakes_in_the_questions_before_anything_slow(tmp_path, command, monkeypatch):
    def refuse(*arguments, **named):
        raise AssertionError("the run started")

    monkeypatch.setattr("tinsmith.commands.run.run_pipeline", refuse)
    records = [{"messages": c.as_dicts()} for c in tiny_conversations(40)]
    (tmp_path / "chats.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))
    config = tmp_path / "tinsmith.toml"
    config.write_text('[data]\npath = "chats.jsonl"\n[answers]\nquestions = "mine.csv"\n')
    (tmp_path / "mine.csv").write_text("question,kind\nCups?,near\nWho?,fare\n")
    done = CliRunner().invoke(main, [command, str(config)])
    assert done.exit_code == 2 and "mine.csv:3: kind: must be one of" in done.stderr


def test_check_counts_the_questions(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    records = [{"messages": c.as_dicts()} for c in tiny_conversations(40)]
    (tmp_path / "chats.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))
    (tmp_path / "tinsmith.toml").write_text('[data]\npath = "chats.jsonl"\n[answers]\nquestions = "mine.csv"\n')
    (tmp_path / "mine.csv").write_text("question,kind\nCups?,near\nPots?,near\nWho?,far\n")
    done = CliRunner().invoke(main, ["check", str(tmp_path / "tinsmith.toml")])
    assert done.exit_code == 0 and "answers.questions: 2 near, 1 far" in done.stdout
