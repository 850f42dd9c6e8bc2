"""The chat page of an invented shop, with a worker whose rankings and answers a test chooses."""

import json
import shutil
from collections.abc import Sequence
from pathlib import Path

from tinsmith.browser.runtime import WEB_DIR
from tinsmith.core.run_dir import write_json, write_text
from tinsmith.model.answers.small_talk import SMALL_TALK_FILE


def answer(number: int, title: str, text: str, category: str = "") -> dict:
    """An answer of the shop, as `passages.json` has it."""
    source = {"name": "answers.jsonl", "place": f"line {number}", "url": "", "date": ""}
    return {
        "id": f"a{number}",
        "kind": "answer",
        "title": title,
        "text": text,
        "category": category,
        "source": source,
    }


OAT = answer(
    1, "What does oat milk cost extra?", "Oat milk is **+6 kr** in any drink.\n\n- latte\n- flat white", "Drinks"
)
RETURNS = {
    "id": "returns.html#Returns/Refunds",
    "kind": "document",
    "title": "Returns > Refunds",
    "text": "Send it back within 30 days. We refund the price within 5 working days, on the card you paid with.",
    "category": "",
    "source": {
        "name": "policies/returns.html",
        "place": "Returns > Refunds",
        "url": "https://tea.example/returns#refunds",
        "date": "2026-03-12",
    },
}
DELIVERY = answer(3, "We deliver on weekdays between…", "We deliver on weekdays between 9 and 17. Delivery is 49 kr.")
GIFT = answer(4, "Do you have gift cards?", "Yes, from 100 kr. They are valid for two years.", "Gifts")
HOURS = answer(5, "When are you open?", "Monday to Friday 8 to 18, Saturday 10 to 16. Closed on Sundays.", "Shop")
SHOP = [OAT, RETURNS, DELIVERY, GIFT, HOURS]
UNKNOWN = "I do not know that. Write to us at hello@tea.example."
THRESHOLDS = {"sure": 0.8, "likely": 0.45, "minCloseness": -0.5}
CONFIDENCE = {"sure": 0.91, "likely": 0.62, "unsure": 0.21}
TITLE = "Tea by Leaf & Kettle, in a tab"
OWNER = "Leaf & Kettle"
QUESTIONS = ["sure: what is oat milk?", "likely: can I send it back?"]
REPLIES = {
    "hello": "Welcome to *our* shop.",
    "thanks": "With pleasure.",
    "goodbye": "See you!",
    "about": "I am a machine.",
}
OFFER = "Let the model answer (84 MB)"
"""The button, until the model is loaded."""

_WORKER = """
const { passages, problem, fallback, unknown, smallTalk, thresholds, confidence, waits } = SETTINGS;
const channel = new BroadcastChannel("test");
const loaded = new Promise((resolve) => {
  channel.addEventListener("message", ({ data }) => data.loaded && resolve(data.loaded));
});
let stopAnswer = () => {};

function openAnswers({ id }) {
  if (problem) return postMessage({ type: "error", id, message: problem, isUnsuitable: false, adapter: null });
  const file = "minilm.bin", loaded = 9e6, total = 24e6;
  postMessage({ type: "progress", id, file, loaded, total });
  postMessage({ type: "answers", id, passages: 503, fallback, unknown, smallTalk, thresholds, isKept: true });
}

async function load({ id, notice }) {
  const error = waits ? (await loaded).error : "";
  if (error) return postMessage({ type: "error", id, message: error, isUnsuitable: false, adapter: null });
  postMessage({ type: "ready", id, device: "wasm", graph: "float32", notice: notice ?? "", threads: 2,
    crossOriginIsolated: true, isKept: true });
}

function lookUp({ id, question }) {
  if (question.includes("broken")) {
    return postMessage({ type: "error", id, message: "an encoder failed", isUnsuitable: false, adapter: null });
  }
  const rung = /sure|likely|unsure/.exec(question.replace("unsure", "un"))?.[0] ?? "unsure";
  const first = Number(/(\\d):/.exec(question)?.[1] ?? 0);
  const ordered = [...passages.slice(first), ...passages.slice(0, first)].slice(0, 5);
  const ranked = ordered.map((passage, place) => {
    const closeness = (question.includes("far") ? -1 : 1.5) - place / 4;
    return { passage, score: 2.5 - place / 2, closeness, overlap: 0.5 };
  });
  const fitsOnlyPrevious = question.includes("and what");
  postMessage({ type: "ranked", id, rung, confidence: fitsOnlyPrevious ? 0 : confidence[rung], milliseconds: 18.4,
    usedPrevious: question.includes("and "), passages: ranked });
}

function generate({ id, messages, maxNewTokens }) {
  const question = messages.at(-1).content;
  const counts = { promptTokens: 1, keptTokens: 0, droppedTurns: 0, contextTokens: 4096, pastBytes: 0 };
  const done = (text, stopped) =>
    postMessage({ type: "done", id, tokenIds: [1, 2], times: [1, 2], text, ...counts, stopped });
  if (question.includes("crash") && maxNewTokens > 100) {
    return postMessage({ type: "error", id, message: "out of memory", isUnsuitable: false, adapter: null });
  }
  if (question.includes("endless") && maxNewTokens > 100) return (stopAnswer = () => done("", "request"));
  const text = `The model's words on “${question}”`;
  postMessage({ type: "token", id, tokenId: 1, time: 1, text });
  done(text, "end");
}

self.addEventListener("message", ({ data }) => {
  channel.postMessage({ request: data });
  if (data.type === "open_answers") openAnswers(data);
  if (data.type === "load") load(data);
  if (data.type === "look_up") lookUp(data);
  if (data.type === "generate") generate(data);
  if (data.type === "stop") stopAnswer();
  if (data.type === "forget") postMessage({ type: "forgotten", id: data.id });
});
"""
"""Stands in for worker.js. A question's words choose its rung: `sure`, `likely`, else `unsure`. A digit before a colon
chooses its first passage. `broken` ends the search, `crash` the model, and `endless` has no first word."""

