"""The chat page in a real Chromium: loading, asking, several turns, stopping, and never a request elsewhere."""

import json
import shutil
import urllib.request

import pytest

from packages import tiny_run, write_site
from tinsmith.app import HOST_HEADERS
from tinsmith.browser.chromium import Browser
from tinsmith.browser.serve import SiteHandler, SiteServer
from tinsmith.core.run_dir import read_json, write_json

pytestmark = pytest.mark.browser

READY = "!!document.querySelector('#questions button:enabled')"


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    run, folder = tiny_run("llama", tmp_path_factory), tmp_path_factory.mktemp("site")
    write_site(run, folder)
    return folder


@pytest.fixture(scope="module")
def browser():
    with Browser(webgpu="none") as browser:
        yield browser


@pytest.fixture
def chat(site, browser):
    with SiteServer({"/": site}) as server:
        page = browser.open(f"{server.origin}/")
        page.wait_for(READY, 60)
        yield page, server


def ask(page, text):
    """Type `text` into the page and send it."""
    page.evaluate(
        f"""(() => {{
          const question = document.getElementById("question");
          question.value = {json.dumps(text)};
          question.dispatchEvent(new Event("input"));
          document.getElementById("ask").requestSubmit();
        }})()"""
    )


def test_two_turns_and_a_new_chat(chat):
    page, _ = chat
    assert page.evaluate("document.title") == "Tea shop"
    assert page.evaluate("document.getElementById('system').value") == "You sell tea."
    page.evaluate("document.querySelector('#questions button').click()")
    page.wait_for("document.querySelectorAll('.measure').length === 1", 60)
    ask(page, "And the other one?")
    page.wait_for("document.querySelectorAll('.measure').length === 2", 60)
    shown = page.evaluate("[...document.querySelectorAll('.turn')].map(turn => turn.className)")
    assert shown == ["turn user", "turn assistant"] * 2
    assert "tokens/s" in page.evaluate("document.querySelector('.measure').textContent")
    page.evaluate("document.getElementById('restart').click()")
    assert page.evaluate("document.querySelectorAll('.turn').length") == 0
    assert page.evaluate("!document.getElementById('welcome').hidden")


def test_stop_keeps_what_was_said(chat):
    page, _ = chat
    page.evaluate("document.querySelector('#questions button').click()")
    page.wait_for("document.querySelector('.turn.assistant .text')?.textContent.length > 0", 30)
    page.evaluate("document.getElementById('stop').click()")
    page.wait_for("!!document.querySelector('.measure')", 30)
    line = page.evaluate("document.querySelector('.measure').textContent")
    assert "stopped" in line and int(line.split()[0]) < 256


def test_what_is_said_never_becomes_markup(chat):
    page, _ = chat
    ask(page, "<img src=x onerror=alert(1)><b>bold</b>")
    page.wait_for("!!document.querySelector('.measure')", 60)
    assert page.evaluate("document.querySelectorAll('.turn img, .turn b').length") == 0
    assert page.evaluate("document.querySelector('.turn.user .text').textContent").startswith("<img")
    refused = page.evaluate("(() => { try { document.body.innerHTML = '<i>' } catch (error) { return error.name } })()")
    assert refused == "TypeError"


def test_every_request_stays_on_the_own_origin_and_the_console_stays_clean(chat):
    page, server = chat
    page.evaluate("document.querySelector('#questions button').click()")
    page.wait_for("!!document.querySelector('.measure')", 60)
    assert {r.url for r in page.requests if not r.url.startswith(server.origin + "/")} == set()
    assert any(r.url.endswith("/model/onnx/model_q4.onnx_data") and r.status == 200 for r in page.requests)
    assert page.exceptions == [] and [text for kind, text in page.console if kind == "error"] == []
    assert page.evaluate("crossOriginIsolated") is True
    assert page.evaluate("document.getElementById('facts').textContent").startswith("Nothing leaves this device · WASM")


@pytest.mark.parametrize("width", [360, 1280])
def test_nothing_overflows_and_both_schemes_are_readable(chat, width, tmp_path):
    page, _ = chat
    for dark in (False, True):
        page.screenshot(tmp_path / "page.png", width, 740, dark)
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        colours = page.evaluate(
            "[getComputedStyle(document.body).color, getComputedStyle(document.body).backgroundColor]"
        )
        assert contrast(*colours) >= 7


