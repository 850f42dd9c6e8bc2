"""Turn the records of some pieces into rows of a part: repaired, with a system prompt, cut to the token limit.

Records are handled one at a time and independently, so the rows do not depend on how the data is divided into parts.
"""

import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import pyarrow as pa

from tinsmith.core.errors import DataError
from tinsmith.core.field_map import FieldMap
from tinsmith.data.changes import WHAT, Change, ChangeLog, Tally
from tinsmith.data.duplicates import SIGNATURE_SIZE, content_hash, signatures
from tinsmith.data.features import FEATURES, features, flags
from tinsmith.data.fit import TokenCounts, TooLong, fit
from tinsmith.data.read.piece import read_piece
from tinsmith.data.read.record import Note, Piece, Problem, Record, Unusable, Unused
from tinsmith.data.repair import clean_text, repair
from tinsmith.data.statements import statements
from tinsmith.data.store import PartWriter
from tinsmith.model.conversations import Conversation, Message
from tinsmith.model.private.masks import Masks
from tinsmith.model.private.protect import Mode, protect
from tinsmith.model.private.record import PrivateRecord
from tinsmith.model.tokens import ChatTokenizer, load_tokenizer

PART_BYTES = 8_000_000
"""Files are put together to parts of at least this size."""
MAX_PARTS = 400
"""Parts are open at once, and systems limit how many files a process may open."""

_TYPES = {str: pa.string(), int: pa.int64(), bool: pa.bool_()}
_PRIVATE: dict[Mode, str] = {"warn": "flagged", "mask": "masked", "drop": "dropped"}
"""What happens to a record with personal data, as a kind of change."""
_SHOWN_PLACES = 5
"""Places of one kind that are named for a record."""

SCHEMA = pa.schema(
    [
        pa.field("content", pa.binary(32)),
        pa.field("id", pa.binary(16)),
        pa.field("category", pa.string()),
        pa.field("file", pa.string()),
        pa.field("position", pa.string()),
        pa.field("prompt", pa.binary(16)),
        pa.field("characters", pa.int64()),
        pa.field("tokens", pa.int32()),
        pa.field("supervised", pa.int32()),
        pa.field("supervised_ends", pa.int32()),
        pa.field("assistant_turns", pa.int32()),
        pa.field("is_bos_right", pa.bool_()),
        pa.field("changed", pa.uint8()),
        *(pa.field(name, _TYPES[kind]) for name, kind in FEATURES.items()),
        pa.field("signature", pa.binary(4 * SIGNATURE_SIZE)),
        pa.field("statements", pa.binary()),
    ]
)
"""Columns of a row. `content`, `id` and `prompt` are hashes of the messages, the id and the system prompt; `changed`
has one bit for each kind of change, in the order of `WHAT`; `signature` is that of the first question;
`statements` is a table of what the answers state."""


@dataclass(frozen=True, slots=True)
class PieceSettings:
    """What the rows depend on besides the records."""

    model_dir: Path | None
    """Folder with the base model's tokenizer. None counts no tokens and cuts nothing."""
    max_tokens: int
    system_prompt: str
    fields: FieldMap
    privacy: Mode
    masks: Masks


@dataclass(frozen=True, slots=True)
class Part:
    """Work for one process: pieces whose rows go into the files of one part."""

    number: int
    pieces: tuple[Piece, ...]
    folder: Path
    settings: PieceSettings

    @property
    def size(self) -> int:
        """Bytes to read."""
        return sum(piece.size for piece in self.pieces)


@dataclass(slots=True)
class PartResult:
    """What happened to the records of a part."""

    counts: Counter[str] = field(default_factory=Counter)
    """Records `read`, those that are `valid`, with personal data (`private`), those left after `data.privacy`
    (`protected`), that were `prompted`, and that fit (`rows`)."""
    tally: Tally = field(default_factory=Tally)
    private: PrivateRecord = field(default_factory=PrivateRecord)
    items: list[Problem | Unused | Note] = field(default_factory=list)
    """What else was found while reading."""
    unused_fields: Counter[tuple[str, str]] = field(default_factory=Counter)
    """File and field -> records whose field is not used."""

    def merge(self, later: "PartResult") -> None:
        """Add the results of records that come later in the data."""
        self.counts.update(later.counts)
        self.tally.merge(later.tally)
        self.private.merge(later.private)
        self.items += later.items
        self.unused_fields.update(later.unused_fields)


