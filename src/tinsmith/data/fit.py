"""Cut conversations to the token limit after a whole assistant turn, and count tokens for the gates and the card."""

import json
from bisect import bisect_right
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from functools import cache
from pathlib import Path

import numpy as np

from tinsmith.core.run_dir import replacing
from tinsmith.data.store import Store
from tinsmith.model.conversations import Conversation
from tinsmith.model.tokens import ChatTokenizer, Tokens, count_supervised


@dataclass(frozen=True, slots=True)
class TokenCounts:
    """Token counts of one conversation."""

    tokens: int
    supervised: int
    supervised_ends: int
    """Supervised end-of-turn tokens."""
    assistant_turns: int
    is_bos_right: bool
    """Whether there is exactly one beginning-of-sequence token, in front; none for a family without one."""


@dataclass(frozen=True, slots=True)
class Fitted:
    """A conversation within the limit."""

    conversation: Conversation
    counts: TokenCounts
    change: str
    """Description of the cut; empty if nothing was cut."""


class TooLong(Exception):
    """Even the first question and answer are too long; the text says how long."""


def fit(conversation: Conversation, tokenizer: ChatTokenizer, max_tokens: int) -> Fitted:
    """Cut `conversation` to at most `max_tokens` tokens, after a whole assistant turn.

    Raises:
        TooLong: the first question and answer exceed `max_tokens`.
    """
    tokens = tokenizer.encode(conversation)
    if len(tokens.ids) <= max_tokens:
        return Fitted(conversation, _counts(conversation, tokens, tokenizer), "")
    messages = conversation.messages
    # User and assistant take turns (role_problem checked it), so every second message ends a turn.
    ends = range(2 + (messages[0].role == "system"), len(messages) + 1, 2)

    @cache
    def encoded(end: int) -> Tokens:
        return tokenizer.encode(replace(conversation, messages=messages[:end]))

    # A longer conversation has more tokens, so a few are encoded, not one for each turn.
    fitting = bisect_right(ends[:-1], max_tokens, key=lambda end: len(encoded(end).ids))
    if not fitting:
        raise TooLong(f"{len(encoded(ends[0]).ids)} tokens, data.max_tokens is {max_tokens}")
    end = ends[fitting - 1]
    kept, kept_tokens = replace(conversation, messages=messages[:end]), encoded(end)
    change = (
        f"cut from {len(tokens.ids)} to {len(kept_tokens.ids)} tokens (data.max_tokens is {max_tokens}): "
        f"{len(messages) - len(kept.messages)} last messages removed"
    )
    return Fitted(kept, _counts(kept, kept_tokens, tokenizer), change)


def _counts(conversation: Conversation, tokens: Tokens, tokenizer: ChatTokenizer) -> TokenCounts:
    inner = tokenizer.tokenizer
    end_id = inner.convert_tokens_to_ids(tokenizer.family.end_of_turn)
    supervised_ends = count_supervised(tokens.ids, tokens.mask, end_id)
    if tokenizer.family.has_bos:
        is_bos_right = tokens.ids[0] == inner.bos_token_id and tokens.ids.count(inner.bos_token_id) == 1
    else:
        # SmolLM2's BOS is <|im_start|>, which opens every turn. Any beyond the rendered ones were added by mistake.
        rendered = tokenizer.text(conversation.messages).count(inner.bos_token) if inner.bos_token else 0
        is_bos_right = tokens.ids.count(inner.bos_token_id) == rendered
    turns = sum(message.role == "assistant" for message in conversation.messages)
    return TokenCounts(len(tokens.ids), tokens.supervised, supervised_ends, turns, is_bos_right)


def write_tokens(path: Path, store: Store, splits: Mapping[str, np.ndarray]) -> None:
    """Write split, category and token counts of every conversation, one JSON object per line, in the order of splits.

    Args:
        path: File to write.
        store: Holds the counts.
        splits: Rows of each split.
    """
    names = [field.name for field in fields(TokenCounts)]
    columns = {name: store.numbers(name) for name in names}
    categories = store.texts("category")
    with replacing(path) as unfinished, unfinished.open("w", encoding="utf-8", newline="\n") as file:
        for split, rows in splits.items():
            for row in rows.tolist():
                counts = {name: columns[name][row].item() for name in names}
                line = {"split": split, "category": categories[row].as_py(), **counts}
                file.write(json.dumps(line, ensure_ascii=False) + "\n")