def contrast(one: str, other: str) -> float:
    """Contrast ratio of two `rgb(r, g, b)` colours. Source: WCAG 2.2, relative luminance."""

    def luminance(colour: str) -> float:
        parts = [int(part) / 255 for part in colour[4:-1].split(",")]
        linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    light, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def test_a_model_that_is_not_there_is_said_on_the_page(site, browser, tmp_path):
    settings = read_json(site / "app.json")
    write_json(tmp_path / "app.json", {**settings, "model": "./elsewhere/"})
    with SiteServer({"/": site, "/app.json": tmp_path / "app.json"}) as server:
        page = browser.open(f"{server.origin}/")
        page.wait_for("document.getElementById('notice').textContent !== ''", 30)
        notice = page.evaluate("document.getElementById('notice').textContent")
    assert "/elsewhere/SHA256SUMS answered 404" in notice and "folder that holds it and config.json" in notice


NOT_ISOLATED = {"Cross-Origin-Embedder-Policy": "unsafe-none", "Cross-Origin-Opener-Policy": "unsafe-none"}


def test_on_a_host_without_headers_the_service_worker_isolates_the_page(site, browser):
    with SiteServer({"/": site}, headers=NOT_ISOLATED) as server:
        page = browser.open(f"{server.origin}/")
        page.wait_for(f"crossOriginIsolated && {READY}", 60)
        said = page.evaluate(
            "document.getElementById('notice').textContent + document.getElementById('fallback').textContent"
        )
        assert said == "Running on the processor: no WebGPU adapter was found"
        page.evaluate("document.querySelector('#questions button').click()")
        page.wait_for("!!document.querySelector('.measure')", 60)


def test_without_any_isolation_the_page_works_with_one_thread_and_says_so(site, browser, tmp_path):
    shutil.copytree(site, tmp_path / "site")
    (tmp_path / "site" / "sw.js").unlink()
    with SiteServer({"/": tmp_path / "site"}, headers=NOT_ISOLATED) as server:
        page = browser.open(f"{server.origin}/")
        page.wait_for(READY, 60)
        assert "1 thread" in page.evaluate("document.getElementById('facts').textContent")
        assert "cross-origin isolation" in page.evaluate("document.getElementById('fallback').textContent")


def test_after_one_visit_the_page_opens_and_answers_without_a_network(site):
    with Browser(webgpu="none") as browser:
        with SiteServer({"/": site}) as server:
            page = browser.open(f"{server.origin}/")
            page.wait_for(READY, 60)
        page = browser.open(f"{server.origin}/")  # nobody listens there any more
        page.wait_for(READY, 60)
        assert page.evaluate("crossOriginIsolated") is True
        ask(page, "How hot?")
        page.wait_for("!!document.querySelector('.measure')", 60)
        card = browser.open(f"{server.origin}/card.html")
        assert card.evaluate("document.querySelector('h1').textContent") == "Model Card: tea"


def test_a_page_the_host_redirects_is_shown_once_the_service_worker_is_there(site, browser):
    class Redirecting(SiteHandler):
        """A host that shows card.html under another name, as some do."""

        def do_GET(self):
            if self.path == "/card.html":
                self.send_response(308)
                self.send_header("Location", "/the-card.html")
                self.send_header("Content-Length", "0")
                return self.end_headers()
            super().do_GET()

    with SiteServer({"/": site, "/the-card.html": site / "card.html"}, handler=Redirecting) as server:
        page = browser.open(f"{server.origin}/")
        page.wait_for(READY, 60)
        card = browser.open(f"{server.origin}/card.html")
        assert (
            card.evaluate("!!navigator.serviceWorker.controller && document.querySelector('h1').textContent")
            == "Model Card: tea"
        )


def test_the_worker_has_a_policy_from_the_host_and_from_the_service_worker(site, browser):
    for headers in (HOST_HEADERS, NOT_ISOLATED):
        with SiteServer({"/": site}, headers=headers) as server:
            page = browser.open(f"{server.origin}/")
            page.wait_for(READY, 60)
            from_host = urllib.request.urlopen(f"{server.origin}/worker.js").headers["Content-Security-Policy"] or ""
            policy = page.evaluate(
                "fetch('./worker.js').then((response) => response.headers.get('content-security-policy'))"
            )
            assert policy.startswith(from_host) and ("frame-ancestors 'none'" in from_host) == (headers is HOST_HEADERS)
            for text in (from_host, policy) if from_host else (policy,):
                assert "connect-src 'self'" in text and "script-src 'self' 'wasm-unsafe-eval'" in text
            ask(page, "How hot?")
            page.wait_for("!!document.querySelector('.measure')", 60)
            assert page.exceptions == [] and [text for kind, text in page.console if kind == "error"] == []


