"""Token ids in Python and in the browser. They must be equal before logits can be."""

from collections.abc import Sequence
from typing import Any

from tinsmith.model.conversations import Conversation, Message
from tinsmith.model.tokens import ChatTokenizer

_SHOWN_TOKENS = 8


def first_prompt(conversation: Conversation) -> tuple[Message, ...]:
    """The messages up to and including the first question."""
    first_question = next(index for index, message in enumerate(conversation.messages) if message.role == "user")
    return conversation.messages[: first_question + 1]


def token_differences(
    conversations: Sequence[Conversation], tokenizer: ChatTokenizer, browser_ids: Sequence[Sequence[int]]
) -> list[dict[str, Any]]:
    """One record per conversation that Transformers.js tokenizes differently, with the first position that differs."""
    differences = []
    for conversation, javascript in zip(conversations, browser_ids, strict=True):
        python = list(tokenizer.encode(conversation).ids)
        if python != list(javascript):
            position = _first_difference(python, javascript)
            shown = slice(position, position + _SHOWN_TOKENS)
            differences.append(
                {
                    "conversation": conversation.id,
                    "position": position,
                    "python": python[shown],
                    "javascript": list(javascript[shown]),
                }
            )
    return differences


def _first_difference(one: Sequence[int], other: Sequence[int]) -> int:
    pairs = zip(one, other, strict=False)
    return next((index for index, (a, b) in enumerate(pairs) if a != b), min(len(one), len(other)))
