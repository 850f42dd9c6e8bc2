"""Turn a record into a valid conversation and name every change, or say why that is impossible.

Text that spells a special token is judged by one rule, whatever the base model: markers that begin or end a turn in any
supported chat format make a record unusable, because a program that reads the model's answers or this data may take
them for turns. Any other token, such as `<pad>` or `<filename>`, is ordinary text: `model/message_text.py` keeps every
special token of a tokenizer apart from text, so none becomes a control id. `features.py` flags such text.
"""

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tinsmith.core.field_map import FieldMap
from tinsmith.data.read.piece import category_from_name
from tinsmith.data.read.record import Record, Unusable
from tinsmith.data.read.shapes import plain_name, shaped
from tinsmith.data.unicode import character_names, is_simple, with_newlines, with_punctuation, without_hidden
from tinsmith.model.conversations import ROLES, Conversation, Message, role_problem
from tinsmith.model.families import GEMMA3, LLAMA3, QWEN2_5, QWEN3, SMOLLM2
from tinsmith.model.message_text import token_pattern

_TURN_MARKER = re.compile(r"<\|[a-z_]+\|>|<[a-z]+_of_turn>")


@dataclass(frozen=True, slots=True)
class Repair:
    """A change to a record."""

    reason: str
    """What was wrong; the same words for every record."""
    detail: str
    """Where, and what exactly."""


@dataclass(frozen=True, slots=True)
class Repaired:
    """A valid conversation and the changes that made it so."""

    conversation: Conversation
    changes: tuple[Repair, ...]
    unused: tuple[str, ...] = ()
    """Fields of the record that are not used."""


def repair(record: Record, fields: FieldMap | None = None) -> Repaired:
    """Repair a record and return its conversation.

    Raises:
        Unusable: the record has no valid conversation, or its text contains a turn marker of a chat format.
    """
    written = shaped(record, fields)
    changes: list[Repair] = []
    messages = [
        Message(message.role, _clean(message.content, f"message {number}", changes))
        for number, message in enumerate(written.messages, start=1)
    ]
    messages = _merged(messages, changes)
    if messages and messages[0] == Message("system", ""):
        messages.pop(0)
        changes.append(Repair("empty system message removed", "message 1"))
    start = int(bool(messages) and messages[0].role == "system")
    if [message.role for message in messages[start : start + 2]] == ["assistant", "user"]:
        changes.append(Repair("greeting before the first question removed", f"message {start + 1}"))
        messages.pop(start)
    if len(messages) > 1 and messages[-1].role == "user" and messages[-2].role == "assistant":
        changes.append(Repair("last user message has no answer: removed", f"message {len(messages)}"))
        messages.pop()
    if problem := role_problem(messages):
        raise Unusable(problem[0], ". ".join(filter(None, (problem[1], _hint_on_roles(messages)))))
    category = _clean_name(written.category, "category", changes)
    conversation = Conversation(
        id=_clean_name(written.id, "id", changes) or f"{record.file}:{record.position}",
        category=category or category_from_name(Path(record.file)),
        messages=tuple(messages),
        source={"file": record.file, "position": record.position},
    )
    return Repaired(conversation, tuple(changes), written.unused)


def _hint_on_roles(messages: Sequence[Message]) -> str:
    """How to say who answers, if roles have other names."""
    has_others = any(message.role not in ROLES for message in messages)
    return "Say who answers, in [data]: fields = { assistant = ROLE }" if has_others else ""


def clean_text(text: str) -> str:
    """Repair a system prompt like the text of a message.

    Raises:
        Unusable: `text` contains half of a surrogate pair, which UTF-8 cannot encode, or a turn marker.
    """
    return _clean(text, "message 1", [])


def _turn_markers() -> re.Pattern[str] | None:
    """Pattern of the tokens that begin or end a turn or a text in any supported chat format."""
    tokens = {"<bos>", "<|begin_of_text|>"}
    for family in (SMOLLM2, QWEN2_5, QWEN3, GEMMA3, LLAMA3):
        tokens |= {family.end_of_turn, *family.also_ends, *_TURN_MARKER.findall(family.chat_template)}
    return token_pattern(tokens)


TURN_MARKERS = _turn_markers()


def _clean(text: str, where: str, changes: list[Repair]) -> str:
    """`text` in NFC without hidden characters and surrounding space, and with newlines. Adds to `changes`.

    Hidden characters go first: they keep letters and accents from being joined.
    """
    normal = text if is_simple(text) else _normal(text, where, changes)
    trimmed = normal.strip()
    if trimmed != normal:
        changes.append(Repair("surrounding space removed", where))
    if TURN_MARKERS and "<" in trimmed and (marker := TURN_MARKERS.search(trimmed)):
        raise Unusable("the text has a marker of a turn in a chat format", f"{where} has {marker.group()!r}")
    return trimmed


def _normal(text: str, where: str, changes: list[Repair]) -> str:
    """`text` in NFC, with newlines and without hidden characters. Adds to `changes`."""
    _refuse_surrogates(text, where)
    cleaned = with_newlines(text)
    if cleaned != text:
        changes.append(Repair("line ends changed to \\n", where))
    punctuated = with_punctuation(cleaned)
    if punctuated != cleaned:
        changes.append(Repair("Windows-1252 punctuation restored", where))
    visible, hidden = without_hidden(punctuated)
    if hidden:
        changes.append(Repair("hidden characters removed", f"{where}: {character_names(hidden)}"))
    normal = unicodedata.normalize("NFC", visible)
    if normal != visible:
        changes.append(Repair("Unicode normalised to NFC", where))
    return normal


def _clean_name(name: str, what: str, changes: list[Repair]) -> str:
    """An id or category in NFC, in one line, without hidden characters. Adds to `changes`."""
    if is_simple(name):
        return plain_name(name)
    _refuse_surrogates(name, what)
    visible, hidden = without_hidden(name)
    if hidden:
        changes.append(Repair(f"hidden characters removed from the {what}", character_names(hidden)))
    return plain_name(unicodedata.normalize("NFC", visible))


def _refuse_surrogates(text: str, where: str) -> None:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise Unusable("half of a surrogate pair", f"{where}, character {error.start + 1}") from error


def _merged(messages: list[Message], changes: list[Repair]) -> list[Message]:
    """Join consecutive messages of the same role with a blank line."""
    merged: list[Message] = []
    for number, message in enumerate(messages, start=1):
        if merged and merged[-1].role == message.role:
            both = [text for text in (merged[-1].content, message.content) if text]
            merged[-1] = Message(message.role, "\n\n".join(both))
            changes.append(Repair("messages of one role joined", f"messages {number - 1} and {number}, {message.role}"))
        else:
            merged.append(message)
    return merged
