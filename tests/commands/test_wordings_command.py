"""`tinsmith wordings`: an endpoint's wordings become a file that a run accepts, and never replace the owner's."""

import json

import pytest
from click.testing import CliRunner

from endpoint import KEY, completion, endpoint, last_message
from fake_run import write_run_with_passages
from tinsmith.cli import main
from tinsmith.model.answers.wordings import read_wordings
from tinsmith.model.passages import Passage, Source

PASSAGES = [
    Passage("p1", "answer", "What does the kettle cost?", "The kettle costs 1,500 kr.", Source("a", "")),
    Passage("p2", "answer", "Where do you ship?", "We ship to Jakarta.", Source("a", "")),
]


@pytest.fixture
def run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return write_run_with_passages(tmp_path / "tea-bot", PASSAGES)


def wordings(run, *options):
    return CliRunner().invoke(main, ["wordings", str(run.root), *options])


def configure(run, **answers):
    config = json.loads(run.config.read_text())
    run.config.write_text(json.dumps(config | {"answers": config["answers"] | answers}))


def test_the_file_reads_back_and_is_never_overwritten(run, tmp_path, monkeypatch):
    monkeypatch.setenv("TINSMITH_WRITER_KEY", KEY)

    def reply(body, number):
        text = "how dear is it?\nIs it 1,500 kr?" if "kettle" in last_message(body) else "parcels to Java?"
        return 200, completion(text), {}

    with endpoint(reply) as server:
        configure(run, writer=server.address, writer_model="m")
        done = wordings(run, "--count", "2")
        assert done.exit_code == 0, done.output
        again = wordings(run)
    wordings_read = read_wordings(tmp_path / "wordings.jsonl")
    assert [(one.id, one.question) for one in wordings_read] == [("p1", "how dear is it?"), ("p2", "parcels to Java?")]
    assert (
        "sending up to 2 passages with their titles to" in done.stderr
        and "dropped 1: states a figure of the answer (1)" in done.stderr
    )
    assert "2 wordings for 2 passages" in done.stderr and "set answers.wordings" in done.stderr
    assert again.exit_code == 2 and "already there" in again.stderr
    assert KEY not in done.output + (tmp_path / "wordings.jsonl").read_text()


@pytest.mark.parametrize("writer", ["rules", "base"])
def test_only_an_endpoint_writes_them(run, tmp_path, writer):
    configure(run, writer=writer)
    done = wordings(run)
    assert done.exit_code == 2 and f"answers.writer is '{writer}'" in done.stderr and "endpoint" in done.stderr
    assert not (tmp_path / "wordings.jsonl").exists()
