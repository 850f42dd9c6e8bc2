"""A conversation goes on from what the model has read, with the answers it would give reading everything again."""

import json
from dataclasses import dataclass
from pathlib import Path

import pytest

from packages import tiny_run
from tinsmith.browser.chromium import Browser
from tinsmith.browser.page import Page
from tinsmith.browser.runtime import WEB_DIR
from tinsmith.browser.serve import SiteServer
from tinsmith.model.tokens import load_tokenizer

pytestmark = pytest.mark.browser

QUESTIONS = ("What is steeping?", "And for green tea?", "How long?", "How hot?", "Thank you. And the price?")


@dataclass(frozen=True)
class Opened:
    """A page with a model in it."""

    page: Page
    package: Path
    ready: dict


@pytest.fixture(
    scope="module",
    params=[
        ("llama", "wasm"),
        ("gemma3", "wasm"),
        ("llama", "webgpu"),
        pytest.param(("gemma3", "webgpu"), marks=pytest.mark.long),
    ],
    ids="-".join,
)
def opened(request, runtime, tmp_path_factory):
    kind, device = request.param
    package = tiny_run(kind, tmp_path_factory) / "export/package"
    mode = "software" if device == "webgpu" else "none"
    with (
        SiteServer({"/": WEB_DIR, "/runtime/": runtime, "/model/": package}) as server,
        Browser(webgpu=mode) as browser,
    ):
        page = browser.open(f"{server.origin}/bench.html")
        page.wait_for("!!globalThis.bench")
        ready = page.evaluate(f"bench.load({json.dumps({'modelUrl': './model/', 'device': device})})", 120)
        engine = "own" if device == "webgpu" else "onnxruntime"
        assert (ready["device"], ready["engine"]) == (device, engine)
        yield Opened(page, package, ready)


def ask(opened, messages, continued, new_tokens=6, least=0):
    request = {"messages": messages, "maxNewTokens": new_tokens, "minNewTokens": least, "continued": continued}
    return opened.page.evaluate(f"bench.generate({json.dumps(request)})", 120)


def user(text):
    return {"role": "user", "content": text}


def test_later_turns_read_only_what_is_new(opened):
    tokenizer = load_tokenizer(opened.package)
    checked = 0
    for goods, count in (("tea", 6), ("cups", 6), ("pots", 3), ("honey", 3), ("water", 2), ("books", 2)):
        conversation, before = [{"role": "system", "content": f"You sell {goods}."}], None
        for turn, question in enumerate(QUESTIONS):
            conversation.append(user(question))
            done = ask(opened, conversation, continued=turn > 0, new_tokens=count, least=count)
            if before is not None:
                # All of the last prompt and answer, but for the answer's last token, which was chosen and not read.
                assert done["keptTokens"] == before["promptTokens"] + len(before["tokenIds"]) - 1
                checked += 1
            text = tokenizer.tokenizer.decode(done["tokenIds"], skip_special_tokens=True)
            assert done["text"] == text
            # Random weights write halves of characters and special tokens, which no conversation can hold.
            clean = (
                text == text.strip()
                and "\ufffd" not in text
                and not set(done["tokenIds"]) & set(tokenizer.tokenizer.all_special_ids)
            )
            before = done if clean else None
            conversation.append({"role": "assistant", "content": done["text"]})
        assert done["droppedTurns"] == 0 and done["pastBytes"] > 0
        if checked:
            return
    raise AssertionError("no answer was one that a conversation can hold")


def test_turns_with_other_answers_than_its_own_are_answered_as_if_new(opened):
    conversation = [{"role": "system", "content": "You sell tea."}]
    before = None
    for turn, question in enumerate(QUESTIONS):
        conversation.append(user(question))
        done = ask(opened, conversation, continued=turn > 0)
        if turn:
            assert done["keptTokens"] >= before["promptTokens"]
            assert ask(opened, conversation, continued=False)["tokenIds"] == done["tokenIds"]
            # The fresh answer has read the same tokens, so the next turn goes on from it.
        before = done
        conversation.append({"role": "assistant", "content": "Three minutes."})


OF_LETTERS = """import("./context.js").then(({ Past }) => {
  class DynamicCache { async dispose() {} }
  const past = new Past({ DynamicCache });
  const encode = (text) => [...text].map((letter) => letter.charCodeAt(0));
  const prompt = (...pieces) => ({ pieces, ids: past.encode(pieces, encode) });
  past.record(prompt("<How>"), { text: "so", ids: [1000] });
  const second = prompt("<How>so<Why>");
  past.record(second, { text: "as", ids: [2000] });
  const texts = ["<How>so<Why>as<When>", "<How>so<Why>", "<How>so<Who>", "<How>as<Why>", "<Who>"];
  const ids = texts.map((text) => prompt(text).ids);
  const cut = [prompt("<How>s", "o<When>"), prompt("<How>so<W", "hy>"), prompt("<How>so<Why>as", "<W", "hen>")];
  return past.forget().then(() => JSON.stringify([...ids, prompt("<How>so").ids, ...cut.map(({ ids }) => ids)]));
})"""


