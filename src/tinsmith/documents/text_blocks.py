"""Markdown and plain text as blocks."""

import re
from typing import Any

from tinsmith.documents.blocks import Block, Document, clean, iso_date, one_line, public_url
from tinsmith.documents.html_blocks import LOWEST_LEVEL, html_document

_FRONT_MATTER = re.compile(r"\A---[ \t]*\n(.{0,20000}?)\n(?:---|\.\.\.)[ \t]*(?:\n|\Z)", re.DOTALL)
_UNDERLINE = re.compile(r"([=\-~*_])\1{2,}")
LIST_ITEM = re.compile(r"[ \t]*(?:[-*•–‣▪]|\d{1,3}[.)]|[a-z]\))[ \t]+")
_MAX_HEADING_CHARACTERS = 60
_WRAPPED_CHARACTERS = 50
"""Lines at least this long, but for the last, are a paragraph that was wrapped; shorter ones are kept as they are."""


def markdown_document(text: str) -> Document:
    """The blocks of a Markdown file; `title`, `url` and `date` of its YAML front matter are taken over."""
    from markdown_it import MarkdownIt

    front_matter, text = _split_front_matter(text)
    document = html_document(MarkdownIt("commonmark", {"html": True}).enable("table").render(text))
    document.title = one_line(clean(str(front_matter.get("title") or ""))) or document.title
    document.url = public_url(front_matter.get("url") or "") or document.url
    document.date = iso_date(front_matter.get("date") or "") or document.date
    return document


def plain_document(text: str) -> Document:
    """The blocks of a plain text. A heading is underlined, or a short line of its own that ends no sentence."""
    document = Document()
    paragraphs = [p.strip("\n") for p in re.split(r"\n[ \t]*\n", clean(text).replace("\t", " ")) if p.strip()]
    for index, paragraph in enumerate(paragraphs):
        lines = [line for line in paragraph.split("\n") if line.strip()]
        if len(lines) > 1 and _UNDERLINE.fullmatch(lines[1].strip()):
            level = 1 if lines[1].strip()[0] == "=" else 2
            document.blocks.append(Block("heading", one_line(lines[0]), level))
            lines = lines[2:]
        elif len(lines) == 1 and _UNDERLINE.fullmatch(lines[0].strip()):
            continue
        elif len(lines) == 1 and index + 1 < len(paragraphs) and _reads_as_heading(lines[0].strip()):
            document.blocks.append(Block("heading", one_line(lines[0]), LOWEST_LEVEL))
            continue
        document.blocks += _blocks_of_lines(lines)
    return document


def _split_front_matter(text: str) -> tuple[dict[str, Any], str]:
    """`(values, text below)` of a file that starts with YAML between `---` lines. What is not YAML stays text."""
    import yaml

    match = _FRONT_MATTER.match(text.replace("\r\n", "\n"))
    if not match:
        return {}, text
    try:
        values = yaml.safe_load(match[1])
    except yaml.YAMLError:
        return {}, text
    if not isinstance(values, dict):
        return {}, text
    plain = {key: value for key, value in values.items() if not isinstance(value, dict | list)}
    return plain, text.replace("\r\n", "\n")[match.end() :]


def _reads_as_heading(line: str) -> bool:
    is_short = len(line) <= _MAX_HEADING_CHARACTERS and not line.endswith((".", "!", ",", ";", ":"))
    return is_short and not LIST_ITEM.match(line) and (line[0].isupper() or line[0].isdigit())


def _blocks_of_lines(lines: list[str]) -> list[Block]:
    """A paragraph, with its list items apart. Lines that were wrapped are joined."""
    blocks: list[Block] = []
    open_lines: list[str] = []
    for line in [*lines, None]:
        if open_lines and (line is None or LIST_ITEM.match(line)):
            kind = "item" if LIST_ITEM.match(open_lines[0]) else "paragraph"
            is_wrapped = kind == "item" or all(len(part) >= _WRAPPED_CHARACTERS for part in open_lines[:-1])
            parts = [one_line(part) for part in open_lines]
            blocks.append(Block(kind, (" " if is_wrapped else "\n").join(parts)))
            open_lines = []
        if line is not None:
            open_lines.append(line)
    return blocks
