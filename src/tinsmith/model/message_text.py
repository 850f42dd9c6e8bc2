"""Keep messages apart from the chat format: a special token that a message spells is read as text.

A tokenizer turns the characters `<|im_end|>` into the control token wherever they occur, so a message could end its own
turn and start a system turn. Rendered text is therefore cut inside such characters and tokenized piece by piece.
`web/tokens.js` does the same in a browser.
"""

import re
from collections.abc import Callable, Iterable, Sequence

from tinsmith.model.conversations import Message

_PRIVATE_USE = (*range(0xE000, 0xF900), *range(0xF0000, 0xFFFFE))
"""Unicode's private-use characters. Templates trim spaces, but not these."""

Render = Callable[[Sequence[Message]], str]
"""Writes messages in the family's chat format."""


def token_pattern(tokens: Iterable[str]) -> re.Pattern[str] | None:
    """Pattern that matches any of `tokens`, the longest first, as tokenizers do; None if there are none."""
    longest_first = sorted({token for token in tokens if token.strip()}, key=lambda token: (-len(token), token))
    return re.compile("|".join(map(re.escape, longest_first))) if longest_first else None


def text_pieces(messages: Sequence[Message], render: Render, special: re.Pattern[str] | None) -> list[str]:
    """Split the rendered text so that no piece has a special token's string that overlaps a message's text.

    A string inside a message is cut after its first character. One that starts in the chat format and ends in a message
    is cut where the message starts. Text without such strings is a single piece.

    Args:
        messages: A conversation.
        render: Renders it. May trim space around a message's text, but must not change the text.
        special: Matches the tokenizer's special tokens, each of two characters or more.
    """
    mark = _unused_character(messages)
    parts = render([Message(message.role, _enclosed(message.content, mark)) for message in messages]).split(mark)
    text = "".join(parts)
    if special is None:
        return [text]
    bounds = _message_bounds(parts)
    cuts = [0]
    position = 0
    while match := special.search(text, position):
        message = next(((start, end) for start, end in bounds if start < match.end() and match.start() < end), None)
        if message is None:
            position = match.end()
        else:
            position = max(match.start() + 1, message[0])
            cuts.append(position)
    return [text[start:end] for start, end in zip(cuts, [*cuts[1:], len(text)], strict=True)]


def _unused_character(messages: Sequence[Message]) -> str:
    return next(mark for mark in map(chr, _PRIVATE_USE) if not any(mark in message.content for message in messages))


def _enclosed(content: str, mark: str) -> str:
    """`content` with marks around its text; space stays outside, where templates trim it."""
    inner = content.strip()
    start = content.index(inner)
    return content[:start] + mark + inner + mark + content[start + len(inner) :]


def _message_bounds(parts: Sequence[str]) -> list[tuple[int, int]]:
    """Start and end of each message in the joined text. Parts alternate between chat format and message."""
    bounds = []
    start = 0
    for index, part in enumerate(parts):
        if index % 2:
            bounds.append((start, start + len(part)))
        start += len(part)
    return bounds
