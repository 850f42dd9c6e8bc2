"""A process that reads one workbook, Parquet or Arrow file, so that a hostile or broken file cannot take others down.

Started with `python -m tinsmith.data.read.table_reader FORMAT PATH [FIRST END]`, where the numbers are row groups of a
Parquet file; the format `groups` lists those. It prints a JSON object per line: a row with its
`place` and `value`, something `unused` with its reason and count, or the `problem` that ended the reading. Memory and
processor time are limited.
"""

import json
import resource
import signal
import sys
import zipfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import date, time
from pathlib import Path
from typing import Any

MAX_MEMORY_BYTES = 2_000_000_000
"""Address space of the process."""
MAX_UNPACKED_BYTES = 1_000_000_000
"""Largest sum of the files in a workbook."""
_FREE_CPU_SECONDS = 60
_BYTES_PER_CPU_SECOND = 200_000
_ROWS = 64
"""Rows of columns that are turned into objects at a time."""


class Unreadable(Exception):
    """The file cannot be read; the text says why."""


def workbook_rows(path: Path) -> Iterator[dict[str, Any]]:
    """The rows of every visible sheet, cells as text."""
    import python_calamine

    if zipfile.is_zipfile(path):
        size = sum(part.file_size for part in zipfile.ZipFile(path).infolist())
        if size > MAX_UNPACKED_BYTES:
            raise Unreadable(f"unpacks to {size / 1e9:.1f} GB, the limit is {MAX_UNPACKED_BYTES / 1e9:.0f} GB")
    try:
        workbook = python_calamine.CalamineWorkbook.from_path(str(path))
        for sheet in workbook.sheets_metadata:
            if sheet.typ != python_calamine.SheetTypeEnum.WorkSheet:
                yield {"unused": f"sheet {sheet.name!r}", "reason": "sheets without cells, such as charts", "count": 1}
            elif sheet.visible != python_calamine.SheetVisibleEnum.Visible:
                yield {"unused": f"sheet {sheet.name!r}", "reason": "hidden sheets", "count": 1}
            else:
                rows = workbook.get_sheet_by_name(sheet.name).to_python(skip_empty_area=False)
                for number, row in enumerate(rows, start=1):
                    yield {"sheet": sheet.name, "number": number, "cells": [_cell(value) for value in row]}
    except python_calamine.PasswordError as error:
        raise Unreadable("needs a password; save it without one") from error
    except python_calamine.CalamineError as error:
        raise Unreadable(f"not a readable workbook: {error}") from error


def parquet_rows(path: Path, first: int = 0, end: int | None = None) -> Iterator[dict[str, Any]]:
    """The rows of a Parquet file, or of a range of its row groups."""
    from pyarrow import parquet

    with parquet.ParquetFile(path, memory_map=True) as file:
        groups = range(first, file.num_row_groups if end is None else end)
        yield from _rows(file.iter_batches(batch_size=_ROWS, row_groups=list(groups)))


def parquet_groups(path: Path) -> Iterator[dict[str, Any]]:
    """Rows and bytes of each row group of a Parquet file."""
    from pyarrow import parquet

    with parquet.ParquetFile(path, memory_map=True) as file:
        for number in range(file.num_row_groups):
            group = file.metadata.row_group(number)
            size = sum(group.column(column).total_compressed_size for column in range(group.num_columns))
            yield {"rows": group.num_rows, "bytes": size}


def arrow_rows(path: Path) -> Iterator[dict[str, Any]]:
    """The rows of an Arrow file, or of a stream as `datasets` saves it."""
    import pyarrow as pa

    with pa.memory_map(str(path)) as source:
        if source.read(6) == b"ARROW1":
            file = pa.ipc.open_file(source)
            yield from _rows(file.get_batch(index) for index in range(file.num_record_batches))
        else:
            source.seek(0)
            yield from _rows(pa.ipc.open_stream(source))


def _rows(batches: Iterator[Any]) -> Iterator[dict[str, Any]]:
    number = 0
    for batch in batches:
        for start in range(0, batch.num_rows, _ROWS):
            for value in batch.slice(start, _ROWS).to_pylist():
                number += 1
                yield {"number": number, "value": value}


def _cell(value: Any) -> str:
    """A cell as its owner sees it, more or less: a whole number without decimals, a date in ISO form."""
    if isinstance(value, bool):
        return str(value).upper()
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return value.isoformat() if isinstance(value, date | time) else str(value)


def _plain(value: Any) -> Any:
    """A value that JSON has no type for."""
    if isinstance(value, bytes):
        return {"bytes": len(value)}
    return value.isoformat() if isinstance(value, date | time) else str(value)


_READERS: dict[str, Callable[..., Iterator[dict[str, Any]]]] = {
    "workbook": workbook_rows,
    "parquet": parquet_rows,
    "groups": parquet_groups,
    "arrow": arrow_rows,
}


def main(format: str, path: Path, *groups: int) -> None:
    """Print the rows of a file, or of some row groups of it."""
    # macOS does not limit address space; the limit on time holds there too.
    with suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_AS, (MAX_MEMORY_BYTES, MAX_MEMORY_BYTES))
    # SIGPROF ends the process when the time is over.
    signal.setitimer(signal.ITIMER_PROF, _FREE_CPU_SECONDS + path.stat().st_size / _BYTES_PER_CPU_SECOND)
    try:
        for row in _READERS[format](path, *groups):
            print(json.dumps(row, default=_plain))
    except MemoryError:
        print(json.dumps({"problem": f"needs more than {MAX_MEMORY_BYTES / 1e9:.0f} GB of memory to read"}))
    except (Unreadable, UnicodeDecodeError, OSError, ValueError, zipfile.BadZipFile, NotImplementedError) as error:
        # pyarrow's errors are ValueError and OSError.
        reason = " ".join(str(error).split())[:300] or type(error).__name__
        print(json.dumps({"problem": f"cannot be read: {reason}"}))


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), *map(int, sys.argv[3:]))
