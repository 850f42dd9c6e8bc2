"""The chat page on its own kernels: a stop is honoured at once, and when the GPU is lost the processor answers."""

from collections.abc import Callable

import pytest

from ladder import send
from packages import tiny_run, write_site
from tinsmith.browser.chromium import Browser
from tinsmith.browser.page import Page
from tinsmith.browser.runtime import WEB_DIR
from tinsmith.browser.serve import SiteServer

pytestmark = pytest.mark.browser

READY = "!!document.querySelector('#questions button:enabled')"
MEASURED = "document.querySelectorAll('.measure').length"
"""Complete answers of the model."""

SECONDS = 120

WORKER = 'import "./losing.js"; import "./true_worker.js";'
LOSING = """
// The software adapter passes for a GPU, so that the page uses it.
const named = { vendor: "", architecture: "", device: "", description: "", isFallbackAdapter: false };
for (const [name, value] of Object.entries(named)) {
  Object.defineProperty(GPUAdapterInfo.prototype, name, { get: () => value });
}
const devices = [];
const { requestDevice } = GPUAdapter.prototype;
GPUAdapter.prototype.requestDevice = async function (options) {
  devices.push(await requestDevice.call(this, options));
  return devices.at(-1);
};
const stop = () => self.dispatchEvent(new MessageEvent("message", { data: { type: "stop" } }));
const lose = () => devices.forEach((device) => device.destroy());
new BroadcastChannel("lose").addEventListener("message", lose);
const atThirdToken = {
  "Lose it in the answer": lose,
  // A message of the page arrives while the worker waits for the GPU.
  "Stop the answer": () => setTimeout(stop),
  "Wait in the answer": () => devices.length && Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 15_000),
};
let answer = { question: "", id: 0, tokens: 0 };
self.addEventListener("message", ({ data }) => {
  if (data.type !== "generate") return;
  answer = { question: data.messages.at(-1).content, id: data.id, tokens: 0 };
  if (answer.question === "Lose it in the prompt") lose();
});
const post = self.postMessage.bind(self);
self.postMessage = (reply) => {
  post(reply);
  if (reply.type === "token" && reply.id === answer.id && ++answer.tokens === 3) atThirdToken[answer.question]?.();
};
"""


def ask(page: Page, text: str) -> None:
    """Send a question and wait for the complete answer."""
    before = page.evaluate(MEASURED)
    send(page, text)
    page.wait_for(f"{MEASURED} === {before + 1}", SECONDS)


def lose_when_idle(browser: Browser, page: Page) -> None:
    page.evaluate('new BroadcastChannel("lose").postMessage(null)')
    send(page, "Lose it before")


def lose_in_the_prompt(browser: Browser, page: Page) -> None:
    send(page, "Lose it in the prompt")


def lose_in_the_answer(browser: Browser, page: Page) -> None:
    send(page, "Lose it in the answer")


def crash_in_the_answer(browser: Browser, page: Page) -> None:
    send(page, "Wait in the answer")
    page.wait_for("document.querySelectorAll('.turn.assistant .text')[1]?.textContent.length > 0", SECONDS)
    assert page.evaluate(MEASURED) == 1
    browser.call("Browser.crashGpuProcess", {})


def measured(page: Page) -> tuple[int, bool]:
    """Tokens of the last answer, and whether it was stopped."""
    line = page.evaluate("document.querySelector('.turn:last-child .measure').textContent")
    return int(line.split()[0]), line.endswith("stopped")


@pytest.mark.parametrize(
    "lose",
    [
        lose_in_the_answer,
        pytest.param(lose_in_the_prompt, marks=pytest.mark.long),
        pytest.param(lose_when_idle, marks=pytest.mark.long),
        pytest.param(crash_in_the_answer, marks=pytest.mark.long),
    ],
)
def test_after_the_gpu_is_lost_the_question_and_the_next_are_answered(
    lose: Callable[[Browser, Page], None], tmp_path, tmp_path_factory
):
    write_site(tiny_run("llama", tmp_path_factory), tmp_path / "site")
    (tmp_path / "worker.js").write_text(WORKER)
    (tmp_path / "losing.js").write_text(LOSING)
    mounts = {
        "/": tmp_path / "site",
        "/worker.js": tmp_path / "worker.js",
        "/losing.js": tmp_path / "losing.js",
        "/true_worker.js": WEB_DIR / "worker.js",
    }
    with SiteServer(mounts) as server, Browser(webgpu="software") as browser:
        page = browser.open(f"{server.origin}/")
        page.wait_for(READY, SECONDS)
        assert "WebGPU" in page.evaluate("document.getElementById('facts').textContent")
        assert page.evaluate("document.getElementById('fallback').textContent") == ""
        ask(page, "Stop the answer")
        tokens, is_stopped = measured(page)
        assert 3 <= tokens <= 3 + 2 and is_stopped
        lose(browser, page)
        page.wait_for(f"{MEASURED} === 2", SECONDS)
        assert "WASM" in page.evaluate("document.getElementById('facts').textContent")
        notice = page.evaluate("document.getElementById('fallback').textContent")
        assert notice.startswith("Running on the processor: this GPU failed (")
        ask(page, "And then?")
        assert page.evaluate(MEASURED) == 3
        assert page.evaluate("document.getElementById('notice').textContent") == ""
        assert not any("asyncify" in request.url for request in page.requests)
        assert page.exceptions == []
