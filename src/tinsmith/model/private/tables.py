"""Passwords and keys in a table whose header names them."""

import re
from collections.abc import Iterator

_CELL = re.compile(r"[^|;\t,]+")


def column_cells(text: str, name: re.Pattern) -> Iterator[tuple[int, int]]:
    """Start and end of every cell below a header cell that is `name`, in a Markdown table or delimited lines."""
    columns: list[int] = []
    count = at = 0
    for line in text.split("\n"):
        cells = [(cell.start() + at, cell.end() + at) for cell in _CELL.finditer(line) if cell.group().strip()]
        at += len(line) + 1
        if len(cells) < 2 or len(cells) != count:
            count = len(cells)
            columns = [column for column, (start, end) in enumerate(cells) if name.fullmatch(text[start:end])]
            continue
        for column in columns:
            start, end = cells[column]
            value = text[start:end].strip(" \"'`*")
            if value:
                start = text.index(value, start)
                yield start, start + len(value)
