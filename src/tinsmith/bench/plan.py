"""Plan a browser benchmark: prompts and numbers of runs, as JSON for the pages.

Prompts consist of fixed words, so that the page for other devices contains no text from the data. Times do not suffer:
the time of a token depends on how many tokens come before it, not on which.
"""

import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tinsmith.bench.gates import first_prompt
from tinsmith.core.config import BenchConfig
from tinsmith.core.run_dir import read_json
from tinsmith.derive.bench import QUESTION
from tinsmith.model.conversations import Conversation, Message
from tinsmith.model.tokens import ChatTokenizer, load_tokenizer

MOST_CONTEXT_TOKENS = 4096
"""Longest context on the page; must equal the limit in `web/worker.js`."""

_SYSTEM_PROMPT = "Answer briefly."
PROMPT_WORDS = tuple(
    (
        "The first boat to the island leaves at seven and takes an hour. Most people bring bread, some cheese and a "
        "warm coat, since the wind on deck is stronger than it looks from the harbour. Which path from the landing "
        "place to the old lighthouse is the shorter one, and can a family with two small children walk there and back "
        "before the last boat leaves in the afternoon?"
    ).split()
)


def plan(config: BenchConfig, package_dir: Path, conversations: Sequence[Conversation], device: str) -> dict[str, Any]:
    """The plan for `device`: a prompt as long as the first test question's, then prompts of `config.prompt_tokens`.

    Lengths are skipped if they are too long for the model's context or too short for the chat format.
    """
    tokenizer = load_tokenizer(package_dir)
    limit = min(MOST_CONTEXT_TOKENS, read_json(package_dir / "config.json")["max_position_embeddings"])
    first = first_prompt(conversations[0])
    # Keep a system message if the data has one. Without it, templates insert a long default.
    opening = tuple(Message("system", _SYSTEM_PROMPT) for message in first if message.role == "system")
    question = question_of(tokenizer, PROMPT_WORDS, len(tokenizer.encode_prompt(first)), opening)
    prompts = [_prompt(QUESTION, (*opening, question), config.new_tokens, config.runs)]
    for tokens in sorted(config.prompt_tokens):
        question = question_of(tokenizer, PROMPT_WORDS, tokens)
        is_short_enough = len(tokenizer.encode_prompt((question,))) <= tokens
        if is_short_enough and tokens + config.prompt_new_tokens <= limit:
            prompts.append(_prompt(str(tokens), (question,), config.prompt_new_tokens, config.prompt_runs))
    return {
        "modelUrl": "./model/",
        "device": device,
        "warmUpRuns": config.warmup_runs,
        "promptSeconds": config.prompt_seconds,
        "softwareNewTokens": config.software_new_tokens,
        "prompts": prompts,
    }


def question_of(
    tokenizer: ChatTokenizer, words: Sequence[str], max_tokens: int, opening: tuple[Message, ...] = ()
) -> Message:
    """The longest question of `words`, repeated as needed, whose prompt has at most `max_tokens` tokens.

    It has at least one word, even if that exceeds `max_tokens`.

    Args:
        tokenizer: The model's tokenizer.
        words: Words of the question, in order.
        max_tokens: Limit for the whole prompt in the chat format.
        opening: Messages before the question.
    """

    def length(question: Sequence[str]) -> int:
        return len(tokenizer.encode_prompt((*opening, Message("user", " ".join(question)))))

    # Add many words at a time, until they no longer all fit. Then add them one by one.
    next_words = itertools.cycle(words)
    question = [next(next_words)]
    while True:
        count = max(1, (max_tokens - length(question)) // 4)
        addition = list(itertools.islice(next_words, count))
        if length([*question, *addition]) > max_tokens:
            break
        question += addition
    for word in addition:
        if length([*question, word]) > max_tokens:
            break
        question.append(word)
    return Message("user", " ".join(question))


def _prompt(name: str, messages: Sequence[Message], new_tokens: int, runs: int) -> dict[str, Any]:
    plain = [{"role": message.role, "content": message.content} for message in messages]
    return {"name": name, "messages": plain, "newTokens": new_tokens, "runs": runs}