FAILING_GPU = """
let device;
self.addEventListener("message", ({ data: { type, id, ...request } }) => {
  if (type === "load") {
    device = request.device === "wasm" ? "wasm" : "webgpu";
    const notice = request.notice ?? "", graph = "float32";
    postMessage({ type: "ready", id, device, graph, notice, threads: 1, crossOriginIsolated: true, isKept: true });
  }
  if (type !== "generate") return;
  if (device === "webgpu" && request.messages.at(-1).content === "Why?") {
    const message = "this GPU failed (device lost)";
    return postMessage({ type: "error", id, message, isUnsuitable: true, adapter: null });
  }
  const text = `on ${device}`;
  const answer = () => postMessage({ type: "done", id, tokenIds: [1], times: [1], text, promptTokens: 1, keptTokens: 0,
    droppedTurns: 0, contextTokens: 9, pastBytes: 0, stopped: "end" });
  if (device === "wasm" && request.messages.at(-1).content === "Why?") setTimeout(answer, 1500);
  else answer();
});
"""


def test_after_a_gpu_fails_the_question_is_answered_on_the_processor(site, browser, tmp_path):
    (tmp_path / "worker.js").write_text(FAILING_GPU)
    with SiteServer({"/": site, "/worker.js": tmp_path / "worker.js"}) as server:
        page = browser.open(f"{server.origin}/")
        page.wait_for(READY, 60)
        assert "WebGPU" in page.evaluate("document.getElementById('facts').textContent")
        ask(page, "How?")
        page.wait_for("document.querySelectorAll('.measure').length === 1", 30)
        ask(page, "Why?")
        page.wait_for("document.getElementById('facts').textContent.includes('WASM')", 30)
        assert page.evaluate("!document.getElementById('stop').hidden && document.getElementById('send').hidden")
        page.wait_for("document.querySelectorAll('.measure').length === 2", 30)
        answers = page.evaluate(
            "[...document.querySelectorAll('.turn.assistant .text')].map((text) => text.textContent)"
        )
        assert answers == ["on webgpu", "on wasm"]
        assert (
            page.evaluate("document.getElementById('fallback').textContent")
            == "Running on the processor: this GPU failed (device lost)"
        )
        assert (
            page.evaluate("document.getElementById('notice').textContent + document.getElementById('loading').hidden")
            == "true"
        )
        assert "WASM" in page.evaluate("document.getElementById('facts').textContent")


def test_a_worker_that_does_not_start_is_said_on_the_page(site, browser, tmp_path):
    (tmp_path / "worker.js").write_text("import './nowhere.js';")
    with SiteServer({"/": site, "/worker.js": tmp_path / "worker.js"}) as server:
        page = browser.open(f"{server.origin}/")
        page.wait_for("document.getElementById('notice').textContent.startsWith('The model could not be loaded.')", 30)


ENDLESS = """
let timer = 0;
self.addEventListener("message", ({ data: { type, id, maxNewTokens } }) => {
  if (type === "load") {
    postMessage({ type: "ready", id, device: "wasm", notice: "", threads: 1, crossOriginIsolated: true, isKept: true });
  }
  const end = (stopped) => postMessage({ type: "done", id: self.requestId, tokenIds: [1, 1], times: [1, 2],
    text: "So and so", promptTokens: 1, keptTokens: 0, droppedTurns: 0, contextTokens: 9, pastBytes: 0, stopped });
  if (type === "stop") { clearInterval(timer); end("request"); }
  if (type !== "generate") return;
  self.requestId = id;
  if (maxNewTokens < 100) return end("length"); // the unseen one
  timer = setInterval(() => postMessage({ type: "token", id, tokenId: 1, time: performance.now(), text: "so " }), 50);
});
"""


@pytest.mark.parametrize("pressed", ["question", "send", "example"])
def test_the_question_has_the_focus_and_escape_stops(site, browser, tmp_path, pressed):
    (tmp_path / "worker.js").write_text(ENDLESS)
    with SiteServer({"/": site, "/worker.js": tmp_path / "worker.js"}) as server:
        page = browser.open(f"{server.origin}/")
        page.wait_for(READY, 60)
        page.evaluate(f"""(() => {{
          const question = document.getElementById("question"), send = document.getElementById("send");
          question.value = "How hot?";
          question.dispatchEvent(new Event("input"));
          const example = document.querySelector("#questions button");
          const button = {{ question: send, send, example }}[{json.dumps(pressed)}];
          ({json.dumps(pressed)} === "question" ? question : button).focus();
          button.click();
        }})()""")
        focus_and_escape(page)


