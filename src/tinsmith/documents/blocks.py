"""Blocks of text, which every document format is read into, and how they are cut into sections."""

import re
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from itertools import pairwise

MAX_SECTION_CHARACTERS = 900
"""Longest section. A sentence or table row longer than this is cut between words."""
_SHORT_REST = MAX_SECTION_CHARACTERS // 5
"""A shorter last part stays with the one before it."""
_SENTENCE_END = re.compile(r"[.!?…][\"'”’)\]]*\s+(?=[^a-z])|[。！？]")
_HIDDEN = dict.fromkeys(map(ord, "\u00ad\u200b\u200c\u200d\u2060\ufeff"))
PATH_SEPARATOR = " > "


@dataclass(frozen=True, slots=True)
class Block:
    """A heading, paragraph, list item or table row, in reading order."""

    kind: str
    """`heading`, `paragraph`, `item` or `row`."""
    text: str
    """Without surrounding whitespace. An empty heading only closes the headings of its level and below."""
    level: int = 0
    """Of a heading: 1 is the highest."""
    place: str = ""
    """Such as `page 3`; empty where headings say enough."""
    anchor: str = ""
    """Of a heading: its fragment in the page's address."""
    header: str = ""
    """Of a row: the table's header row, repeated where a table is cut."""
    term: str = ""
    """What the block explains, in a list of terms and explanations (`<dl>`)."""


@dataclass(slots=True)
class Document:
    """Contents of one file."""

    blocks: list[Block] = field(default_factory=list)
    title: str = ""
    url: str = ""
    date: str = ""
    notes: dict[str, str] = field(default_factory=dict)
    """Parts that are not used -> how many, such as `pages without text` -> `2 (3, 7)`."""
    questions: list[tuple[str, str]] = field(default_factory=list)
    """Questions and answers that a page states as data for search engines (schema.org's FAQPage)."""


@dataclass(frozen=True, slots=True)
class Section:
    """Text below one heading, or a part of it if it is long."""

    headings: tuple[str, ...]
    """From the outermost to its own; empty if the document has neither headings nor a title."""
    text: str
    place: str
    anchor: str


def clean(text: str) -> str:
    """`text` in Unicode's composed form, without control and zero-width characters."""
    text = unicodedata.normalize("NFC", text).translate(_HIDDEN)
    return "".join(c for c in text if c in "\n\t" or unicodedata.category(c) != "Cc")


def one_line(text: str) -> str:
    """`text` with every run of whitespace as one space."""
    return " ".join(text.split())


def public_url(value: object) -> str:
    """`value` if it is an address on the web, else empty."""
    text = str(value).strip()
    return text if re.fullmatch(r"https?://[^\s<>\"]{1,2000}", text) else ""


def iso_date(value: object) -> str:
    """A date or the date at the start of a text, as `2026-03-01`; empty if there is none."""
    if isinstance(value, date):
        return (value.date() if isinstance(value, datetime) else value).isoformat()
    try:
        return date.fromisoformat(str(value).strip()[:10]).isoformat()
    except ValueError:
        return ""


def sections_of(document: Document) -> Iterator[Section]:
    """Sections of a document in reading order. Headings without text of their own make none.

    The document's title stands above its headings, unless a single one of them stands above all the others.
    """
    levels = [block.level for block in document.blocks if block.kind == "heading" and block.text]
    has_root = levels.count(min(levels, default=0)) == 1
    above = (document.title,) if document.title and not has_root else ()
    path: list[tuple[int, str]] = []
    anchor = ""
    body: list[Block] = []
    for block in (*document.blocks, Block("heading", "", 1)):
        if block.kind != "heading":
            body.append(block)
            continue
        headings = (*above, *(text for _, text in path)) or ((document.title,) if document.title else ())
        for parts in _groups(body):
            yield Section(headings, _joined(parts), parts[0].block.place, anchor)
        body = []
        path = [(level, text) for level, text in path if level < block.level]
        if block.text:
            path.append((block.level, block.text))
        anchor = block.anchor


def text_of_blocks(blocks: Sequence[Block]) -> str:
    """The blocks as one text: list items and rows on lines of their own, everything else in paragraphs."""
    texts = [block.text for block in blocks]
    for index, (previous, block) in enumerate(pairwise(blocks), start=1):
        is_same_list = previous.kind == block.kind and block.kind in ("item", "row")
        texts[index] = ("\n" if is_same_list else "\n\n") + texts[index]
    return "".join(texts)


@dataclass(frozen=True, slots=True)
class _Part:
    """A block, or a sentence of a block that is too long for one section."""

    text: str
    block: Block
    joint: str
    """What stands between the part before and this one."""


def _groups(blocks: Sequence[Block]) -> list[list[_Part]]:
    """Parts of `blocks` in groups of at most `MAX_SECTION_CHARACTERS`; a short rest joins the group before it."""
    groups: list[list[_Part]] = []
    size = 0
    for part in _parts(blocks):
        size += len(part.joint) + len(part.text)
        if not groups or size > MAX_SECTION_CHARACTERS:
            groups.append([])
            size = len(part.text) + len(part.block.header)
        groups[-1].append(part)
    if len(groups) > 1 and sum(len(part.text) for part in groups[-1]) < _SHORT_REST:
        groups[-2:] = [groups[-2] + groups[-1]]
    return groups


def _parts(blocks: Sequence[Block]) -> Iterator[_Part]:
    previous = None
    for block in blocks:
        is_same_list = previous is not None and previous.kind == block.kind and block.kind in ("item", "row")
        joint = "\n" if is_same_list else "\n\n"
        for text in _sentences(block):
            yield _Part(text, block, joint)
            joint = " "
        previous = block


def _joined(parts: Sequence[_Part]) -> str:
    first = parts[0]
    is_continued_table = first.block.header and first.text != first.block.header
    text = f"{first.block.header}\n{first.text}" if is_continued_table else first.text
    return text + "".join(part.joint + part.text for part in parts[1:])


def _sentences(block: Block) -> list[str]:
    """The text of a block, in sentences if it is too long for one section, and those between words if need be."""
    text, limit = block.text, max(MAX_SECTION_CHARACTERS - len(block.header), MAX_SECTION_CHARACTERS // 2)
    if len(text) <= limit:
        return [text]
    ends = [0, *(match.end() for match in _SENTENCE_END.finditer(text)), len(text)]
    sentences = []
    for start, end in pairwise(ends):
        at = start
        while end - at > limit:
            space = text.rfind(" ", at + limit // 2, at + limit)
            cut = space if space > 0 else at + limit
            sentences.append(text[at:cut].strip())
            at = cut
        sentences.append(text[at:end].strip())
    return [sentence for sentence in sentences if sentence]
