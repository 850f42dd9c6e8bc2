"""The owner sees each text as it would be published, agrees or not, and their configuration says exactly that."""

import json
import shutil
import tomllib
from dataclasses import replace

import pytest
from click.testing import CliRunner

from fake_answers import write_fake_answers
from fake_run import write_run
from tinsmith.cli import main
from tinsmith.commands.candidates import question_candidates
from tinsmith.commands.config_file import set_keys, toml_text
from tinsmith.core.config import CardExample
from tinsmith.core.config_file import commented_toml, load_config
from tinsmith.core.errors import ConfigError
from tinsmith.core.run_dir import read_json, tree_sha256s, write_json, write_text
from tinsmith.model.passages import Passage, Source
from tiny import tiny_conversations

CONFIG = """# mine
name = "tea-bot" # the shop's

[data]
# where the chats are
path = "chats.jsonl"

[card]
author = "Ada" # that's me
examples = [] # none yet
"""


@pytest.fixture
def project(tmp_path):
    """A configuration and its finished run without answers, whose second test question holds an e-mail address."""
    config = tmp_path / "tinsmith.toml"
    config.write_text(CONFIG)
    run = write_run(tmp_path / "runs" / "tea-bot")
    shutil.rmtree(run.stage("knowledge") / "answers")
    write_json(run.config, {"name": "tea-bot"})
    questions = ["What is a latte?", "Write to ada@private.example, \x1b[31mred\u202e?"]
    lines = [
        {"id": f"c{i}", "category": f"cat {i}", "messages": [{"role": "user", "content": question}]}
        for i, question in enumerate(questions)
    ]
    write_text(run.stage("data") / "test.jsonl", "".join(json.dumps(line) + "\n" for line in lines))
    write_json(run.stamp("data"), {**read_json(run.stamp("data")), "outputs": tree_sha256s(run.stage("data"))})
    return config


def approve(config, answers="", *options):
    command = ["approve", str(config), "--runs", str(config.parent / "runs"), *options]
    done = CliRunner().invoke(main, command, input=answers)
    assert done.exit_code == 0, done.output
    return done


def agreed(config):
    loaded = load_config(config)
    return loaded.app.system_prompt, set(loaded.app.questions), {one.question for one in loaded.card.examples}


def test_yes_is_written_and_no_is_not(project):
    done = approve(project, "y\n\nmaybe\nn\ny\nn\ny\n" + "n\n" * 4)
    prompt, questions, examples = agreed(project)
    assert prompt == "You sell tea."
    assert len(questions) == 1 and len(examples) == 1
    assert done.stderr.count("[y/n/q]") == 11, "an answer that is none of the three is asked for again"
    # Everything that the card would show stands on the screen.
    for text in (
        "Question: What does cup 1 cost?",
        "Reference: Rp 32k | *each*",
        "Fine-tuned: Rp 33k",
        "INT4 states 1 of 1 facts",
    ):
        assert text in done.stdout, text
    assert f"Next: tinsmith run {project}" in done.stderr


def test_what_looks_private_is_named_and_no_escape_sequence_reaches_the_terminal(project):
    done = approve(project, "n\n" * 5)
    assert "careful: 'ada@private.example' looks like an e-mail address" in done.stdout
    assert "\x1b" not in done.stdout and "\u202e" not in done.stdout
    assert "\\u001b[31mred\\u202e?" in done.stdout
    assert project.read_text() == CONFIG, "five times no changes nothing"


def test_a_category_that_looks_private_is_named(project):
    """Categories are on the card without being asked for."""
    run = project.parent / "runs" / "tea-bot"
    report = read_json(run / "data" / "report.json")
    report["categories"].append({"name": "ada@private.example", "count": 1, "share": 0.1})
    write_json(run / "data" / "report.json", report)
    assert "careful: the category 'ada@private.example'" in approve(project, "q\n").stderr


@pytest.mark.parametrize("end", ["q\n", ""], ids=["q", "end of input"])
def test_answers_given_before_the_end_are_kept(project, end):
    approve(project, "y\ny\n" + end)
    prompt, questions, examples = agreed(project)
    assert prompt and len(questions) == 1 and not examples


