"""Tell a file's format by its content first, and by its ending where the content leaves it open."""

import codecs
import gzip
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path, PurePosixPath
from typing import TextIO

from tinsmith.data.read.record import Piece
from tinsmith.data.read.source import Bomb, open_bytes, open_text
from tinsmith.data.read.strict_json import MAX_VALUE_CHARACTERS, JsonReader, NotStrictJson, decode

_LINES = (".jsonl", ".ndjson")
ENDINGS = (".json", *_LINES, ".csv", ".tsv")
_HEAD_BYTES = 1 << 16
_SAMPLE_CHARACTERS = 1 << 20
_SAMPLE_ELEMENTS = 100
_ENCODINGS = (
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_ARCHIVES = (b"BZh", b"\xfd7zXZ\x00", b"7z\xbc\xaf\x27\x1c", b"\x28\xb5\x2f\xfd", b"Rar!")
_GZIP = b"\x1f\x8b"
UNKNOWN_ENDING = "no data files by their ending"


class Unread(Exception):
    """A file that is not opened as data; the text is the reason."""


class Broken(Exception):
    """A file that should be data, but cannot be read; the text says why."""


@dataclass(frozen=True, slots=True)
class Format:
    """How a file is to be read, and what its owner should know about it."""

    piece: Piece
    notes: tuple[str, ...] = ()


def format_of(name: str, path: Path) -> Format:
    """How to read the file at `path`.

    Raises:
        Unread: it is no data.
        Broken: it is empty, or not what its ending says.
        OSError: it cannot be read.
    """
    piece = Piece(name, path, "", path.stat().st_size)
    notes = []
    head = _head(piece)
    ending = PurePosixPath(name).suffix.lower()
    if ending == ".gz":
        ending = PurePosixPath(name).with_suffix("").suffix.lower()
    if head.startswith(_GZIP):
        if not name.lower().endswith(".gz"):
            notes.append("a gzip file, though its name does not say so")
        piece = replace(piece, is_gzip=True)
        try:
            head = _head(piece)
        except (Bomb, EOFError, zlib.error, gzip.BadGzipFile) as error:
            raise Broken(f"a damaged gzip file: {error}") from error
    elif name.lower().endswith(".gz"):
        notes.append("not packed, though its name ends in .gz")
    _refuse_archives(head, piece)
    if ending not in ENDINGS:
        raise Unread(UNKNOWN_ENDING)
    if not head.strip(b" \t\r\n\xef\xbb\xbf"):
        raise Broken("empty file")
    encoding = next((encoding for bom, encoding in _ENCODINGS if head.startswith(bom)), piece.encoding)
    if encoding != piece.encoding:
        notes.append(f"in {encoding.upper()}, read as such; UTF-8 is the usual encoding")
        piece = replace(piece, encoding=encoding)
    elif b"\0" in head:
        raise Broken(_nul_problem(head))
    return Format(_text_piece(piece, ending), tuple(notes))


def _head(piece: Piece) -> bytes:
    with open_bytes(piece) as stream:
        return stream.read(_HEAD_BYTES)


def _refuse_archives(head: bytes, piece: Piece) -> None:
    if head.startswith(b"PK\x03\x04"):
        raise Unread("ZIP archives; unpack them")
    if head.startswith(_ARCHIVES):
        raise Unread("archives of another kind than gzip; unpack them")


def _nul_problem(head: bytes) -> str:
    if head.count(b"\0") * 3 > len(head):
        return "holds a NUL byte beside every other one: it looks like UTF-16 without a mark; save it as UTF-8"
    return f"holds a NUL byte (byte {head.index(0)}), so it is no text; save it again as UTF-8 text"


def _text_piece(piece: Piece, ending: str) -> Piece:
    if ending in (".csv", ".tsv"):
        return replace(piece, format="table")
    try:
        newline = _newline(piece)
        piece = replace(piece, newline=newline)
        return replace(piece, format="lines" if _is_lines(piece, ending) else "document")
    except UnicodeDecodeError:
        # Its reader names the line.
        return replace(piece, format="lines" if ending in _LINES else "document")
    except (Bomb, EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise Broken(f"a damaged gzip file: {error}") from error


def _newline(piece: Piece) -> str:
    r"""`\r` for lines of old Macs, else `\n`."""
    with open_text(piece) as text:
        sample = text.read(_SAMPLE_CHARACTERS)
    return "\r" if "\r" in sample and "\n" not in sample else "\n"


def _is_lines(piece: Piece, ending: str) -> bool:
    """Whether JSON has one value per line, rather than being one document."""
    with open_text(piece, "\n" if piece.newline == "\n" else None) as text:
        first = _next_line(text)
        is_alone = not _next_line(text)
    if ending not in _LINES and is_alone:
        return False
    if len(first) < MAX_VALUE_CHARACTERS and _is_json(first):
        return True
    return ending in _LINES and (is_alone or not _starts_as_document(piece))


def _next_line(text: TextIO) -> str:
    while line := text.readline(MAX_VALUE_CHARACTERS):
        if line.strip():
            return line
    return ""


def _is_json(line: str) -> bool:
    try:
        decode(line)
    except NotStrictJson as error:
        return error.can_go_on
    return True


def _starts_as_document(piece: Piece) -> bool:
    """Whether the file goes on as one value after its first line."""
    with open_text(piece) as text:
        reader = JsonReader(text.read)
        reader.peek()
        start = reader.line
        try:
            return any(reader.line > start for _ in islice(_steps(reader), _SAMPLE_ELEMENTS))
        except NotStrictJson as error:
            return error.can_go_on


def _steps(reader: JsonReader) -> Iterator[None]:
    """Decodes the elements of a list, or of the lists in an object, one at a step."""
    if reader.peek() == "[":
        for _ in reader.array():
            reader.value()
            yield
    elif reader.peek() == "{":
        for _ in reader.object():
            if reader.peek() == "[":
                yield from _steps(reader)
            else:
                reader.value()
                yield
