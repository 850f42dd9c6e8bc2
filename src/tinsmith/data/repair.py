"""Turn a record into a valid conversation and name every change, or say why that is impossible."""

import re
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tinsmith.data.load import Record, category_from_name
from tinsmith.data.shapes import Unusable, messages_of, plain_name
from tinsmith.model.conversations import Conversation, Message, role_problem
from tinsmith.model.families import GEMMA3, LLAMA3, SMOLLM2

# Zero-width characters, bidirectional controls and the tag block can hide text. Tags have one legitimate use, in flags
# such as Scotland's, so a whole flag matches first and is kept.
_FLAG_OR_HIDDEN = re.compile(
    "\U0001f3f4[\U000e0020-\U000e007e]+\U000e007f"
    "|[\u200b-\u200f\u061c\u202a-\u202e\u2060\u2066-\u2069\ufeff\U000e0000-\U000e007f]"
)
_JOINERS = "\u200c\u200d"
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f]")
"""Control characters. With the escape character, a name could control the terminal that prints it."""


@dataclass(frozen=True, slots=True)
class Repaired:
    """A valid conversation and the changes that made it so."""

    conversation: Conversation
    changes: tuple[str, ...]
    hidden: tuple[str, ...]
    """Hidden characters that were removed, one entry per occurrence."""


def repair(record: Record, special_tokens: re.Pattern | None) -> Repaired:
    """Repair a record and return its conversation.

    Raises:
        Unusable: the record has no valid conversation, or its text contains one of `special_tokens`.
    """
    if isinstance(record.value, Unusable):
        raise record.value
    changes: list[str] = []
    hidden: list[str] = []
    messages = [
        Message(message.role, _clean(message.content, number, changes, hidden))
        for number, message in enumerate(messages_of(record.value), start=1)
    ]
    _refuse_special_tokens(messages, special_tokens)
    messages = _merged(messages, changes)
    if messages and messages[0] == Message("system", ""):
        messages.pop(0)
        changes.append("empty system message removed")
    if len(messages) > 1 and messages[-1].role == "user" and messages[-2].role == "assistant":
        messages.pop()
        changes.append("last user message has no answer: removed")
    for number, message in enumerate(messages[1:], start=2):
        if message.role == "system":
            raise Unusable(f"message {number} is a system message, which may only come first")
    if problem := role_problem(messages):
        raise Unusable(problem)
    id = plain_name(record.value.get("id")) if isinstance(record.value, dict) else ""
    category = _clean_name(record.category, "category", changes, hidden)
    conversation = Conversation(
        id=_clean_name(id, "id", changes, hidden) or f"{record.file}:{record.position}",
        category=category or category_from_name(Path(record.file)),
        messages=tuple(messages),
        source={"file": record.file, "position": record.position},
    )
    return Repaired(conversation, tuple(changes), tuple(hidden))


def clean_text(text: str, special_tokens: re.Pattern | None) -> str:
    """Repair a system prompt like the text of a message.

    Raises:
        Unusable: `text` contains half of a surrogate pair, which UTF-8 cannot encode, or one of `special_tokens`.
    """
    cleaned = _clean(text, 1, [], [])
    _refuse_special_tokens([Message("system", cleaned)], special_tokens)
    return cleaned


def known_special_tokens() -> set[str]:
    """Control tokens of every supported family, for checking data without a base model."""
    tokens = {"<bos>", "<|begin_of_text|>"}
    for family in (SMOLLM2, GEMMA3, LLAMA3):
        tokens |= {family.end_of_turn, *family.also_ends}
        tokens |= set(re.findall(r"<[a-z_|]+>", family.chat_template))
    return tokens


def _clean(text: str, number: int, changes: list[str], hidden: list[str]) -> str:
    r"""`text` in NFC, with \n as line end, without hidden characters and surrounding space.

    Adds its changes to `changes`, and the characters it removes to `hidden`.
    """
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise Unusable(f"message {number} contains half of a surrogate pair at character {error.start + 1}") from error
    steps: tuple[tuple[str, Callable[[str], str]], ...] = (
        ("line ends changed to \\n", lambda old: old.replace("\r\n", "\n").replace("\r", "\n")),
        ("Unicode normalised to NFC", lambda old: unicodedata.normalize("NFC", old)),
        ("hidden characters removed", lambda old: _without_hidden(old, hidden)),
        ("surrounding space removed", str.strip),
    )
    for change, step in steps:
        repaired = step(text)
        if repaired != text:
            changes.append(f"message {number}: {change}")
        text = repaired
    return text


def _clean_name(name: str, what: str, changes: list[str], hidden: list[str]) -> str:
    """An id or category in NFC, without control and hidden characters. Adds to `changes` and `hidden` like `_clean`."""
    try:
        name.encode("utf-8")
    except UnicodeEncodeError as error:
        raise Unusable(f"{what} contains half of a surrogate pair at character {error.start + 1}") from error
    name = unicodedata.normalize("NFC", name)
    cleaned = plain_name(_without_hidden(_CONTROL.sub("", name), hidden))
    if cleaned != name:
        changes.append(f"{what}: control or hidden characters removed")
    return cleaned


def _without_hidden(text: str, hidden: list[str]) -> str:
    def replacement(match: re.Match) -> str:
        characters = match.group()
        if len(characters) > 1 or (characters in _JOINERS and _joins(text, match.start())):
            return characters
        hidden.append(characters)
        return ""

    return text if text.isascii() else _FLAG_OR_HIDDEN.sub(replacement, text)


def _joins(text: str, at: int) -> bool:
    """Whether the joiner at index `at` is between two non-ASCII characters, as in emoji, Persian and Indic text."""
    around = text[at - 1 : at] + text[at + 1 : at + 2]
    return len(around) == 2 and not any(c.isascii() or _FLAG_OR_HIDDEN.match(c) for c in around)


def _refuse_special_tokens(messages: list[Message], pattern: re.Pattern | None) -> None:
    if pattern is None:
        return
    for number, message in enumerate(messages, start=1):
        if match := pattern.search(message.content):
            raise Unusable(f"message {number} contains {match.group()!r}, a control token of the base model")


def _merged(messages: list[Message], changes: list[str]) -> list[Message]:
    """Join consecutive messages of the same role with a blank line."""
    merged: list[Message] = []
    for number, message in enumerate(messages, start=1):
        if merged and merged[-1].role == message.role:
            both = [text for text in (merged[-1].content, message.content) if text]
            merged[-1] = Message(message.role, "\n\n".join(both))
            changes.append(f"message {number} joined to the one before, also from {message.role!r}")
        else:
            merged.append(message)
    return merged