def test_everything_else_in_the_configuration_stays(project):
    approve(project, "y\n" * 5)
    text = project.read_text()
    for line in ("# mine", 'name = "tea-bot" # the shop\'s', "# where the chats are", 'author = "Ada" # that\'s me'):
        assert line in text.splitlines(), line
    assert load_config(project).data.path.endswith("chats.jsonl")


def test_agreement_can_be_withdrawn(project):
    approve(project, "y\n" * 5)
    assert all(agreed(project))
    done = approve(project, "n\n" * 5)
    assert done.stdout.count("agreed before") == 5
    assert agreed(project) == ("", set(), set())


def test_an_agreed_example_that_the_run_no_longer_has_is_pointed_out(project):
    set_keys(project, {("card", "examples"): [CardExample(question="What was it?", reference="Tea.")]})
    assert "left out of the card" in approve(project, "q\n").stdout


def test_the_list_is_toml_to_paste_and_writes_nothing(project):
    done = approve(project, "", "--list")
    tree = tomllib.loads(done.stdout)
    assert "What is a latte?" in tree["app"]["questions"] and tree["app"]["system_prompt"] == "You sell tea."
    held_out = {f"What does {cup} cost?" for cup in ("cup 0", "cup 1", "tea i", "tea j", "tea k", "tea l")}
    assert {one["question"] for one in tree["card"]["examples"]} == held_out
    assert "# careful: 'ada@private.example' looks like an e-mail address" in done.stdout
    assert "\x1b" not in done.stdout and project.read_text() == CONFIG
    pasted = project.with_name("pasted.toml")
    pasted.write_text(done.stdout)
    assert len(load_config(pasted).app.questions) == 2


def test_without_a_run_the_next_command_is_named(tmp_path):
    config = tmp_path / "tinsmith.toml"
    config.write_text(CONFIG)
    done = CliRunner().invoke(main, ["approve", str(config), "--runs", str(tmp_path / "runs")])
    assert done.exit_code == 2 and "not a run folder" in done.stderr


@pytest.mark.parametrize(
    "text",
    [
        "",
        commented_toml(),
        'card.title = "dotted"\n',
        '[app]\nquestions = ["old",\n  # old comment\n  "older"]\n[card]\ntitle = "x"\n',
        '[card]\r\ntitle = "x"\r\n',
        '[[card.examples]]\nquestion = "old"\nreference = "old"\n\n[train]\nepochs = 1\n',
    ],
    ids=["empty", "from init", "dotted keys", "over several lines", "Windows", "array of tables"],
)
def test_only_the_keys_change_however_the_file_is_written(tmp_path, text):
    path = tmp_path / "tinsmith.toml"
    path.write_bytes(text.encode())
    before = tomllib.loads(text)
    questions = ['What\'s "a"\nlatte?', "\\ \x7f \U000e0061 \u2028 \u00e9 \u8336", "\u200d"]
    example = CardExample(question="a", reference="b")
    set_keys(path, {("app", "questions"): questions, ("card", "examples"): [example]})
    after = tomllib.loads(path.read_bytes().decode())
    assert after["app"]["questions"] == questions
    assert after["card"]["examples"] == [{"question": "a", "reference": "b"}]
    for section, key in (("app", "questions"), ("card", "examples")):
        for tree in (before, after):
            tree.get(section, {}).pop(key, None)
    assert {name: value for name, value in after.items() if value} == {n: v for n, v in before.items() if v}
    comments = [line for line in text.splitlines() if line.startswith("#")]
    assert set(comments) <= set(path.read_text().splitlines())


def test_a_file_that_cannot_be_written_keeps_its_content_and_names_the_way_out(tmp_path, monkeypatch):
    path = tmp_path / "tinsmith.toml"
    path.write_text(CONFIG)

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("tinsmith.commands.config_file.write_text", full)
    with pytest.raises(ConfigError, match="No space left") as error:
        set_keys(path, {("app", "questions"): ["x"]})
    assert "--list" in error.value.hint and path.read_text() == CONFIG


def test_an_empty_list_is_toml():
    assert toml_text([]) == "[]"