def focus_and_escape(page):
    """While an answer comes the question has the focus; Escape ends it and leaves what was typed meanwhile."""
    page.wait_for("document.querySelector('.turn.assistant .text')?.textContent.length > 0", 30)
    assert page.evaluate("document.querySelector('.turn.assistant').getAttribute('aria-busy')") == "true"
    assert page.evaluate("document.activeElement.id") == "question"
    page.evaluate("""(() => {
      document.getElementById("question").value = "a draft";
      document.dispatchEvent(new KeyboardEvent("keydown", { key: "Escape" }));
    })()""")
    page.wait_for("!!document.querySelector('.measure')", 30)
    assert "stopped" in page.evaluate("document.querySelector('.measure').textContent")
    assert page.evaluate("document.getElementById('question').value") == "a draft"
    assert page.evaluate("document.querySelector('.turn.assistant').hasAttribute('aria-busy')") is False
    assert page.evaluate("document.getElementById('said').textContent") == "The model is ready"
    assert page.evaluate("[...document.querySelectorAll('.turn .unseen')].map((who) => who.textContent)") == [
        "You: ",
        "Answer: ",
    ]


HEARD = """globalThis.heard = [];
globalThis.Worker = class extends Worker {
  constructor(...settings) {
    super(...settings);
    this.addEventListener("message", ({ data }) => data.type === "done" && globalThis.heard.push(data));
  }
};"""


def test_an_unseen_answer_leaves_the_first_question_read(site, browser):
    with SiteServer({"/": site}) as server:
        page = browser.open()
        page._browser.call("Page.addScriptToEvaluateOnNewDocument", {"source": HEARD}, page._session)
        page.navigate(f"{server.origin}/")
        page.wait_for("heard.length === 1", 60)
        assert page.evaluate("document.querySelectorAll('.turn').length") == 0
        assert page.evaluate(
            "!document.getElementById('welcome').hidden && !document.getElementById('restart').checkVisibility()"
        )
        assert page.evaluate("document.getElementById('speed').textContent") == ""
        page.evaluate("document.querySelector('#questions button').click()")
        page.wait_for("heard.length === 2", 60)
        unseen, first = page.evaluate("heard")
        assert first["keptTokens"] == unseen["promptTokens"] - 1 == first["promptTokens"] - 1
        page.wait_for("!!document.querySelector('.measure')", 10)


def test_an_answer_can_be_copied_and_another_asked_for(chat):
    page, server = chat
    page._browser.call(
        "Browser.grantPermissions",
        {"origin": server.origin, "permissions": ["clipboardReadWrite", "clipboardSanitizedWrite"]},
    )
    page.evaluate("document.querySelector('#questions button').click()")
    page.wait_for("!!document.querySelector('.measure')", 60)
    ask(page, "And then?")
    page.wait_for("document.querySelectorAll('.measure').length === 2", 60)
    # Only the last answer can be replaced.
    assert page.evaluate("[...document.querySelectorAll('.again')].map((button) => button.hidden)") == [True, False]
    before = page.evaluate("document.querySelector('.turn:last-child .text').textContent")
    page.evaluate("document.querySelector('.turn:last-child .actions button').click()")
    page.wait_for("document.querySelector('.turn:last-child .actions button').textContent === 'Copied'", 10)
    page.evaluate("document.querySelector('.turn:last-child .again').click()")
    page.wait_for("!document.querySelector('.turn:last-child .measure')", 10)
    page.wait_for("!!document.querySelector('.turn:last-child .measure')", 60)
    assert page.evaluate("document.querySelectorAll('.turn').length") == 4
    assert page.evaluate("document.querySelector('.turn:last-child .text').textContent") != before


def test_the_card_page_shows_the_card_and_its_picture(site, browser):
    with SiteServer({"/": site}) as server:
        page = browser.open(f"{server.origin}/card.html")
        assert page.evaluate("document.querySelector('h1').textContent") == "Model Card: tea"
        assert page.evaluate("document.querySelector('img').naturalWidth") == 9
        assert page.console == []
