"""PDF files as blocks. Headings are lines in larger or bold type, paragraphs are told by the space between lines."""

import re
from collections import Counter
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

from tinsmith.documents.blocks import Block, Document, clean, one_line
from tinsmith.documents.html_blocks import LOWEST_LEVEL, reads_as_heading
from tinsmith.documents.pdf_lines import Line, page_lines, without_running_lines
from tinsmith.documents.text_blocks import LIST_ITEM
from tinsmith.documents.unreadable import Unreadable

_HEADING_SIZE = 1.12
"""Size of a heading's type, at least, in sizes of the text's."""
_PARAGRAPH_GAP = 1.3
"""Distance of two paragraphs' lines, at least, in usual distances."""
_SHORT_LINE = 0.7
"""A line that ends a sentence and is shorter than this share of the longest ends its paragraph."""
_FILE_NAME_TITLE = re.compile(r"\.\w{2,4}$|^Microsoft |^untitled", re.IGNORECASE)


def pdf_document(path: Path) -> Document:
    """The blocks of a PDF, each with its page.

    Raises:
        Unreadable: the file needs a password, is damaged, or has no text.
    """
    from pypdf import PdfReader
    from pypdf.errors import FileNotDecryptedError, LimitReachedError, PyPdfError

    try:
        reader = PdfReader(path)
        if reader.is_encrypted and not reader.decrypt(""):
            raise Unreadable("needs a password; save a copy without one")
        pages = [page_lines(page, number) for number, page in enumerate(reader.pages, start=1)]
        title = one_line(clean(str((reader.metadata and reader.metadata.title) or "")))
    except FileNotDecryptedError as error:
        raise Unreadable("needs a password; save a copy without one") from error
    except LimitReachedError as error:
        raise Unreadable("has a page that unpacks to more than 75 MB; print it to a new PDF") from error
    except PyPdfError as error:
        raise Unreadable("is a damaged PDF; export it again", str(error)) from error
    empty = [str(number) for number, lines in enumerate(pages, start=1) if not lines]
    if len(empty) == len(pages):
        raise Unreadable("has only pictures and no text; recognise its text (OCR) first", f"{len(pages)} pages")
    document = Document(title="" if _FILE_NAME_TITLE.search(title) else title)
    if empty:
        listed = ", ".join(empty[:10]) + (", ..." if len(empty) > 10 else "")
        document.notes["pages without text"] = f"{len(empty)} ({listed})"
    document.blocks = blocks_of_lines(without_running_lines(pages))
    return document


def blocks_of_lines(lines: Sequence[Line]) -> list[Block]:
    """Headings, paragraphs, list items and table rows."""
    sizes: Counter[float] = Counter()
    for line in lines:
        sizes[line.size] += len(line.text)
    body_size = sizes.most_common(1)[0][0]
    heading_sizes = sorted((size for size in sizes if size >= _HEADING_SIZE * body_size), reverse=True)
    levels = {size: min(index, LOWEST_LEVEL - 1) for index, size in enumerate(heading_sizes, start=1)}
    usual_gap = _line_distance([line for line in lines if line.size == body_size])
    widest = max(len(line.text) for line in lines)
    joined_words = frozenset(word.casefold() for line in lines for word in line.text.split())
    blocks: list[Block] = []
    header = ""
    previous: Line | None = None
    for line in lines:
        kind, level = _kind(line, levels)
        is_new = previous is None or _starts_block(previous, line, usual_gap, widest)
        last = blocks[-1] if blocks else None
        place = f"page {line.page}"
        if kind == "row":
            if last is None or last.kind != "row":
                header = line.text if line.is_bold else ""
            blocks.append(Block("row", line.text, place=place, header=header))
        elif last and kind == "heading" and last.kind == "heading" and last.level == level and not is_new:
            blocks[-1] = Block("heading", f"{last.text} {line.text}", level, last.place)
        elif kind == "paragraph" and previous and not is_new and _keeps_lines(previous, line, widest):
            blocks.append(Block("item", line.text, level, place))
        elif kind == "heading" or is_new or last is None or last.kind in ("heading", "row"):
            blocks.append(Block(kind, line.text, level, place))
        else:
            blocks[-1] = Block(last.kind, _continued(last.text, line.text, joined_words), place=last.place)
        previous = line
    return blocks


def _line_distance(lines: Sequence[Line]) -> float:
    """Distance of lines within a paragraph: the lower quartile of all, since those of paragraphs are larger."""
    distances = [above.y - below.y for above, below in pairwise(lines) if above.page == below.page]
    downward = sorted(distance for distance in distances if distance > 0)
    return downward[len(downward) // 4] if downward else 0.0


def _kind(line: Line, levels: dict[float, int]) -> tuple[str, int]:
    if line.size in levels and not line.is_row and len(line.text) > 1:
        return "heading", levels[line.size]
    if line.is_row:
        return "row", 0
    if line.is_bold and reads_as_heading(line.text):
        return "heading", LOWEST_LEVEL
    return ("item" if LIST_ITEM.match(line.text) else "paragraph"), 0


def _starts_block(previous: Line, line: Line, usual_gap: float, widest: int) -> bool:
    """Whether a line begins a paragraph, list item or heading of its own."""
    ends_sentence = previous.text.endswith((".", "!", "?", ":"))
    if previous.page != line.page:
        return ends_sentence or not line.text[0].islower()
    if previous.size != line.size or LIST_ITEM.match(line.text):
        return True
    is_apart = not 0 <= previous.y - line.y <= _PARAGRAPH_GAP * usual_gap
    return is_apart or (ends_sentence and len(previous.text) < _SHORT_LINE * widest)


def _keeps_lines(previous: Line, line: Line, widest: int) -> bool:
    """Whether two lines belong to an address or a list without marks."""
    is_short = len(previous.text) < _SHORT_LINE * widest and not line.text[0].islower()
    return is_short and previous.size == line.size and not previous.is_row and not previous.is_bold


def _continued(text: str, line: str, words: frozenset[str]) -> str:
    """`text` continued by `line`. A hyphen at its end goes if the rest of the file writes the word without it."""
    if not text.endswith("-") or not line[0].islower():
        return f"{text} {line}"
    start, rest = text.rsplit(maxsplit=1)[-1], line.split(maxsplit=1)[0]
    with_hyphen = (start + rest).casefold().strip(".,;:!?")
    without_hyphen = (start[:-1] + rest).casefold().strip(".,;:!?")
    keeps_hyphen = with_hyphen in words and without_hyphen not in words
    return text + line if keeps_hyphen else text[:-1] + line
