"""Feedback of a visitor: it stays in the browser, can be downloaded and deleted, and is never sent."""

import json
import time

import pytest

from ladder import OAT, UNKNOWN, ask, click, open_page, text_of, texts_of, write_page
from tinsmith.browser.chromium import Browser
from tinsmith.browser.serve import SiteServer

pytestmark = pytest.mark.browser

KEY = "tinsmith feedback /"


@pytest.fixture(scope="module")
def browser():
    with Browser(webgpu="none") as browser:
        yield browser


@pytest.fixture
def server(tmp_path):
    write_page(tmp_path / "site", fallback="model")
    with SiteServer({"/": tmp_path / "site"}) as server:
        yield server


@pytest.fixture
def page(browser, server):
    return open_page(browser, server.origin)


def stored(page):
    return json.loads(page.evaluate(f"localStorage.getItem({json.dumps(KEY)})") or "[]")


def link(page):
    return texts_of(page, "#feedback-link")


def pressed(page):
    """What is pressed below the last answer."""
    return texts_of(page, ".turn:last-child [aria-pressed=true]")


def test_a_vote_is_kept_changed_and_taken_back(page):
    ask(page, "sure: what is oat milk?")
    assert link(page) == [] and pressed(page) == []
    click(page, "Helpful")
    assert pressed(page) == ["Helpful"] and link(page) == ["Your feedback (1)"]
    assert text_of(page, ".kept") == "Kept in this browser only"
    (entry,) = stored(page)
    assert {key: entry[key] for key in ("question", "answer", "from", "passage", "rung", "vote")} == {
        "question": "sure: what is oat milk?",
        "answer": OAT["text"],
        "from": "owner",
        "passage": "a1",
        "rung": "sure",
        "vote": "helpful",
    }
    click(page, "Not helpful")
    assert pressed(page) == ["Not helpful"] and [one["vote"] for one in stored(page)] == ["not helpful"]
    click(page, "Not helpful")
    assert pressed(page) == [] and stored(page) == [] and link(page) == [] and text_of(page, ".kept") == ""


def test_every_kind_of_answer_can_be_rated(page, browser, server, tmp_path):
    ask(page, "Who won in 1994?")
    click(page, "Not helpful")
    write_page(tmp_path / "site", answers=None)
    page = open_page(browser, server.origin)
    ask(page, "sure: what is oat milk?")
    click(page, "Helpful")
    write_page(tmp_path / "site")
    page = open_page(browser, server.origin)
    ask(page, "Who won in 1994?")
    click(page, "Helpful")
    assert [(one["from"], one["rung"], one["passage"]) for one in stored(page)] == [
        ("model", "unsure", ""),
        ("model", "", ""),
        ("unknown", "unsure", ""),
    ]
    assert stored(page)[-1]["answer"] == UNKNOWN
    assert link(page) == ["Your feedback (3)"]
    click(page, "Your feedback (3)")
    assert texts_of(page, "#feedback-list .asked") == [
        "Who won in 1994?",
        "sure: what is oat milk?",
        "Who won in 1994?",
    ]


