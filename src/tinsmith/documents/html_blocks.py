"""HTML as blocks: what a visitor would read, without scripts, navigation and hidden parts."""

import re
from html.parser import HTMLParser

from tinsmith.documents.blocks import Block, Document, clean, iso_date, one_line, public_url, text_of_blocks
from tinsmith.documents.html_tables import Table
from tinsmith.documents.linked_data import stated_questions
from tinsmith.documents.unreadable import Unreadable

_NEVER_CLOSED = frozenset("area base br col embed hr img input link meta param source track wbr".split())
_UNREAD = frozenset(
    "button canvas datalist dialog iframe math nav noscript object script select style svg template textarea".split()
)
_HEADINGS = {f"h{level}": level for level in range(1, 7)}
LOWEST_LEVEL = 7
"""Of headings that are no `<h1>` to `<h6>`: the line of a `<details>`, and a short paragraph in bold."""
_PARAGRAPHS = frozenset(
    "address article blockquote body caption center div dd dl dt fieldset figcaption figure form hr legend main p pre"
    " section title header footer aside details".split()
)
_MAX_DEPTH = 1000
"""Open elements. Pages have less than a hundred; the work for each tag grows with them."""
_BOLD = frozenset(("b", "strong"))
_MAX_BOLD_HEADING = 80
_DATES = frozenset(("date", "dcterms.modified", "dc.date", "article:modified_time", "article:published_time"))
_STYLE_HIDDEN = re.compile(r"display\s*:\s*none|visibility\s*:\s*hidden", re.IGNORECASE)


def html_document(text: str) -> Document:
    """The blocks of an HTML page or fragment, with the title, canonical address and date that it states.

    Raises:
        Unreadable: too many elements are inside each other.
    """
    reader = _Reader()
    reader.feed(text)
    reader.close()
    reader.finish()
    return reader.document


