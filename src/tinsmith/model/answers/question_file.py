r"""Files of questions: JSONL with one object a line, or a spreadsheet saved as CSV or TSV.

In a spreadsheet, the first row names the columns, and semicolons separate the phrases in a cell. A phrase that contains
a semicolon is written with `\;`.
"""

import csv
import io
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tinsmith.core.disk_errors import reading_advice
from tinsmith.core.errors import DataError

COLUMNS = ("id", "kind", "question", "previous", "must_state", "must_not_state", "origin", "note")
"""Columns of a spreadsheet that tinsmith writes, in order."""
FIELDS = (*COLUMNS, "style")
LISTS = ("previous", "must_state", "must_not_state")
ENDINGS = (".jsonl", ".ndjson", ".csv", ".tsv")

_SEPARATOR = re.compile(r"(?<!\\);")
_FORMULA = re.compile(r"'*[=+\-@\t\r]")
"""Beginning of a cell that a spreadsheet would run as a formula, with the apostrophes that prevent it."""
_HINT = "What a file of questions contains: docs/answers.md"


@dataclass(frozen=True, slots=True)
class Row:
    """The values of one question, as they stand in the file."""

    line: int
    fields: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Rows:
    """All rows of a file, and one line for each that cannot be read."""

    rows: list[Row] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


def read_rows(path: Path) -> Rows:
    """The rows of a file; blank ones are skipped.

    Raises:
        DataError: the file cannot be read, has an unknown ending, or its columns have no usable names.
    """
    if path.suffix.lower() not in ENDINGS:
        raise DataError(f"{path}: not a file of questions: its name must end in {', '.join(ENDINGS)}", _HINT)
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DataError(
            f"{path}: cannot be read ({error.strerror})",
            reading_advice(error, "Correct the path in the configuration."),
        ) from error
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise DataError(
            f"{path}:{line}: not UTF-8 at byte {error.start} (found 0x{content[error.start]:02x})",
            "Save the file as UTF-8. Excel calls that format `CSV UTF-8`.",
        ) from error
    return _objects(path, text) if path.suffix.lower() in (".jsonl", ".ndjson") else _cells(path, text)


def csv_text(rows: Iterable[Mapping[str, str | tuple[str, ...]]]) -> str:
    """A spreadsheet with `COLUMNS` as CSV text, safe to open in a spreadsheet program. Missing values are empty."""
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(COLUMNS)
    for row in rows:
        writer.writerow([_safe_cell(_joined(row.get(name, ""))) for name in COLUMNS])
    return file.getvalue()


def _objects(path: Path, text: str) -> Rows:
    rows = Rows()
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        try:
            value = json.loads(line, object_pairs_hook=_without_repeated_keys)
        except (ValueError, RecursionError) as error:
            rows.problems.append(f"{path.name}:{number}: not JSON: {error}")
            continue
        if isinstance(value, dict):
            rows.rows.append(Row(number, value))
        else:
            rows.problems.append(f"{path.name}:{number}: must be an object in braces (found {line.strip()[:60]})")
    return rows


def _without_repeated_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    names = [name for name, _ in pairs]
    for name in names:
        if names.count(name) > 1:
            raise ValueError(f"the key {name!r} stands twice")
    return dict(pairs)


def _cells(path: Path, text: str) -> Rows:
    rows = Rows()
    # Excel writes semicolons between cells where commas are decimal.
    header = text.partition("\n")[0]
    delimiter = "\t" if path.suffix.lower() == ".tsv" else max(",;\t", key=header.count)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    line = 1
    try:
        columns = [name.strip().lower() for name in next(reader, [])]
        names = [name for name in columns if name]
        if "question" not in names or len(set(names)) < len(names):
            raise DataError(
                f"{path}:1: the first row must name each column once, one of them `question` "
                f"(found {', '.join(columns)})",
                _HINT,
            )
        line = reader.line_num + 1
        for cells in reader:
            values = dict(zip(columns, cells, strict=False))
            unnamed = [cell for cell in cells[len(columns) :] if cell.strip()]
            if values.pop("", "").strip() or unnamed:
                rows.problems.append(f"{path.name}:{line}: a cell stands in a column without a name")
            elif any(cell.strip() for cell in cells):
                rows.rows.append(Row(line, {name: _value(name, cell) for name, cell in values.items()}))
            line = reader.line_num + 1
    except csv.Error as error:
        rows.problems.append(f"{path.name}:{line}: this row and those after it cannot be read: {error}")
    return rows


def _value(name: str, cell: str) -> str | list[str]:
    text = cell[1:] if cell.startswith("'") and _FORMULA.match(cell) else cell
    return [phrase.replace("\\;", ";") for phrase in _SEPARATOR.split(text)] if name in LISTS else text


def _joined(value: str | tuple[str, ...]) -> str:
    return value if isinstance(value, str) else "; ".join(phrase.replace(";", "\\;") for phrase in value)


def _safe_cell(cell: str) -> str:
    """`cell` with an apostrophe before it if a spreadsheet would run it as a formula."""
    return f"'{cell}" if _FORMULA.match(cell) else cell
