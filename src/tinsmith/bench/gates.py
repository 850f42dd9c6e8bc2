"""Compare token ids from Python and from the browser. Logits can only agree if these are equal."""

from collections.abc import Iterable, Sequence
from typing import Any

from tinsmith.model.conversations import Conversation, Message
from tinsmith.model.tokens import ChatTokenizer

_SHOWN_TOKENS = 8


def first_prompt(conversation: Conversation) -> tuple[Message, ...]:
    """The messages up to and including the first question."""
    first_question = next(index for index, message in enumerate(conversation.messages) if message.role == "user")
    return conversation.messages[: first_question + 1]


def token_differences(
    conversations: Iterable[Conversation], tokenizer: ChatTokenizer, browser_ids: Iterable[Sequence[int]]
) -> list[dict[str, Any]]:
    """One record per conversation that Transformers.js tokenizes differently, with the first position that differs."""
    differences = []
    for conversation, javascript_ids in zip(conversations, browser_ids, strict=True):
        python_ids = list(tokenizer.encode(conversation).ids)
        if python_ids != list(javascript_ids):
            position = _first_difference(python_ids, javascript_ids)
            shown = slice(position, position + _SHOWN_TOKENS)
            differences.append(
                {
                    "conversation": conversation.id,
                    "position": position,
                    "python": python_ids[shown],
                    "javascript": list(javascript_ids[shown]),
                }
            )
    return differences


def _first_difference(one: Sequence[int], other: Sequence[int]) -> int:
    pairs = zip(one, other, strict=False)
    return next((index for index, (a, b) in enumerate(pairs) if a != b), min(len(one), len(other)))