def test_tokens_stay_as_they_were_chosen_up_to_where_the_conversation_differs(opened):
    def letters(text):
        return [ord(letter) for letter in text]

    assert json.loads(opened.page.evaluate(OF_LETTERS)) == [
        [*letters("<How>"), 1000, *letters("<Why>"), 2000, *letters("<When>")],
        [*letters("<How>"), 1000, *letters("<Why>")],
        [*letters("<How>"), 1000, *letters("<Who>")],
        letters("<How>as<Why>"),
        letters("<Who>"),
        letters("<How>so"),
        letters("<How>so<When>"),  # the same characters, but cut: the answer's token may not stand for them
        [*letters("<How>"), 1000, *letters("<Why>")],
        [*letters("<How>"), 1000, *letters("<Why>"), 2000, *letters("<When>")],
    ]


STOPPED = """import("./client.js").then(async ({ ModelClient }) => {
  const client = new ModelClient();
  await client.ask({ type: "load", modelUrl: "./model/", device: "DEVICE" });
  const messages = [{ role: "user", content: "How?" }];
  const request = { type: "generate", messages, maxNewTokens: 12, minNewTokens: 12 };
  const both = [client.ask(request), client.ask(request)];
  client.stop();
  const all = [...(await Promise.all(both)), await client.ask(request)];
  client.close();
  return all.map((done) => done.stopped);
})"""


def test_a_request_that_waits_is_stopped_too_and_a_later_one_is_not(opened):
    result = opened.page.evaluate(STOPPED.replace("DEVICE", opened.ready["device"]), 120)
    assert result == ["request", "request", "length"]


READING = """import("./client.js").then(async ({ ModelClient }) => {
  const client = new ModelClient();
  await client.ask({ type: "load", modelUrl: "./model/", device: "DEVICE" });
  const messages = [{ role: "user", content: "tea ".repeat(TIMES) }];
  const request = { type: "generate", messages, maxNewTokens: 8, minNewTokens: 8 };
  const heard = [];
  const first = client.ask(request, (event) => heard.push(event.type));
  client.stop();
  const [stopped, again] = [await first, await client.ask(request)];
  await client.ask({ type: "forget" });
  const fresh = await client.ask(request);
  client.close();
  return { stopped, heard, again, fresh };
})"""


def test_a_stop_is_heard_while_a_long_prompt_is_read(opened):
    reading = READING.replace("DEVICE", opened.ready["device"])
    result = opened.page.evaluate(reading.replace("TIMES", str(opened.ready["contextTokens"] // 2 + 60)), 120)
    stopped, again, fresh = result["stopped"], result["again"], result["fresh"]
    assert stopped["promptTokens"] > 256 and stopped["stopped"] == "request"
    assert stopped["tokenIds"] == stopped["times"] == result["heard"] == [] and stopped["text"] == ""
    assert again["keptTokens"] == 256  # what was read is not read again
    assert again["tokenIds"] == fresh["tokenIds"] and fresh["keptTokens"] == 0


def test_the_same_question_again_and_an_edited_one_answer_as_if_new(opened):
    first = ask(opened, [user(QUESTIONS[0])], continued=False, new_tokens=10, least=10)
    again = ask(opened, [user(QUESTIONS[0])], continued=True, new_tokens=10, least=10)
    assert again["keptTokens"] == first["promptTokens"] - 1
    assert again["tokenIds"] == first["tokenIds"]
    edited = ask(opened, [user(QUESTIONS[0] + " Please.")], continued=True)
    assert 0 < edited["keptTokens"] < first["promptTokens"]
    assert edited["tokenIds"] == ask(opened, [user(QUESTIONS[0] + " Please.")], continued=False)["tokenIds"]


def test_the_oldest_turns_go_when_the_context_is_full(opened):
    limit = opened.ready["contextTokens"]
    tokenizer = load_tokenizer(opened.package)
    conversation = [{"role": "system", "content": "You sell tea."}]
    while True:
        conversation.append(user("What is steeping, and how long does it take for green tea?"))
        if (
            len(tokenizer.tokenizer.apply_chat_template(conversation, add_generation_prompt=True, return_dict=False))
            > limit - 6
        ):
            break
        conversation.append({"role": "assistant", "content": "Three minutes."})
    done = ask(opened, conversation, continued=False)
    assert done["droppedTurns"] >= 1
    kept = [conversation[0], *conversation[1 + 2 * done["droppedTurns"] :]]
    assert done["promptTokens"] == len(
        tokenizer.tokenizer.apply_chat_template(kept, add_generation_prompt=True, return_dict=False)
    )
    assert done["promptTokens"] <= (limit - 6) / 2
    # What was left out stays out, so that the next turn reads only what is new.
    conversation += [{"role": "assistant", "content": "Three minutes."}, user("How hot?")]
    after = ask(opened, conversation, continued=True)
    assert after["droppedTurns"] == done["droppedTurns"] and after["keptTokens"] >= done["promptTokens"]
    with pytest.raises(Exception, match=r"The question and the system prompt have \d+ tokens, but only \d+ fit"):
        ask(opened, [user("tea " * limit)], continued=False)
