"""What must be equal between Python and the browser before its logits can be: the token ids."""

from collections.abc import Sequence
from typing import Any

from tinsmith.model.conversations import Conversation, Message
from tinsmith.model.tokens import ChatTokenizer


def first_prompt(conversation: Conversation) -> tuple[Message, ...]:
    """The messages up to and including the first question."""
    asked = next(i for i, message in enumerate(conversation.messages) if message.role == "user")
    return conversation.messages[: asked + 1]


def token_differences(
    conversations: Sequence[Conversation], tokenizer: ChatTokenizer, browser_ids: Sequence[Sequence[int]]
) -> list[dict[str, Any]]:
    """One record per conversation that Transformers.js tokenizes differently, with the first position that differs."""
    found = []
    for conversation, browser in zip(conversations, browser_ids, strict=True):
        python = list(tokenizer.encode(conversation).ids)
        if python != list(browser):
            at = _first_difference(python, browser)
            found.append({
                "conversation": conversation.id, "position": at,
                "python": python[at : at + 8], "javascript": list(browser[at : at + 8]),
            })  # fmt: skip
    return found


def _first_difference(one: Sequence[int], other: Sequence[int]) -> int:
    pairs = zip(one, other, strict=False)
    return next((i for i, (a, b) in enumerate(pairs) if a != b), min(len(one), len(other)))
