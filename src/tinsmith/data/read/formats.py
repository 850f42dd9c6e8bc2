"""Tell a file's format by its content first, and by its ending where the content leaves it open."""

import codecs
import gzip
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice
from pathlib import Path, PurePosixPath
from typing import TextIO

from tinsmith.core.run_dir import entries
from tinsmith.data.read.record import Piece
from tinsmith.data.read.source import Bomb, open_bytes, open_text
from tinsmith.data.read.strict_json import MAX_VALUE_CHARACTERS, JsonReader, NotStrictJson, decode
from tinsmith.data.read.whatsapp import looks_like_whatsapp

_LINES = (".jsonl", ".ndjson")
_WORKBOOKS = (".xlsx", ".xlsm", ".xls", ".ods")
_PAGES = (".md", ".markdown", ".html", ".htm", ".txt", ".text", ".docx", ".pdf")
ENDINGS = (".json", *_LINES, ".csv", ".tsv", *_WORKBOOKS, ".parquet", ".arrow", *_PAGES)
_HEAD_BYTES = 1 << 16
_SAMPLE_READS, _READ_CHARACTERS = 16, 1 << 16
"""A stream sets aside as much memory as is asked for, even for a tiny file."""
_SAMPLE_ELEMENTS = 100
_ENCODINGS = (
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_MAGIC = ((b"PAR1", "parquet"), (b"ARROW1", "arrow"), (b"\xff\xff\xff\xff", "arrow"), (b"%PDF-", "page"))
"""First bytes -> format."""
_ZIP, _OLE = b"PK\x03\x04", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
_BINARY = (_ZIP, _OLE, *(magic for magic, _ in _MAGIC))
_ABOUT_DATASETS = ("dataset_info.json", "dataset_infos.json", "dataset_dict.json", "state.json")
_ABOUT_FOLDERS = ("readme", "license", "licence", "changelog", "contributing", "notice")
_ARCHIVES = (b"BZh", b"\xfd7zXZ\x00", b"7z\xbc\xaf\x27\x1c", b"\x28\xb5\x2f\xfd", b"Rar!")
_GZIP_ERRORS = (EOFError, zlib.error, gzip.BadGzipFile)
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
    if reason := _why_no_data(path):
        raise Unread(reason)
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
        except _GZIP_ERRORS as error:
            raise Broken(f"a damaged gzip file: {error}") from error
    elif name.lower().endswith(".gz"):
        notes.append("not packed, though its name ends in .gz")
    if piece.is_gzip and head.startswith(_BINARY):
        raise Unread("workbooks and other binary files inside gzip; unpack them")
    if binary := _binary_format(head, path, ending):
        if not _is_usual(binary, ending):
            notes.append(f"read as a {binary}, though its name does not say so")
        return Format(replace(piece, format=binary), tuple(notes))
    if ending not in ENDINGS:
        raise Unread(UNKNOWN_ENDING)
    if len(head) < _HEAD_BYTES and not head.strip(b" \t\r\n\xef\xbb\xbf"):
        raise Unread("empty pages and documents") if ending in _PAGES else Broken("empty file")
    encoding = next((encoding for bom, encoding in _ENCODINGS if head.startswith(bom)), piece.encoding)
    if encoding != piece.encoding:
        notes.append(f"in {encoding.upper()}, read as such; UTF-8 is the usual encoding")
        piece = replace(piece, encoding=encoding)
    elif b"\0" in head:
        raise Broken(_nul_problem(head))
    return Format(_text_piece(piece, ending), tuple(notes))


def _why_no_data(path: Path) -> str:
    """Why a file that could be data by its format is none, or empty."""
    if path.name in _ABOUT_DATASETS and (path.name != "state.json" or entries(path.parent, "*.arrow")):
        return "descriptions of a Hugging Face data set"
    if path.name.startswith("cache-") and path.suffix == ".arrow":
        return "what the datasets library cached"
    if path.suffix.lower() in _PAGES and path.stem.lower().startswith(_ABOUT_FOLDERS):
        return "descriptions of the folder, such as a README"
    return ""


def _head(piece: Piece) -> bytes:
    with open_bytes(piece) as stream:
        return stream.read(_HEAD_BYTES)


def _binary_format(head: bytes, path: Path, ending: str) -> str:
    """The format of a file that is no text; empty if it may be text."""
    if head.startswith(_ZIP):
        return _zip_format(path)
    if head.startswith(_ARCHIVES):
        raise Unread("archives of another kind than gzip; unpack them")
    if head.startswith(_OLE):
        if ending in (".doc", ".ppt", ".msg"):
            raise Unread(UNKNOWN_ENDING)
        return "workbook"
    format = next((format for magic, format in _MAGIC if head.startswith(magic)), "")
    if not format and ending in (*_WORKBOOKS, ".parquet", ".arrow", ".docx", ".pdf") and head:
        raise Broken(f"not what its ending says: it starts with {head[:8]!r}")
    return format


def _zip_format(path: Path) -> str:
    try:
        with zipfile.ZipFile(path) as archive:
            names = set(archive.namelist())
    except (zipfile.BadZipFile, NotImplementedError, ValueError) as error:
        raise Broken(f"a damaged ZIP file: {error}") from error
    if any(name.startswith("xl/") for name in names) or {"content.xml", "mimetype"} <= names:
        return "workbook"
    if "word/document.xml" in names:
        return "page"
    raise Unread("ZIP archives; unpack them")


def _is_usual(format: str, ending: str) -> bool:
    return ending in {"workbook": _WORKBOOKS, "page": (".docx", ".pdf")}.get(format, (f".{format}",))


def _nul_problem(head: bytes) -> str:
    if head.count(b"\0") * 3 > len(head):
        return "holds a NUL byte beside every other one: it looks like UTF-16 without a mark; save it as UTF-8"
    return f"holds a NUL byte (byte {head.index(0)}), so it is no text; save it again as UTF-8 text"


def _text_piece(piece: Piece, ending: str) -> Piece:
    if ending in (".csv", ".tsv"):
        return replace(piece, format="table")
    if ending in _PAGES and piece.is_gzip:
        raise Unread("pages and documents inside gzip; unpack them")
    if ending in _PAGES:
        return replace(piece, format=_page_format(piece, ending))
    try:
        newline = _newline(piece)
        piece = replace(piece, newline=newline)
        return replace(piece, format="lines" if _is_lines(piece, ending) else "document")
    except UnicodeDecodeError:
        # Its reader names the line.
        return replace(piece, format="lines" if ending in _LINES else "document")
    except Bomb as error:
        raise Broken(str(error)) from error
    except _GZIP_ERRORS as error:
        raise Broken(f"a damaged gzip file: {error}") from error


def _page_format(piece: Piece, ending: str) -> str:
    if ending not in (".txt", ".text"):
        return "page"
    with open_text(piece) as text:
        try:
            return "whatsapp" if looks_like_whatsapp(islice(text, _SAMPLE_ELEMENTS)) else "page"
        except UnicodeDecodeError:
            return "page"


def _newline(piece: Piece) -> str:
    r"""`\r` for lines of old Macs, else `\n`."""
    with open_text(piece) as text:
        sample = "".join(islice(iter(partial(text.read, _READ_CHARACTERS), ""), _SAMPLE_READS))
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