def test_the_dialog_downloads_and_deletes(page, tmp_path):
    page._browser.call("Browser.setDownloadBehavior", {"behavior": "allow", "downloadPath": str(tmp_path / "got")})
    for question, vote in (("sure: <b>what?</b>", "Helpful"), ("likely: and\nthen?", "Not helpful")):
        ask(page, question)
        click(page, vote)
    sent = len(page.requests)
    click(page, "Your feedback (2)")
    assert page.evaluate("[document.getElementById('feedback').open, document.activeElement.id]") == [
        True,
        "feedback-close",
    ]
    assert texts_of(page, "#feedback-list .asked") == ["likely: and\nthen?", "sure: <b>what?</b>"]
    assert page.evaluate("document.querySelectorAll('#feedback-list b').length") == 0
    click(page, "Download as a file")
    file = tmp_path / "got/feedback.jsonl"
    deadline = time.monotonic() + 30
    while not file.is_file() and time.monotonic() < deadline:
        time.sleep(0.05)
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    assert lines == stored(page) and [one["vote"] for one in lines] == ["helpful", "not helpful"]
    click(page, "Delete all")
    assert len(stored(page)) == 2, "the first press only asks"
    click(page, "Delete all for good?")
    assert stored(page) == [] and page.evaluate(f"localStorage.getItem({json.dumps(KEY)})") is None
    assert texts_of(page, "#feedback-empty") == ["There is none yet."] and pressed(page) == []
    assert page.evaluate("document.activeElement.id") == "feedback-close"
    click(page, "Close")
    page.wait_for("document.activeElement.id === 'question'", 10)
    assert link(page) == []
    assert [request.url for request in page.requests[sent:]] == [], "nothing is sent"
    assert page.exceptions == [] and [text for kind, text in page.console if kind == "error"] == []


def test_it_outlives_the_tab_and_has_a_bound(page, browser, server):
    old = {
        "time": "2026-01-01T00:00:00Z",
        "question": "q",
        "answer": "a",
        "from": "owner",
        "passage": "",
        "rung": "sure",
    }
    entries = [{**old, "id": str(number), "vote": "helpful"} for number in range(500)]
    page.evaluate(f"localStorage.setItem({json.dumps(KEY)}, {json.dumps(json.dumps(entries))})")
    page = open_page(browser, server.origin)
    assert link(page) == ["Your feedback (500)"]
    ask(page, "sure: " + "what is oat milk? " * 500)
    click(page, "Helpful")
    kept = stored(page)
    assert len(kept) == 500 and kept[0]["id"] == "1" and len(kept[-1]["question"]) == 2000


OFF = """Object.defineProperty(globalThis, "localStorage", {
  get() { throw new DOMException("storage is off", "SecurityError"); } });"""
FULL = """Storage.prototype.setItem = () => { throw new DOMException("full", "QuotaExceededError"); };"""


@pytest.mark.parametrize("storage", [OFF, FULL])
def test_a_browser_that_keeps_nothing_says_so_and_works_in_the_tab(browser, server, storage):
    page = open_page(browser, server.origin, storage)
    ask(page, "sure: what is oat milk?")
    click(page, "Helpful")
    said = "This browser keeps nothing for this page: your feedback is gone when you close this tab."
    assert text_of(page, ".kept") == said and link(page) == ["Your feedback (1)"]
    ask(page, "likely: and in tea?")
    click(page, "Not helpful")
    click(page, "Your feedback (2)")
    assert texts_of(page, "#feedback-problem") == [said]
    assert texts_of(page, "#feedback-list .asked") == ["likely: and in tea?", "sure: what is oat milk?"]
    assert page.exceptions == []


@pytest.mark.parametrize("content", ["no JSON", '{"a": 1}', '[{"id": "1"}, null, 3]'])
def test_what_cannot_be_read_is_left_out_and_named(page, browser, server, content):
    page.evaluate(f"localStorage.setItem({json.dumps(KEY)}, {json.dumps(content)})")
    page = open_page(browser, server.origin)
    ask(page, "sure: what is oat milk?")
    click(page, "Helpful")
    assert text_of(page, ".kept") == "Feedback that was kept before could not be read, and was left out."
    assert len(stored(page)) == 1
    assert page.exceptions == []


def test_two_tabs_keep_each_others_feedback(browser, server):
    one, other = open_page(browser, server.origin), open_page(browser, server.origin)
    ask(one, "sure: what is oat milk?")
    click(one, "Helpful")
    other.wait_for("document.getElementById('feedback-link').textContent === 'Your feedback (1)'", 10)
    ask(other, "likely: and in tea?")
    click(other, "Not helpful")
    assert [entry["vote"] for entry in stored(one)] == ["helpful", "not helpful"]