class _Reader(HTMLParser):
    """Follow the tags of a page. `open_tags` has every open element; a tag that closes none is ignored."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.document = Document()
        self._open_tags: list[str] = []
        self._unread_depth = 0
        """Depth of the outermost open element whose text is not read; 0 for none."""
        self._text: list[str] = []
        self._bold_characters = 0
        self._heading_anchor = ""
        self._lists: list[int] = []
        """Of each open list: the number of its next item; 0 without numbers."""
        self._mark = ""
        self._term = ""
        self._tables: list[Table] = []
        self._pictures = 0
        self._explained = ""
        """Term that the open `<dd>` explains."""
        self._linked_data: list[str] | None = None
        """Text of the open script with data for search engines."""

    def parse_marked_section(self, i: int, report: int = 1) -> int:
        """`<![if IE]>` and the like are comments, as in browsers. Some versions of Python fail on unknown ones."""
        return self.parse_bogus_comment(i, bool(report))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        attributes = {name: value or "" for name, value in attrs}
        if tag in ("meta", "link"):
            self._note_metadata(tag, attributes)
        if tag in _NEVER_CLOSED:
            self._handle_void(tag)
            return
        self._close_implied(tag)
        self._open_tags.append(tag)
        if len(self._open_tags) > _MAX_DEPTH:
            raise Unreadable(f"has more than {_MAX_DEPTH} elements inside each other; save it in a simpler form")
        if self._unread_depth:
            return
        if tag in _UNREAD or _is_hidden(attributes):
            self._unread_depth = len(self._open_tags)
            if tag == "script" and attributes.get("type", "").strip().lower() == "application/ld+json":
                self._linked_data = []
        elif tag in _HEADINGS or tag == "summary":
            self._flush()
            self._heading_anchor = attributes.get("id", "")
        elif tag in _PARAGRAPHS:
            self._flush()
            if tag == "footer":  # its text belongs to the page, not to the heading above it
                self._close_headings(1)
        elif tag in ("ul", "ol", "menu"):
            self._flush()
            start = attributes.get("start", "1")
            self._lists.append(0 if tag != "ol" else int(start) if re.fullmatch(r"\d{1,6}", start) else 1)
        elif tag == "li":
            self._start_item()
        elif tag in ("table", "tr", "td", "th"):
            self._start_table_part(tag, attributes)

    def handle_endtag(self, tag: str) -> None:
        if tag not in self._open_tags:
            return
        while self._open_tags:
            closed = self._open_tags[-1]
            self._end(closed)
            self._open_tags.pop()
            if closed == tag:
                break

    def handle_data(self, data: str) -> None:
        if self._linked_data is not None:
            self._linked_data.append(data)
        if self._unread_depth:
            return
        if self._open_tags and self._open_tags[-1] == "title":
            self.document.title = one_line(clean(data))
            return
        self._text.append(data if "pre" in self._open_tags else re.sub(r"\s+", " ", data))
        if not _BOLD.isdisjoint(self._open_tags):
            self._bold_characters += len("".join(data.split()))

    def finish(self) -> None:
        """Close what the page left open."""
        while self._open_tags:
            self._end(self._open_tags.pop())
        self._flush()
        if self._pictures:
            self.document.notes["pictures, whose text is not read"] = str(self._pictures)

    def _note_metadata(self, tag: str, attributes: dict[str, str]) -> None:
        document = self.document
        if tag == "link" and "canonical" in attributes.get("rel", "").lower().split():
            document.url = document.url or public_url(attributes.get("href", ""))
        name = (attributes.get("name") or attributes.get("property") or "").lower()
        if tag == "meta" and name in _DATES:
            document.date = max(document.date, iso_date(attributes.get("content", "")))

    def _handle_void(self, tag: str) -> None:
        if self._unread_depth:
            return
        if tag == "br":
            self._text.append("\n")
        elif tag == "hr":
            self._flush()
        elif tag == "img":
            self._pictures += 1

    def _close_implied(self, tag: str) -> None:
        """Close an element whose end tag may be left out before `tag`."""
        ended = {"li": {"li"}, "tr": {"tr", "td", "th"}, "td": {"td", "th"}, "dt": {"dt", "dd"}, "option": {"option"}}
        ended |= {"th": ended["td"], "dd": ended["dt"], "tbody": {"tr", "td", "th", "thead"}}
        closed = ended.get(tag, set()) | ({"p"} if tag in _PARAGRAPHS or tag in _HEADINGS or tag in ended else set())
        while self._open_tags and self._open_tags[-1] in closed:
            self._end(self._open_tags[-1])
            self._open_tags.pop()

    def _end(self, tag: str) -> None:
        """Handle the end of the innermost open element."""
        if self._unread_depth:
            if len(self._open_tags) == self._unread_depth:
                self._unread_depth = 0
                self._end_linked_data()
            return
        if tag in _HEADINGS or tag == "summary":
            self._end_heading(_HEADINGS.get(tag, LOWEST_LEVEL))
        elif tag == "dt" and not self._tables:
            self._term = ", ".join(filter(None, (self._term, one_line(self._taken_text()))))
        elif tag in _PARAGRAPHS or tag == "li":
            self._flush()
            if tag in ("dd", "dl"):
                self._explained = ""
            if tag == "details":
                self._close_headings(LOWEST_LEVEL)
            elif tag == "dl" and self._term:
                self._add(self._term)
                self._term = ""
        elif tag in ("ul", "ol", "menu"):
            self._flush()
            if self._lists:
                self._lists.pop()
        elif tag in ("table", "tr", "td", "th"):
            self._end_table_part(tag)

    def _end_linked_data(self) -> None:
        if self._linked_data is not None:
            for question, answer in stated_questions("".join(self._linked_data)):
                blocks = html_document(answer).blocks
                self.document.questions.append((one_line(clean(question)), text_of_blocks(blocks)))
            self._linked_data = None

    def _end_heading(self, level: int) -> None:
        text = one_line(self._taken_text())
        if self._tables or self._lists:
            self._add(text)
        elif text:
            self.document.blocks.append(Block("heading", text, level, anchor=self._heading_anchor))

    def _close_headings(self, level: int) -> None:
        self.document.blocks.append(Block("heading", "", level))

    def _start_item(self) -> None:
        self._flush()
        if not self._lists:
            self._lists.append(0)
        number = self._lists[-1]
        self._mark = "  " * (len(self._lists) - 1) + (f"{number}. " if number else "- ")
        if number:
            self._lists[-1] += 1

    def _start_table_part(self, tag: str, attributes: dict[str, str]) -> None:
        if tag == "table":
            self._flush()
            self._tables.append(Table())
        elif self._tables and tag == "tr":
            self._tables[-1].start_row()
        elif self._tables:
            self._tables[-1].start_cell(tag == "th", attributes)

    def _end_table_part(self, tag: str) -> None:
        if not self._tables:
            return
        self._flush()
        if tag in ("td", "th"):
            self._tables[-1].end_cell()
        elif tag == "table":
            table = self._tables.pop()
            for block in table.blocks():
                self._tables[-1].add(block.text) if self._tables else self.document.blocks.append(block)

    def _taken_text(self) -> str:
        """The text since the last block, and none from then on. Line breaks in `<pre>` and of `<br>` are kept."""
        text = clean("".join(self._text))
        self._text.clear()
        self._bold_characters = 0
        return text.strip()

    def _flush(self) -> None:
        """End the paragraph, item or cell text that is open."""
        bold_characters = self._bold_characters
        text = self._taken_text()
        is_bold = bold_characters == len("".join(text.split()))
        if "pre" not in self._open_tags:
            text = "\n".join(filter(None, map(one_line, text.split("\n"))))
        if not text:
            return
        if is_bold and not (self._tables or self._lists) and reads_as_heading(text):
            self.document.blocks.append(Block("heading", text, LOWEST_LEVEL))
            return
        self._add(text)

    def _add(self, text: str) -> None:
        if not text:
            return
        if self._tables:
            self._tables[-1].add(text)
        elif self._lists:
            indent = " " * len(self._mark) if self._mark else "  " * len(self._lists)
            shown = (self._mark or indent) + text.replace("\n", f"\n{indent}")
            self.document.blocks.append(Block("item", shown, term=self._explained))
            self._mark = ""
        else:
            term, self._term = self._term, ""
            self._explained = term or self._explained
            kind, shown = ("item", f"{term}: {text}") if term else ("paragraph", text)
            self.document.blocks.append(Block(kind, shown, term=self._explained))


def _is_hidden(attributes: dict[str, str]) -> bool:
    return (
        "hidden" in attributes
        or attributes.get("aria-hidden", "").lower() == "true"
        or attributes.get("role", "").lower() in ("navigation", "search", "menu", "dialog")
        or bool(_STYLE_HIDDEN.search(attributes.get("style", "")))
    )


def reads_as_heading(text: str) -> bool:
    """Whether a paragraph in bold is a heading: one short line that ends no sentence."""
    return len(text) <= _MAX_BOLD_HEADING and "\n" not in text and not text.endswith((".", "!", ",", ";"))
