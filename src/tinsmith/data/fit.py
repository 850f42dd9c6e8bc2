"""Cut conversations to the token limit after a whole assistant turn, and count tokens for the gates and the card."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from tinsmith.core.run_dir import write_text
from tinsmith.model.conversations import Conversation
from tinsmith.model.tokens import ChatTokenizer, Tokens


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
    """Even the first question and answer are too long; the text says by how much."""


def fit(conversation: Conversation, tokenizer: ChatTokenizer, max_tokens: int) -> Fitted:
    """Cut `conversation` to at most `max_tokens` tokens, after a whole assistant turn.

    Raises:
        TooLong: the first question and answer exceed `max_tokens`.
    """
    tokens = tokenizer.encode(conversation)
    full_length, full_turns = len(tokens.ids), len(conversation.messages)
    kept = conversation
    while len(tokens.ids) > max_tokens:
        # User and assistant take turns (role_problem checked it), so the last two messages are a pair.
        shorter = kept.messages[:-2]
        if not any(message.role == "assistant" for message in shorter):
            raise TooLong(f"first question and answer have {len(tokens.ids)} tokens, data.max_tokens is {max_tokens}")
        kept = replace(kept, messages=shorter)
        tokens = tokenizer.encode(kept)
    change = ""
    if kept is not conversation:
        change = (
            f"cut from {full_length} to {len(tokens.ids)} tokens (data.max_tokens is {max_tokens}): "
            f"{full_turns - len(kept.messages)} last messages removed"
        )
    return Fitted(kept, _counts(kept, tokens, tokenizer), change)


def _counts(conversation: Conversation, tokens: Tokens, tokenizer: ChatTokenizer) -> TokenCounts:
    inner = tokenizer.tokenizer
    end_id = inner.convert_tokens_to_ids(tokenizer.family.end_of_turn)
    supervised_ends = sum(1 for id, on in zip(tokens.ids, tokens.mask, strict=True) if on and id == end_id)
    if tokenizer.family.has_bos:
        is_bos_right = tokens.ids[0] == inner.bos_token_id and tokens.ids.count(inner.bos_token_id) == 1
    else:
        # SmolLM2's BOS is <|im_start|>, which opens every turn. Any beyond the rendered ones were added by mistake.
        rendered = tokenizer.text(conversation.messages).count(inner.bos_token) if inner.bos_token else 0
        is_bos_right = tokens.ids.count(inner.bos_token_id) == rendered
    turns = sum(message.role == "assistant" for message in conversation.messages)
    return TokenCounts(len(tokens.ids), tokens.supervised, supervised_ends, turns, is_bos_right)


def write_tokens(out_dir: Path, splits: Mapping[str, Sequence[tuple[str, TokenCounts]]]) -> None:
    """Write `tokens.jsonl`: split, category and token counts of every conversation, in the order of the splits."""
    lines = [
        {"split": split, "category": category, **asdict(counts)}
        for split, conversations in splits.items()
        for category, counts in conversations
    ]
    write_text(out_dir / "tokens.jsonl", "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines))
