"""Read tables with commas, semicolons, tabs or bars between their cells."""

import csv
import re
from collections.abc import Iterator, Sequence
from typing import Any

from tinsmith.core.field_map import FieldMap
from tinsmith.data.read.propose import proposal
from tinsmith.data.read.record import Item, Piece, Problem, Record, Unusable
from tinsmith.data.read.shapes import is_record
from tinsmith.data.read.source import open_text
from tinsmith.data.read.strict_json import MAX_VALUE_CHARACTERS

DELIMITERS = ",;\t|"
_DECLARED = re.compile('sep=([^"])', re.IGNORECASE)
"""Excel's line that names the delimiter. Python 3.13 refuses the quote as one."""


def read_table(piece: Piece, fields: FieldMap) -> Iterator[Item]:
    """The rows of a table whose first row names the columns."""
    # The default refuses cells of more than 131,072 characters, fewer than a long answer may have.
    csv.field_size_limit(MAX_VALUE_CHARACTERS)
    with open_text(piece) as text:
        declared = _DECLARED.fullmatch(text.readline(MAX_VALUE_CHARACTERS).rstrip("\r\n"))
    delimiter = declared[1] if declared else _delimiter(piece, fields)
    header: list[str] | None = None
    line = 1
    with open_text(piece) as text:
        if declared:
            text.readline()
            line = 2
        reader = csv.reader(text, delimiter=delimiter, strict=True)
        offset = line - 1
        try:
            for row in reader:
                first_line, line = line, offset + reader.line_num + 1
                if not any(cell.strip() for cell in row):
                    continue
                if header is None:
                    header = column_names(row)
                    if problem := header_problem(header, fields):
                        yield Problem(piece.file, first_line, 1, problem)
                        return
                else:
                    yield Record(piece.file, f"line {first_line}", row_value(header, row), "")
        except csv.Error as error:
            yield Problem(piece.file, line, 1, f"not a readable table: {error}")


def column_names(cells: Sequence[str]) -> list[str]:
    """Names of the columns in small letters; a column without one is `column 3`."""
    return [" ".join(cell.split()).lower() or f"column {number}" for number, cell in enumerate(cells, start=1)]


def row_value(header: Sequence[str], row: Sequence[Any]) -> dict[str, Any] | Unusable:
    """A row as an object; an `Unusable` if it has other cells than the header."""
    if len(row) != len(header):
        return Unusable("a row with more or fewer cells than the header", f"{len(row)} cells, the header {len(header)}")
    return dict(zip(header, row, strict=True))


def header_problem(names: Sequence[str], fields: FieldMap) -> str | None:
    """Why a table with these columns cannot be read, or None."""
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        return f"column {repeated[0]!r} appears {names.count(repeated[0])} times"
    if is_record(dict.fromkeys(names, ""), fields):
        return None
    columns = ", ".join(map(repr, names))
    problem = f"the first row must name columns question/answer or q/a or prompt/completion; found {columns}"
    return ". ".join(filter(None, (problem, proposal([dict.fromkeys(names, "")], fields))))


def _delimiter(piece: Piece, fields: FieldMap) -> str:
    """What separates the cells: where known columns appear, else what gives the most columns."""
    rows = {}
    for delimiter in DELIMITERS:
        with open_text(piece) as text:
            try:
                reader = csv.reader(text, delimiter=delimiter)
                rows[delimiter] = next((row for row in reader if any(cell.strip() for cell in row)), [])
            except csv.Error:
                rows[delimiter] = []

    def fitness(delimiter: str) -> tuple[bool, int]:
        names = column_names(rows[delimiter])
        return is_record(dict.fromkeys(names, ""), fields), len(names)

    return max(DELIMITERS, key=fitness)
