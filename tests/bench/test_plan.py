"""What a browser is asked to do."""

import pytest

from tinsmith.bench.gates import first_prompt
from tinsmith.bench.plan import MOST_CONTEXT_TOKENS, plan, question_of
from tinsmith.browser.runtime import WEB_DIR
from tinsmith.core.config import BenchConfig
from tinsmith.core.run_dir import read_json, write_json
from tinsmith.model.conversations import read_jsonl
from tinsmith.model.tokens import load_tokenizer


def test_the_first_question_then_every_length_that_fits(package_of, tmp_path):
    package = package_of("llama")
    conversations = read_jsonl(package.parents[1] / "data/test.jsonl")
    for path in package.glob("*.json"):
        (tmp_path / path.name).write_bytes(path.read_bytes())
    write_json(tmp_path / "config.json", read_json(package / "config.json") | {"max_position_embeddings": 300})
    found = plan(BenchConfig(prompt_tokens=(256, 120, 1024, 32)), tmp_path, conversations, "wasm")
    assert [prompt["name"] for prompt in found["prompts"]] == ["question", "120", "256"]
    assert found["prompts"][0]["messages"][-1]["content"] == first_prompt(conversations[0])[-1].content
    assert (found["prompts"][0]["newTokens"], found["prompts"][1]["newTokens"]) == (64, 32)
    tokenizer = load_tokenizer(package)
    for prompt in found["prompts"][1:]:
        wanted = int(prompt["name"])
        asked = question_of(
            tokenizer, [w for c in conversations for m in c.messages for w in m.content.split()], wanted
        )
        assert prompt["messages"] == [{"role": "user", "content": asked.content}]
        assert wanted - 12 < len(tokenizer.encode_prompt((asked,))) <= wanted


def test_the_context_is_the_pages():
    assert f"const MOST_CONTEXT_TOKENS = {MOST_CONTEXT_TOKENS};" in (WEB_DIR / "worker.js").read_text()


@pytest.mark.parametrize("tokens", [1, 90, 101, 102, 103, 250, 700])
def test_a_question_is_as_long_as_it_may_be(package_of, tokens):
    tokenizer = load_tokenizer(package_of("llama"))
    words = "how long should this green tea steep, and at what temperature?".split()
    question = question_of(tokenizer, words, tokens)
    count = len(question.content.split())

    def length(number):
        return len(tokenizer.encode_prompt((question.__class__("user", " ".join((words * 200)[:number])),)))

    assert question.content == " ".join((words * 200)[:count])
    assert count == 1 or length(count) <= tokens
    assert length(count + 1) > tokens