def divide(pieces: Sequence[Piece], folder: Path, settings: PieceSettings) -> list[Part]:
    """Parts of neighbouring pieces, each of at least `PART_BYTES` but the last, and `MAX_PARTS` at most."""
    smallest = max(PART_BYTES, sum(piece.size for piece in pieces) // MAX_PARTS + 1)
    parts: list[Part] = []
    waiting: list[Piece] = []
    size = 0
    for number, piece in enumerate(pieces, start=1):
        waiting.append(piece)
        size += piece.size
        if size >= smallest or number == len(pieces):
            parts.append(Part(len(parts), tuple(waiting), folder, settings))
            waiting, size = [], 0
    return parts


def process_part(part: Part) -> PartResult:
    """Write the rows and the changes of a part, `part-00000.changes.jsonl`.

    Raises:
        DataError: `system_prompt` cannot be used.
    """
    result = PartResult()
    process = _Process(part.settings)
    path = changes_path(part.folder, part.number)
    with (
        path.open("w", encoding="utf-8", newline="\n") as file,
        PartWriter(part.folder, part.number, SCHEMA, complete) as rows,
    ):
        log = ChangeLog(file)
        for piece in part.pieces:
            for item in read_piece(piece, part.settings.fields):
                if not isinstance(item, Record):
                    result.items.append(item)
                    continue
                result.counts["read"] += 1
                changes: list[Change] = []
                row = process.row(item, changes, result)
                log.add_record(changes)
                if row:
                    result.counts["rows"] += 1
                    rows.add(*row)
        result.tally = log.tally
    return result


def changes_path(folder: Path, number: int) -> Path:
    """File of the changes to the records of a part."""
    return folder / f"part-{number:05}.changes.jsonl"


class _Process:
    """The steps from a record to a row."""

    def __init__(self, settings: PieceSettings) -> None:
        self._tokenizer = _tokenizer(settings.model_dir) if settings.model_dir else None
        self._max_tokens = settings.max_tokens
        self._fields = settings.fields
        self._privacy, self._masks = settings.privacy, settings.masks
        self._prompt = _system_message(settings.system_prompt)

    def row(
        self, record: Record, changes: list[Change], result: PartResult
    ) -> tuple[Conversation, dict[str, Any]] | None:
        """A conversation and its columns; None if the record is left out. Adds to `changes` and `result`."""
        try:
            repaired = repair(record, self._fields)
        except Unusable as error:
            changes.append(Change(record.file, record.position, "dropped", error.reason, error.detail))
            return None
        result.counts["valid"] += 1
        result.unused_fields.update((record.file, name) for name in repaired.unused)
        changes += [
            Change(record.file, record.position, "repaired", one.reason, one.detail) for one in repaired.changes
        ]
        conversation = self._protected(repaired.conversation, changes, result)
        if not conversation:
            return None
        if self._prompt and conversation.messages[0].role != "system":
            conversation = replace(conversation, messages=(self._prompt, *conversation.messages))
            result.counts["prompted"] += 1
        counts = TokenCounts(0, 0, 0, 0, True)
        if self._tokenizer:
            try:
                fitted = fit(conversation, self._tokenizer, self._max_tokens)
            except TooLong as error:
                reason = "first question and answer are longer than data.max_tokens"
                changes.append(Change(record.file, record.position, "dropped", reason, str(error)))
                return None
            conversation, counts = fitted.conversation, fitted.counts
            if fitted.change:
                reason = "cut to data.max_tokens"
                changes.append(Change(record.file, record.position, "cut", reason, fitted.change))
        changes += [
            Change(record.file, record.position, "flagged", one.reason, one.detail) for one in flags(conversation)
        ]
        changed = sum({1 << WHAT.index(change.what) for change in changes})
        return conversation, {**columns_of(conversation), **asdict(counts), "changed": changed}

    def _protected(self, conversation: Conversation, changes: list[Change], result: PartResult) -> Conversation | None:
        """The conversation as `data.privacy` says; None if it is left out. Adds to `changes` and `result`."""
        protected = protect(conversation, self._privacy, self._masks)
        result.private.add(protected.findings)
        result.counts["private"] += bool(protected.findings)
        result.counts["protected"] += protected.conversation is not None
        details: dict[str, list[str]] = {}
        for finding in protected.findings:
            details.setdefault(finding.reason, []).append(finding.detail)
        for reason, places in details.items():
            shown = "; ".join(places[:_SHOWN_PLACES]) + ("; ..." if len(places) > _SHOWN_PLACES else "")
            told = f"contains {reason}" if self._privacy == "drop" else reason
            changes.append(Change(**conversation.source, what=_PRIVATE[self._privacy], reason=told, detail=shown))
        return protected.conversation


def columns_of(conversation: Conversation) -> dict[str, Any]:
    """Columns that follow from the conversation alone."""
    first = conversation.messages[0]
    return {
        "content": content_hash(conversation),
        "statements": statements(conversation).tobytes(),
        "id": short_hash(conversation.id),
        "category": conversation.category,
        "file": conversation.source["file"],
        "position": conversation.source["position"],
        "prompt": short_hash(first.content if first.role == "system" else ""),
        "first_question": conversation.question,
        "characters": sum(len(message.content) for message in conversation.messages),
        **features(conversation),
    }


def complete(rows: Sequence[dict[str, Any]]) -> None:
    """Add the columns that are computed for many rows at once."""
    for row, signature in zip(rows, signatures([row["first_question"] for row in rows]), strict=True):
        row["signature"] = signature.tobytes()


def short_hash(text: str) -> bytes:
    """16 bytes that stand for a text."""
    return hashlib.blake2b(text.encode(), digest_size=16).digest()


def _system_message(text: str) -> Message | None:
    if not text:
        return None
    try:
        prompt = Message("system", clean_text(text))
    except Unusable as error:
        raise DataError(f"data.system_prompt cannot be used: {error}", "Correct it in the configuration.") from error
    if not prompt.content:
        raise DataError("data.system_prompt is only whitespace", "Write a prompt, or leave it out.")
    return prompt


@lru_cache(maxsize=1)
def _tokenizer(model_dir: Path) -> ChatTokenizer:
    return load_tokenizer(model_dir)
