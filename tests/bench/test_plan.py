"""The prompts of a benchmark: how long they are, and that they are not of the data."""

import json
from dataclasses import replace

import pytest

from tinsmith.bench.gates import first_prompt
from tinsmith.bench.plan import MOST_CONTEXT_TOKENS, PROMPT_WORDS, plan, question_of
from tinsmith.browser.runtime import WEB_DIR
from tinsmith.core.config import BenchConfig
from tinsmith.core.run_dir import read_json, write_json
from tinsmith.model.conversations import Message, read_jsonl
from tinsmith.model.tokens import load_tokenizer


def planned(package, folder, conversations, **settings):
    """The plan for a copy of the package whose context ends at 300 tokens."""
    for path in package.glob("*.json"):
        (folder / path.name).write_bytes(path.read_bytes())
    write_json(folder / "config.json", read_json(package / "config.json") | {"max_position_embeddings": 300})
    return plan(BenchConfig(**settings), folder, conversations, "wasm")["prompts"]


def test_a_prompt_as_long_as_the_first_question_then_every_length_that_fits(package_of, tmp_path):
    package = package_of("llama")
    conversations = read_jsonl(package.parents[1] / "data/test.jsonl")
    prompts = planned(package, tmp_path, conversations, prompt_tokens=(256, 120, 1024, 32))
    assert [prompt["name"] for prompt in prompts] == ["question", "120", "256"]
    assert (prompts[0]["newTokens"], prompts[1]["newTokens"]) == (64, 32)
    tokenizer = load_tokenizer(package)
    lengths = [len(tokenizer.encode_prompt(first_prompt(conversations[0]))), 120, 256]
    for prompt, length in zip(prompts, lengths, strict=True):
        messages = [Message(**message) for message in prompt["messages"]]
        assert set(messages[-1].content.split()) <= set(PROMPT_WORDS)
        assert length - 12 < len(tokenizer.encode_prompt(messages)) <= length
    assert [[message["role"] for message in prompt["messages"]] for prompt in prompts] == [
        ["system", "user"],
        ["user"],
        ["user"],
    ]


def test_no_text_of_the_data_is_in_a_plan(package_of, tmp_path):
    package = package_of("llama")
    conversations = read_jsonl(package.parents[1] / "data/test.jsonl")
    secrets = ("ada@tea.example", "AKIAIOSFODNN7EXAMPLE")
    planted = [
        replace(one, messages=tuple(replace(m, content=f"{secrets[0]} {m.content} {secrets[1]}") for m in one.messages))
        for one in conversations
    ]
    prompts = planned(package, tmp_path, planted, prompt_tokens=(120, 256))
    text = json.dumps(prompts)
    assert len(prompts) == 3 and not any(secret in text for secret in secrets)
    words = {word for one in conversations for m in one.messages for word in m.content.split()} - set(PROMPT_WORDS)
    assert len(words) > 20
    assert not words & {word for prompt in prompts for m in prompt["messages"] for word in m["content"].split()}


def test_the_context_is_the_pages():
    assert f"const MOST_CONTEXT_TOKENS = {MOST_CONTEXT_TOKENS};" in (WEB_DIR / "worker.js").read_text()


@pytest.mark.parametrize("tokens", [1, 90, 101, 102, 103, 250, 700])
def test_a_question_is_as_long_as_it_may_be(package_of, tokens):
    tokenizer = load_tokenizer(package_of("llama"))
    words = "how long should this green tea steep, and at what temperature?".split()
    question = question_of(tokenizer, words, tokens)
    count = len(question.content.split())

    def length(number):
        return len(tokenizer.encode_prompt((Message("user", " ".join((words * 200)[:number])),)))

    assert question.content == " ".join((words * 200)[:count])
    assert count == 1 or length(count) <= tokens
    assert length(count + 1) > tokens
