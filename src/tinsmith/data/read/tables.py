"""Read workbooks, Parquet and Arrow files, each in a process of its own with limits on memory and time."""

import json
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tinsmith.core.field_map import FieldMap
from tinsmith.data.read import table_reader
from tinsmith.data.read.csv_table import column_names, header_problem, row_value
from tinsmith.data.read.record import Item, Piece, Problem, Record, Unused

# -P keeps modules in the current folder from standing in for installed ones.
_COMMAND = (sys.executable, "-P", "-W", "ignore", "-m", table_reader.__name__)


def read_columns(piece: Piece, fields: FieldMap) -> Iterator[Item]:
    """The rows of a Parquet or Arrow file."""
    for row in _output(piece):
        if isinstance(row, Problem | Unused):
            yield row
        else:
            yield Record(piece.file, f"row {row['number'] + piece.line - 1}", row["value"], "")


def row_groups(path: Path) -> list[tuple[int, int]]:
    """Number of rows and bytes of each row group of a Parquet file; empty if it cannot be read."""
    process = subprocess.run([*_COMMAND, "groups", str(path)], check=False, capture_output=True, text=True)
    rows = [json.loads(line) for line in process.stdout.splitlines()]
    is_whole = process.returncode == 0 and not any("problem" in row for row in rows)
    return [(row["rows"], row["bytes"]) for row in rows] if is_whole else []


def read_workbook(piece: Piece, fields: FieldMap) -> Iterator[Item]:
    """The rows of every visible sheet whose first row names columns with questions and answers."""
    sheet, header, is_used, has_records, others = "", [], False, False, []
    for row in _output(piece):
        if isinstance(row, Problem | Unused):
            yield row
            continue
        cells = row["cells"]
        if row["sheet"] != sheet:
            sheet, header = row["sheet"], []
        if not any(cell.strip() for cell in cells):
            continue
        if not header:
            header = _header(cells)
            problem = header_problem(header, fields)
            is_used = problem is None
            has_records |= is_used
            if problem:
                others.append((sheet, row["number"], problem))
        elif is_used:
            yield Record(piece.file, f"sheet {sheet!r}, row {row['number']}", _row(header, cells), "")
    for name, line, problem in others:
        if has_records:
            yield Unused(f"{piece.file}: sheet {name!r}", "sheets without columns for question and answer")
        else:
            yield Problem(piece.file, line, 0, f"sheet {name!r}: {problem}")


def _header(cells: list[str]) -> list[str]:
    """Names of the columns; empty cells at the end are none."""
    last = max(index for index, cell in enumerate(cells) if cell.strip())
    return column_names(cells[: last + 1])


def _row(header: list[str], cells: list[str]) -> Any:
    return row_value(header, cells if any(cells[len(header) :]) else cells[: len(header)])


def _output(piece: Piece) -> Iterator[Any]:
    """What the process prints: rows as they are, the rest as `Unused` and `Problem`."""
    with tempfile.TemporaryFile("w+") as errors:
        process = subprocess.Popen(
            [*_COMMAND, piece.format, str(piece.path), *map(str, piece.groups or ())],
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
        )
        assert process.stdout
        try:
            for line in process.stdout:
                row = json.loads(line)
                if "problem" in row:
                    yield Problem(piece.file, 0, 0, row["problem"])
                elif "unused" in row:
                    yield Unused(f"{piece.file}: {row['unused']}", row["reason"], row["count"])
                else:
                    yield row
            code = process.wait()
        finally:
            process.kill()
            process.communicate()
        if code:
            errors.seek(0)
            yield Problem(piece.file, 0, 0, _death(code, errors.read()))


def _death(code: int, errors: str) -> str:
    if code == -signal.SIGPROF:
        return "takes too long to read for its size; save it in another format"
    last_line = errors.strip().rsplit("\n", 1)[-1][:200] or f"the reader ended with code {code}"
    return f"cannot be read; save it in another format ({last_line})"
