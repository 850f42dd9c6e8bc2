"""What a browser is asked to do: the protocol that `web/protocol.js` runs, as JSON."""

import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tinsmith.bench.gates import first_prompt
from tinsmith.core.config import BenchConfig
from tinsmith.core.run_dir import read_json
from tinsmith.model.conversations import Conversation, Message
from tinsmith.model.tokens import ChatTokenizer, load_tokenizer

QUESTION = "question"
"""Name of the prompt whose numbers stand for the model's; the others are named after their number of tokens."""

MOST_CONTEXT_TOKENS = 4096
"""As in `web/worker.js`."""


def plan(config: BenchConfig, package_dir: Path, conversations: Sequence[Conversation], device: str) -> dict[str, Any]:
    """A `Plan` of `web/protocol.js` for `device`: the first test question, then prompts of `config.prompt_tokens`."""
    tokenizer = load_tokenizer(package_dir)
    limit = min(MOST_CONTEXT_TOKENS, read_json(package_dir / "config.json")["max_position_embeddings"])
    words = [word for one in conversations for message in one.messages for word in message.content.split()]
    prompts = [_prompt(QUESTION, first_prompt(conversations[0]), config.new_tokens, config.runs)]
    for tokens in sorted(config.prompt_tokens):
        question = question_of(tokenizer, words, tokens)
        # The chat format alone may be longer.
        if tokens + config.prompt_new_tokens <= limit and len(tokenizer.encode_prompt((question,))) <= tokens:
            prompts.append(_prompt(str(tokens), (question,), config.prompt_new_tokens, config.prompt_runs))
    return {
        "modelUrl": "./model/", "device": device, "warmUpRuns": config.warmup_runs, "promptSeconds": config.prompt_seconds,
        "softwareNewTokens": config.software_new_tokens, "prompts": prompts,
    }  # fmt: skip


def question_of(tokenizer: ChatTokenizer, words: Sequence[str], tokens: int) -> Message:
    """A question of as many of `words`, over and over, as make a prompt of at most `tokens` tokens; one word at least."""
    supply = itertools.cycle(words)
    chosen = [next(supply)]
    while True:
        more = [*chosen, *itertools.islice(supply, max(1, (tokens - _length(tokenizer, chosen)) // 4))]
        if _length(tokenizer, more) > tokens:
            break
        chosen = more
    for word in more[len(chosen) :]:
        if _length(tokenizer, [*chosen, word]) > tokens:
            break
        chosen.append(word)
    return Message("user", " ".join(chosen))


def _length(tokenizer: ChatTokenizer, words: Sequence[str]) -> int:
    return len(tokenizer.encode_prompt((Message("user", " ".join(words)),)))


def _prompt(name: str, messages: Sequence[Message], new_tokens: int, runs: int) -> dict[str, Any]:
    plain = [{"role": message.role, "content": message.content} for message in messages]
    return {"name": name, "messages": plain, "newTokens": new_tokens, "runs": runs}
