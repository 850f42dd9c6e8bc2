"""The owner sees the reasons of every answer on their own machine; the site itself stays as it was."""

import json
import shutil
import urllib.error
import urllib.request

import pytest
from click.testing import CliRunner

from fake_answers import write_fake_answers
from fake_run import write_run
from tinsmith.browser.serve import SiteServer
from tinsmith.cli import main
from tinsmith.core.run_dir import tree_sha256s, write_json, write_text
from tinsmith.model.passages import Passage, Source

PASSAGES = [Passage("a", "answer", "How much?", "Rp 32k.", Source("a.json", "line 1"))]


@pytest.fixture
def run(tmp_path):
    """A run with a site that has no answers."""
    run = write_run(tmp_path / "tea-bot")
    shutil.rmtree(run.stage("knowledge") / "answers")
    write_text(run.stage("app") / "index.html", "the page")
    write_json(run.stage("app") / "app.json", {"title": "Tea", "model": "./model/", "answers": None})
    write_json(run.stamp("app"), {})
    return run


@pytest.fixture
def fetch(monkeypatch):
    """`tinsmith serve` with these options answers for these paths: bytes, or the status of a refusal."""

    def serve_and_fetch(run, *options, paths):
        bodies = []

        def fetch_all(server):
            for path in paths:
                try:
                    with urllib.request.urlopen(f"{server.origin}{path}") as response:
                        bodies.append(response.read())
                except urllib.error.HTTPError as error:
                    bodies.append(error.code)

        monkeypatch.setattr(SiteServer, "wait", fetch_all)
        done = CliRunner().invoke(main, ["serve", str(run.root), *options])
        return done, bodies

    return serve_and_fetch


def test_visitors_get_the_site_as_it_is(run, fetch):
    write_fake_answers(run.stage("knowledge") / "answers", PASSAGES)
    done, (page, settings, passages) = fetch(run, paths=("/", "/app.json", "/model/answers/passages.json"))
    assert done.exit_code == 0 and done.stdout.startswith("http://127.0.0.1:")
    assert page == b"the page" and passages == 404
    assert "owner_view" not in json.loads(settings)


def test_the_owner_sees_answers_before_they_agree_to_publish_them(run, fetch):
    write_fake_answers(run.stage("knowledge") / "answers", PASSAGES)
    write_json(run.config, {"answers": {"unknown": "No idea."}})
    before = tree_sha256s(run.root)
    done, (settings, passages, built) = fetch(
        run, "--owner", paths=("/app.json", "/model/answers/passages.json", "/model/answers/answers.json")
    )
    assert json.loads(built)["unknown"] == "No idea.", "as configured now, not as when the answers were built"
    assert json.loads(settings) == {
        "title": "Tea",
        "model": "./model/",
        "answers": "./model/answers/",
        "owner_view": True,
    }
    assert json.loads(passages)[0]["text"] == "Rp 32k."
    assert "Only this machine sees your answers" in done.stderr
    assert tree_sha256s(run.root) == before, "a site with the owner's settings could be published by mistake"


def test_the_owner_sees_the_published_answers_once_there_are_some(run, fetch):
    write_fake_answers(run.stage("knowledge") / "answers", PASSAGES)
    write_text(run.stage("app") / "model/answers/passages.json", "published")
    write_json(run.stage("app") / "app.json", {"answers": "./model/answers/"})
    done, (settings, passages) = fetch(run, "--owner", paths=("/app.json", "/model/answers/passages.json"))
    assert json.loads(settings)["owner_view"] is True and passages == b"published"
    assert "Only this machine" not in done.stderr


def test_without_answers_there_is_nothing_to_explain(run, fetch):
    done, bodies = fetch(run, "--owner", paths=("/",))
    assert done.exit_code == 2 and bodies == [] and "the model answers alone" in done.stderr


def test_without_a_site_it_says_what_to_do(run, fetch):
    run.stamp("app").unlink()
    done, bodies = fetch(run, paths=("/",))
    assert done.exit_code == 2 and bodies == [] and "the chat page is not built yet" in done.stderr
