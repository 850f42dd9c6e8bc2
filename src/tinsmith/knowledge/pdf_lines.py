"""Lines of a PDF with their size, weight and position, which is all that a PDF says about its structure."""

import re
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from tinsmith.knowledge.blocks import clean, one_line

if TYPE_CHECKING:
    from pypdf import PageObject

_CHARACTER_WIDTH = 0.42
"""Width of a narrow character as a fraction of the font's size, to estimate where a piece of text ends."""
_COLUMN_GAP = 1.2
"""Gap between columns of a table, at least, in font sizes."""
_ALIGNED_POINTS = 2
CELL_SEPARATOR = " | "
_PAGE_NUMBER = re.compile(r"(?:\w+\s)?[-–]?\s*\d{1,4}\s*[-–]?(?:\s*(?:/|\w+)\s*\d{1,4})?")


@dataclass(slots=True)
class Piece:
    """Text drawn at one place."""

    x: float
    text: str


@dataclass(slots=True)
class Line:
    """One line of a page."""

    page: int
    """Number of its page, from 1."""
    y: float = 0.0
    """Height above the page's lower edge in points."""
    size: float = 0.0
    """Size of most of its characters in points."""
    is_bold: bool = False
    pieces: list[Piece] = field(default_factory=list)
    text: str = ""
    is_row: bool = False
    """Whether it is a row of a table, with `|` between its cells."""


def page_lines(page: "PageObject", number: int) -> list[Line]:
    """The lines of a page in the order in which they are drawn."""
    lines = [Line(number)]
    sizes: Counter[float] = Counter()
    bold = 0

    def end_line() -> None:
        nonlocal bold
        line = lines[-1]
        characters = sum(sizes.values())
        if characters:
            line.size = sizes.most_common(1)[0][0]
            line.is_bold = bold == characters
            lines.append(Line(number))
        sizes.clear()
        bold = 0

    def on_text(text: str, page_matrix: Sequence[float], text_matrix: Sequence[float], font: Any, size: float) -> None:
        nonlocal bold
        parts = text.split("\n")
        for index, part in enumerate(parts):
            if index:
                end_line()
            if not part.strip():
                if part and lines[-1].pieces:
                    lines[-1].pieces[-1].text += " "
                continue
            x, y, scale = _placed(page_matrix, text_matrix)
            count = len("".join(part.split()))
            sizes[round(abs(size * scale), 1)] += count
            bold += count if "bold" in str((font or {}).get("/BaseFont", "")).lower() else 0
            lines[-1].y = y
            lines[-1].pieces.append(Piece(x, part))

    page.extract_text(visitor_text=on_text)
    end_line()
    lines.pop()
    _mark_rows(lines)
    for line in lines:
        line.text = line.text or one_line(clean("".join(piece.text for piece in line.pieces)))
    return [line for line in lines if line.text]


def without_running_lines(pages: Sequence[list[Line]]) -> list[Line]:
    """The lines of all pages without page numbers, and without headers and footers that most pages repeat."""
    repeats: Counter[str] = Counter()
    for lines in pages:
        repeats.update({_shape(line) for line in (*lines[:1], *lines[-1:])})
    kept = []
    for lines in pages:
        edges = {id(line) for line in (*lines[:1], *lines[-1:])}
        for line in lines:
            is_repeated = len(pages) > 2 and repeats[_shape(line)] > len(pages) / 2
            is_number = len(pages) > 1 and _PAGE_NUMBER.fullmatch(line.text)
            if id(line) not in edges or not (is_repeated or is_number):
                kept.append(line)
    return kept


def _placed(page_matrix: Sequence[float], text_matrix: Sequence[float]) -> tuple[float, float, float]:
    """`(x, y, scale)` of text on the page."""
    a, b, c, d, e, f = (float(value) for value in page_matrix)
    x, y = float(text_matrix[4]), float(text_matrix[5])
    scale = (c * c + d * d) ** 0.5 * (float(text_matrix[2]) ** 2 + float(text_matrix[3]) ** 2) ** 0.5
    return a * x + c * y + e, b * x + d * y + f, scale


def _mark_rows(lines: Sequence[Line]) -> None:
    """Put `|` between the cells of tables: pieces with a gap before them that begin where one of a neighbour does."""
    starts = [{index: piece.x for index, piece in _pieces_after_gaps(line)} for line in lines]
    aligned: dict[int, set[int]] = defaultdict(set)
    for number, (above, below) in enumerate(pairwise(starts)):
        for index, x in above.items():
            for other, other_x in below.items():
                if abs(x - other_x) <= _ALIGNED_POINTS:
                    aligned[number].add(index)
                    aligned[number + 1].add(other)
    for number, indexes in aligned.items():
        line = lines[number]
        cells = [""]
        for index, piece in enumerate(line.pieces):
            if index in indexes:
                cells.append("")
            cells[-1] += piece.text
        line.text = CELL_SEPARATOR.join(one_line(clean(cell)) for cell in cells)
        line.is_row = True


def _pieces_after_gaps(line: Line) -> list[tuple[int, Piece]]:
    """`(index, piece)` of pieces that stand clearly apart from the one before."""
    apart = []
    for index, (before, piece) in enumerate(pairwise(line.pieces), start=1):
        end = before.x + _CHARACTER_WIDTH * line.size * len(before.text.strip())
        if piece.x - end > _COLUMN_GAP * line.size:
            apart.append((index, piece))
    return apart


def _shape(line: Line) -> str:
    return re.sub(r"\d+", "0", line.text)