def test_questions_cover_categories_and_follow_the_seed():
    conversations = tiny_conversations(12)
    for seed in range(8):
        candidates = question_candidates(conversations, seed)
        assert len({candidate.category for candidate in candidates[:3]}) == 3
        assert candidates == question_candidates(conversations, seed)
    assert question_candidates(conversations, 1) != question_candidates(conversations, 2)
    assert [one.text for one in question_candidates(conversations[:1] * 3, 1)] == [conversations[0].messages[1].content]


PASSAGES = [
    Passage(
        f"c{i}",
        "answer",
        f"Does ada@private.example take {i}?",
        f"Yes, at {i}@tea.example. \x1b[31m",
        Source("f", "line 1"),
    )
    for i in range(1, 6)
] + [Passage("d", "document", "Tea > Green", "Ask ada@private.example.", Source("tea.md", "Tea > Green"))]


@pytest.fixture
def with_answers(project):
    write_fake_answers(project.parent / "runs/tea-bot/knowledge/answers", PASSAGES)
    return project


def consent(config):
    answers = load_config(config).answers
    return answers.publish, answers.publish_questions


@pytest.mark.parametrize(
    ("replies", "agreed_to"),
    [("y\ny\nq\n", (True, True)), ("y\nn\nq\n", (True, False)), ("n\nq\n", (False, False)), ("q\n", (False, False))],
)
def test_answers_are_agreed_to_as_a_whole_and_questions_apart(with_answers, replies, agreed_to):
    done = approve(with_answers, replies)
    assert consent(with_answers) == agreed_to
    assert agreed(with_answers) == ("", set(), set())
    assert "5 answers and 1 section of documents" in done.stdout
    assert ("Publish all 5 questions?" in done.stderr) == replies.startswith("y")


def test_consent_shows_counts_the_first_texts_and_what_looks_private(with_answers):
    done = approve(with_answers, "y\ny\nq\n")
    lines = done.stdout.splitlines()
    assert "5 answers and 1 section of documents" in lines
    assert lines.count("  ... and 2 more") == 2, (
        "of six texts, four are shown: three answers and the only section; of five questions, three"
    )
    assert "Yes, at 3@tea.example." in done.stdout and "Yes, at 4@tea.example." not in done.stdout
    assert "(tea.md, Tea > Green)" in done.stdout
    assert "  careful: 6 of 6 texts have what looks like an e-mail address, such as '1@tea.example'" in lines
    assert "  careful: 5 of 5 texts have what looks like an e-mail address, such as 'ada@private.example'" in lines
    assert "\x1b" not in done.stdout and "\\u001b[31m" in done.stdout


def test_consent_names_the_wordings_that_the_site_would_contain(project):
    worded = [replace(PASSAGES[0], wordings=("Call +46 70 123 45 67?", "Is it dear?")), *PASSAGES[1:]]
    write_fake_answers(project.parent / "runs/tea-bot/knowledge/answers", worded)
    done = approve(project, "q\n")
    assert "and so would the 2 wordings of `answers.wordings`, such as 'Call +46 70 123 45 67?'" in " ".join(
        done.stdout.split()
    )
    assert "1 of 8 texts have what looks like a phone number" in done.stdout


def test_withdrawing_the_answers_withdraws_the_questions(with_answers):
    approve(with_answers, "y\ny\nq\n")
    done = approve(with_answers, "n\nq\n")
    assert done.stdout.count("(agreed before)") == 1 and "Publish all 5 questions?" not in done.stderr
    assert consent(with_answers) == (False, False)


def test_consent_that_stays_changes_nothing(with_answers):
    approve(with_answers, "y\nn\nq\n")
    text = with_answers.read_text()
    approve(with_answers, "y\nn\nq\n")
    assert with_answers.read_text() == text and "# the shop's" in text


def test_nothing_is_asked_about_answers_that_the_page_does_not_use(with_answers):
    with_answers.write_text(with_answers.read_text() + '\n[answers]\nmode = "model"\n')
    assert "word for word" not in approve(with_answers, "q\n").stdout


def test_the_list_has_both_consents_as_toml(with_answers):
    before = with_answers.read_text()
    done = approve(with_answers, "", "--list")
    assert tomllib.loads(done.stdout)["answers"] == {"publish": True, "publish_questions": True}
    assert "# 5 answers and 1 section of documents" in done.stdout and "# careful: 6 of 6 texts" in done.stdout
    assert with_answers.read_text() == before
