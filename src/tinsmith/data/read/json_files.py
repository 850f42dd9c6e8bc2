"""Read JSON lines and JSON documents."""

from collections.abc import Iterator
from contextlib import ExitStack
from functools import partial
from itertools import chain, islice

from tinsmith.core.field_map import FieldMap
from tinsmith.data.read.record import Item, Note, Piece, Problem, Record, Unused
from tinsmith.data.read.shapes import is_record
from tinsmith.data.read.source import not_utf8, open_bytes, open_text
from tinsmith.data.read.strict_json import MAX_VALUE_CHARACTERS, Fault, JsonReader, NotStrictJson, decode
from tinsmith.data.read.wrappers import Wrapped, Wrappers

_MAX_LINE_BYTES = 4 * MAX_VALUE_CHARACTERS
_BOM = b"\xef\xbb\xbf"


def read_document(piece: Piece, fields: FieldMap) -> Iterator[Item]:
    """The records of one JSON document, however long, in the memory of one record."""
    wrappers = Wrappers(partial(is_record, fields=fields))
    with ExitStack() as stack:

        def open_reader() -> JsonReader:
            return JsonReader(stack.enter_context(open_text(piece)).read)

        number = 0
        for item in wrappers.in_document(open_reader):
            if isinstance(item, Fault):
                yield Problem(piece.file, item.line, item.column, item.text)
            else:
                number += 1
                yield Record(piece.file, f"record {number} (line {item.line})", item.value, item.category)
    yield from _remarks(piece, wrappers)


def read_lines(piece: Piece, fields: FieldMap) -> Iterator[Item]:
    """The records of JSON lines. A line that is broken does not hide the errors of the next."""
    wrappers = Wrappers(partial(is_record, fields=fields))
    for number, line in _lines(piece):
        if isinstance(line, Problem):
            yield line
            continue
        try:
            decoded = decode(line.rstrip("\n"), number)
        except NotStrictJson as error:
            yield from (Problem(piece.file, fault.line, fault.column, fault.text) for fault in error.faults)
            continue
        for index, (wrapped, is_alone) in enumerate(_each_and_whether_alone(wrappers.in_value(decoded)), start=1):
            part = "" if is_alone else f", record {index}"
            yield Record(piece.file, f"line {number}{part}", wrapped.value, wrapped.category)
    yield from _remarks(piece, wrappers)


def _each_and_whether_alone(records: Iterator[Wrapped]) -> Iterator[tuple[Wrapped, bool]]:
    """Each record of a line, and whether the line has no other."""
    first_two = list(islice(records, 2))
    for wrapped in chain(first_two, records):
        yield wrapped, len(first_two) == 1


def _lines(piece: Piece) -> Iterator[tuple[int, str | Problem]]:
    """Number and text of each line that is not blank."""
    if piece.encoding != "utf-8-sig" or piece.newline == "\r":
        with open_text(piece, newline="\n") as text:
            yield from ((number, line) for number, line in enumerate(text, start=1) if line.strip())
        return
    # Only \n ends a line: a text stream that also ended lines at U+2028 would cut inside text, where JSON allows it.
    with open_bytes(piece) as stream:
        if piece.start:
            stream.seek(piece.start)
        end = None if piece.is_gzip else piece.start + piece.size
        start, number = piece.start, piece.line
        while (end is None or start < end) and (line := stream.readline(_MAX_LINE_BYTES)):
            if line.endswith(b"\n") or len(line) < _MAX_LINE_BYTES:
                if line.strip():
                    yield number, _text(piece, line, number, start)
            else:
                yield number, Problem(piece.file, number, 0, f"a line of more than {_MAX_LINE_BYTES // 10**6} MB")
                while line and not line.endswith(b"\n"):
                    start += len(line)
                    line = stream.readline(_MAX_LINE_BYTES)
            start += len(line)
            number += 1


def _text(piece: Piece, line: bytes, number: int, start: int) -> str | Problem:
    try:
        return line.removeprefix(_BOM if start == 0 else b"").decode("utf-8")
    except UnicodeDecodeError as error:
        return Problem(piece.file, number, 0, not_utf8(error.object, error.start, start))


def _remarks(piece: Piece, wrappers: Wrappers) -> Iterator[Unused | Note]:
    for (name, reason), count in wrappers.unused.items():
        yield Unused(f"{piece.file}: {name}", reason, count)
    yield from (Note(piece.file, text) for text in wrappers.notes)
