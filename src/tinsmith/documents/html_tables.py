"""Tables of an HTML page as rows of text."""

import re

from tinsmith.documents.blocks import Block, one_line

CELL_SEPARATOR = " | "
_LONG_CELL_CHARACTERS = 400
"""A longer cell means that the table lays out a page and holds no data."""
_MAX_SPAN = 100


class Table:
    """Rows of an open `<table>`. A cell that spans several rows is repeated in each."""

    def __init__(self) -> None:
        self._rows: list[list[str]] = []
        self._header_cells: list[int] = []
        """Number of `<th>` in each row."""
        self._cell: list[str] = []
        self._spans: dict[int, tuple[int, str]] = {}
        """Column -> further rows that its cell spans, and the cell's text."""
        self._row_span = 1

    def start_row(self) -> None:
        """Begin a row with the cells that reach into it from above."""
        self._rows.append([])
        self._header_cells.append(0)
        self._add_spanning_cells()

    def start_cell(self, is_header: bool, attributes: dict[str, str]) -> None:
        """Begin a `<td>` or `<th>`."""
        if not self._rows:
            self.start_row()
        self._header_cells[-1] += is_header
        self._cell = []
        span = attributes.get("rowspan", "1")
        self._row_span = min(int(span), _MAX_SPAN) if re.fullmatch(r"\d{1,6}", span) else 1

    def add(self, text: str) -> None:
        """Add a paragraph to the open cell."""
        self._cell.append(text)

    def end_cell(self) -> None:
        """End the open cell."""
        row, text = self._rows[-1], "\n".join(self._cell)
        if self._row_span > 1:
            self._spans[len(row)] = (self._row_span - 1, text)
        row.append(text)
        self._cell, self._row_span = [], 1
        self._add_spanning_cells()

    def blocks(self) -> list[Block]:
        """Rows with a header line; the cells as paragraphs if the table only lays out a page."""
        rows = [row for row in self._rows if any(row)]
        if not rows:
            return [Block("paragraph", text) for text in self._cell]
        if max(map(len, rows)) == 1 or max(len(cell) for row in rows for cell in row) > _LONG_CELL_CHARACTERS:
            return [Block("paragraph", cell) for row in rows for cell in row if cell]
        has_header = len(rows) > 1 and self._header_cells[self._rows.index(rows[0])] == len(rows[0])
        header = _line(rows[0]) if has_header else ""
        return [Block("row", _line(row), header=header) for row in rows]

    def _add_spanning_cells(self) -> None:
        row = self._rows[-1]
        while (span := self._spans.get(len(row))) is not None:
            remaining, text = span
            if remaining > 1:
                self._spans[len(row)] = (remaining - 1, text)
            else:
                del self._spans[len(row)]
            row.append(text)


def _line(cells: list[str]) -> str:
    return CELL_SEPARATOR.join(one_line(cell) for cell in cells).strip()