RECORDED = """globalThis.sent = [];
new BroadcastChannel("test").addEventListener("message", ({ data }) => data.request && sent.push(data.request));"""
"""Run before the page's scripts: keeps in `sent` what the worker was asked."""


def write_page(
    folder: Path,
    *,
    passages: list[dict] | None = None,
    problem: str = "",
    fallback: str = "unknown",
    unknown: str = UNKNOWN,
    small_talk: Sequence[str] = (),
    waits: bool = False,
    **app: object,
) -> None:
    """Write the chat page, its settings and the worker above into `folder`, which is replaced.

    Args:
        passages: What every question finds, in this order.
        problem: Why the answers cannot be used.
        fallback: `unknown`, `offer` or `model`.
        unknown: Text for a question without an answer.
        small_talk: Kinds that the owner's data answer.
        waits: Load the model only once the page is told `finish_loading`.
        app: Further settings for app.json.
    """
    shutil.rmtree(folder, ignore_errors=True)
    ignored = shutil.ignore_patterns("node_modules")
    shutil.copytree(WEB_DIR, folder, ignore=ignored, copy_function=shutil.copyfile)
    (folder / "chat.html").rename(folder / "index.html")
    shutil.copyfile(SMALL_TALK_FILE, folder / "small_talk.json")
    settings = {
        "passages": SHOP if passages is None else passages,
        "problem": problem,
        "fallback": fallback,
        "unknown": unknown,
        "smallTalk": list(small_talk),
        "thresholds": THRESHOLDS,
        "confidence": CONFIDENCE,
        "waits": waits,
    }
    write_text(folder / "worker.js", _WORKER.replace("SETTINGS", json.dumps(settings), 1))
    site = {
        "title": TITLE,
        "owner": OWNER,
        "system_prompt": "You sell tea.",
        "questions": QUESTIONS,
        "model": "./model/",
        "model_bytes": 84_300_000,
        "small_talk": REPLIES,
        "answers": "./model/answers/",
        "max_new_tokens": 256,
    }
    write_json(folder / "app.json", {**site, **app})


def open_page(browser, origin, *scripts: str):
    """A tab with the page, once a question can be asked.

    Args:
        browser: A running `Browser`.
        origin: Of the server.
        scripts: Run before the page's own.
    """
    page = browser.open()
    for script in (RECORDED, *scripts):
        page._browser.call("Page.addScriptToEvaluateOnNewDocument", {"source": script}, page._session)
    page.navigate(f"{origin}/")
    page.wait_for("!!document.querySelector('#questions button:enabled')", 30)
    return page


def finish_loading(page, error: str = "") -> None:
    """Let the worker's model be ready, or fail to load."""
    page.evaluate(f"new BroadcastChannel('test').postMessage({{ loaded: {{ error: {json.dumps(error)} }} }})")


def send(page, text: str) -> None:
    """Type `text` into the page and send it."""
    page.evaluate(
        f"""(() => {{
          const question = document.getElementById("question");
          question.value = {json.dumps(text)};
          question.dispatchEvent(new Event("input"));
          document.getElementById("ask").requestSubmit();
        }})()"""
    )


def ask(page, text: str) -> None:
    """Send `text` and wait for the complete answer."""
    before = page.evaluate("document.querySelectorAll('.turn.assistant .actions').length")
    send(page, text)
    page.wait_for(f"document.querySelectorAll('.turn.assistant .actions').length === {before + 1}", 30)


def text_of(page, selector: str, scope: str = ".turn:last-child") -> str | None:
    """Text of the first such element in the last turn, or None without one."""
    return page.evaluate(f"document.querySelector({json.dumps(f'{scope} {selector}')})?.textContent ?? null")


def texts_of(page, selector: str) -> list[str]:
    """Texts of all such elements that are visible."""
    return page.evaluate(
        f"[...document.querySelectorAll({json.dumps(selector)})].filter((one) => one.checkVisibility())"
        ".map((one) => one.textContent)"
    )


def click(page, label: str) -> None:
    """Press the last visible button with this label."""
    page.evaluate(
        f"""[...document.querySelectorAll("button")]
          .findLast((one) => one.checkVisibility() && one.textContent === {json.dumps(label)}).click()"""
    )


def requests(page, kind: str) -> list[dict]:
    """What the page asked of the worker, the hidden warm-up left out."""
    return [r for r in page.evaluate("sent") if r["type"] == kind and r.get("maxNewTokens") != 48]
