"""`tinsmith check` says what to look at first, writes the report where it says, and never into the data."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from tinsmith.cli import main
from tiny import tiny_conversations


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A folder with a configuration and 40 conversations, one of which has HTML in it."""
    monkeypatch.chdir(tmp_path)
    records = [{"messages": one.as_dicts()} for one in tiny_conversations(40)]
    records[7]["messages"][-1]["content"] += " <b>Really.</b>"
    Path("chats").mkdir()
    Path("chats/one.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))
    Path("tinsmith.toml").write_text('name = "shop"\n[data]\npath = "chats"\n')
    return tmp_path


def test_the_summary_is_short_and_ends_with_the_next_command(project):
    done = CliRunner().invoke(main, ["check", "tinsmith.toml"])
    assert done.exit_code == 0, done.output
    assert done.stdout.startswith(
        "chats: 40 conversations of 40 records in 1 file(s) can be used (20 train, 10 val, 10 test)"
    )
    assert "In 1 conversation there is HTML in the text, such as one.jsonl, line 8.\n" in done.stdout
    assert (
        f"\nThe whole report, with examples: runs/shop-data.html\nOpen it in a browser: file://{project}" in done.stdout
    )
    assert done.stderr.endswith("Next: tinsmith run tinsmith.toml\n")
    assert len(done.stdout.splitlines()) < 30
    page = Path("runs/shop-data.html").read_text()
    assert "&lt;b&gt;Really.&lt;/b&gt;" in page and "answers.publish is off" in page
    assert r"\<b\>Really.\</b\>" in Path("runs/shop-data.md").read_text()


def test_the_report_goes_where_it_is_wanted(project):
    done = CliRunner().invoke(main, ["check", "tinsmith.toml", "--report", "here/mine.html"])
    assert done.exit_code == 0 and "here/mine.html" in done.stdout
    assert sorted(path.name for path in Path("here").iterdir()) == ["mine.html", "mine.md"]
    assert not Path("runs").exists()


@pytest.mark.parametrize(("settings", "report"), [([], "chats/report.html"), (["--set", "data.path=."], None)])
def test_the_report_never_goes_into_the_data(project, settings, report):
    option = ["--report", report] if report else []
    done = CliRunner().invoke(main, ["check", "tinsmith.toml", *settings, *option])
    assert done.exit_code == 2
    assert "would be inside data.path" in done.stderr and "--report" in done.stderr
    assert sorted(path.name for path in project.rglob("*.html")) == []


def test_what_will_be_published_follows_the_configuration(project):
    with Path("tinsmith.toml").open("a") as file:
        file.write('[answers]\npublish = true\npublish_questions = true\n[app]\nquestions = ["How are you?"]\n')
    assert CliRunner().invoke(main, ["check", "tinsmith.toml"]).exit_code == 0
    page = Path("runs/shop-data.html").read_text()
    assert "the site contains every answer word for word, and its questions as their titles." in page
    assert "The card and the chat page show the 1 texts in card.examples and app.questions." in page


def test_conversations_need_no_configuration(project):
    Path("tinsmith.toml").unlink()
    for data in ("chats", "chats/one.jsonl"):
        done = CliRunner().invoke(main, ["check", data])
        assert done.exit_code == 0, done.output
        assert "40 conversations of 40 records in 1 file(s) can be used (20 train, 10 val, 10 test)" in done.stdout
        name = Path(data).stem
        assert done.stderr.endswith(f"Next: tinsmith init {name}-guide --data {data}\n")
        assert Path(f"runs/{name}-data.html").exists()
    assert CliRunner().invoke(main, ["check", data, "--set", "name=tea"]).exit_code == 0
    assert Path("runs/tea-data.html").exists()
    made = CliRunner().invoke(main, ["init", "guide", "--data", data])
    assert made.stderr.endswith("Next: tinsmith check guide/tinsmith.toml\n")
    assert 'path = "../chats/one.jsonl"\n' in Path("guide/tinsmith.toml").read_text()
    assert CliRunner().invoke(main, ["check", "guide"]).stderr.endswith("Next: tinsmith run guide/tinsmith.toml\n")


def test_conversations_are_no_configuration_for_a_run(project):
    done = CliRunner().invoke(main, ["run", "chats/one.jsonl"])
    assert done.exit_code == 2
    assert "chats/one.jsonl: not a configuration file" in done.stderr
    assert "tinsmith init FOLDER --data DATA" in done.stderr
    done = CliRunner().invoke(main, ["run", "chats"])
    assert "chats: no such configuration file" in done.stderr


def test_init_refuses_data_that_are_not_there(project):
    done = CliRunner().invoke(main, ["init", "guide", "--data", "nothing"])
    assert done.exit_code == 2
    assert "nothing: no such file or folder" in done.stderr
    assert not Path("guide").exists()
