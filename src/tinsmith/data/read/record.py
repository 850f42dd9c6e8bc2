"""What reading data gives: pieces of files, records, and everything that cannot be or is not used."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


class Unusable(Exception):
    """A record that cannot become a conversation.

    Args:
        reason: Why, in the same words for all records with the same problem, so that they can be counted.
        detail: What is peculiar to this record.
    """

    def __init__(self, reason: str, detail: str = "") -> None:
        super().__init__(f"{reason} ({detail})" if detail else reason)
        self.reason = reason
        self.detail = detail


@dataclass(frozen=True, slots=True)
class Record:
    """One record as read. It may or may not be a conversation."""

    file: str
    """Relative to the data folder."""
    position: str
    """`line 12`, `record 3 (line 40)`, `row 7`: unique in its file."""
    value: Any
    """The JSON value or table row; an `Unusable` if the row itself is malformed."""
    category: str
    """From the record, its wrapper, or the file name, in that order."""


@dataclass(frozen=True, slots=True)
class Problem:
    """Something broken in a file. Data with a problem is not used at all until it is corrected."""

    file: str
    line: int
    """From 1; 0 if the problem is the whole file's."""
    column: int
    """From 1; 0 if the problem is the whole line's."""
    text: str
    advice: str = ""
    """What to do, where it is not to correct the file."""

    def __str__(self) -> str:
        place = "".join(f":{number}" for number in (self.line, self.column) if number)
        return f"{self.file}{place}: {self.text}"


@dataclass(frozen=True, slots=True)
class Unused:
    """A file, a folder, or parts of a file that are not used."""

    name: str
    """Relative to the data folder; for a part, the file and the part, such as `a.json: authors`."""
    reason: str
    """The same words for everything with the same reason."""
    count: int = 1


@dataclass(frozen=True, slots=True)
class Note:
    """Something about a file that its owner may want to know, such as how its text was decoded."""

    file: str
    text: str


Item = Record | Problem | Unused | Note
"""What a piece yields."""


@dataclass(frozen=True, slots=True)
class Piece:
    """A file, or a range of a large one, that can be read independently of all others."""

    file: str
    """Relative to the data folder."""
    path: Path
    format: str
    """Name of its reader in `piece.READERS`."""
    size: int
    """In bytes, as stored."""
    start: int = 0
    """First byte of the range."""
    line: int = 1
    """Line, or row of a Parquet file, that the range starts on."""
    groups: tuple[int, int] | None = None
    """First row group of a range of a Parquet file, and the one after the last."""
    is_gzip: bool = False
    encoding: str = "utf-8-sig"
    newline: str = "\n"
    """What ends a line of JSON lines."""


@dataclass(slots=True)
class Found:
    """Contents of the data path."""

    pieces: list[Piece] = field(default_factory=list)
    files: dict[str, str] = field(default_factory=dict)
    """Relative name -> sha256 of every file with a piece."""
    unused: list[Unused] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    notes: list[Note] = field(default_factory=list)
