"""Lines of a PDF with their size, weight and position, which is all that a PDF says about its structure."""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from tinsmith.documents.blocks import clean, one_line

if TYPE_CHECKING:
    from pypdf import PageObject

_CHARACTER_WIDTH = 0.42
"""Width of a narrow character as a fraction of the font's size, to estimate where a piece of text ends."""
_COLUMN_GAP = 1.2
"""Gap between columns of a table, at least, in font sizes."""
_ALIGNED_POINTS = 2
_MIN_TABLE_LINES = 3
_MAX_TABLE_PIECES = 6
"""More pieces in a line mean that a program placed each word, and then words line up by chance."""
CELL_SEPARATOR = " | "
_PAGE_NUMBER = re.compile(r"(?:\w+\s)?[-–]?\s*\d{1,4}\s*[-–]?(?:\s*(?:/|\w+)\s*\d{1,4})?")
_LEADERS = re.compile(r"(?:\.\s?){4,}\s*\d+$")
"""A line of a table of contents: dots, then a page number."""


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
    """The lines of all pages without page numbers, headers and footers that most pages repeat, and contents."""
    repeats: Counter[str] = Counter()
    for lines in pages:
        repeats.update({_shape(line) for line in (*lines[:1], *lines[-1:])})
    kept = []
    for lines in pages:
        edges = {id(line) for line in (*lines[:1], *lines[-1:])}
        for line in lines:
            is_repeated = len(pages) > 2 and repeats[_shape(line)] > len(pages) / 2
            is_number = len(pages) > 1 and _PAGE_NUMBER.fullmatch(line.text)
            is_running = id(line) in edges and (is_repeated or is_number)
            if not is_running and not _LEADERS.search(line.text):
                kept.append(line)
    return kept


def _placed(page_matrix: Sequence[float], text_matrix: Sequence[float]) -> tuple[float, float, float]:
    """`(x, y, scale)` of text on the page."""
    a, b, c, d, e, f = (float(value) for value in page_matrix)
    x, y = float(text_matrix[4]), float(text_matrix[5])
    scale = (c * c + d * d) ** 0.5 * (float(text_matrix[2]) ** 2 + float(text_matrix[3]) ** 2) ** 0.5
    return a * x + c * y + e, b * x + d * y + f, scale


def _mark_rows(lines: Sequence[Line]) -> None:
    """Put `|` between the cells of tables.

    A cell begins where pieces of several lines in a row begin: of three lines of few pieces, or of two if there is a
    wide gap before them. A line in bold above a row, with as many pieces as the row has cells, is its header.
    """
    reach = _aligned_lines(lines)
    cells: list[list[str]] = []
    for number, line in enumerate(lines):
        gaps = _pieces_after_gaps(line)
        texts = [""]
        for index, piece in enumerate(line.pieces):
            is_column = len(line.pieces) <= _MAX_TABLE_PIECES and reach[number].get(index, 1) >= _MIN_TABLE_LINES
            if index and (is_column or (index in gaps and reach[number].get(index, 1) > 1)):
                texts.append("")
            texts[-1] += piece.text
        cells.append(texts)
    for number, (above, below) in enumerate(pairwise(cells)):
        if len(above) < len(below) == len(lines[number].pieces) and lines[number].is_bold:
            cells[number] = [piece.text for piece in lines[number].pieces]
    for line, texts in zip(lines, cells, strict=True):
        if len(texts) > 1:
            line.text = CELL_SEPARATOR.join(one_line(clean(text)) for text in texts)
            line.is_row = True


def _aligned_lines(lines: Sequence[Line]) -> list[dict[int, int]]:
    """For each line: index of a piece after the first -> how many lines in a row have a piece that begins there."""
    counts: list[dict[int, int]] = []
    links: list[dict[int, int]] = []
    """For each line: index of a piece -> index of the piece above it."""
    for number, line in enumerate(lines):
        links.append({})
        for index, piece in enumerate(line.pieces[1:], start=1):
            for other, above in enumerate(lines[number - 1].pieces[1:] if number else (), start=1):
                if abs(piece.x - above.x) <= _ALIGNED_POINTS:
                    links[-1][index] = other
        counts.append({index: 1 + counts[-1].get(other, 1) for index, other in links[-1].items()})
    for number in range(len(lines) - 1, 0, -1):
        for index, other in links[number].items():
            counts[number - 1][other] = max(counts[number - 1].get(other, 1), counts[number][index])
    return counts


def _pieces_after_gaps(line: Line) -> set[int]:
    """Indexes of pieces that stand clearly apart from the one before."""
    apart = set()
    for index, (before, piece) in enumerate(pairwise(line.pieces), start=1):
        end = before.x + _CHARACTER_WIDTH * line.size * len(before.text.strip())
        if piece.x - end > _COLUMN_GAP * line.size:
            apart.add(index)
    return apart


def _shape(line: Line) -> str:
    return re.sub(r"\d+", "0", line.text)
