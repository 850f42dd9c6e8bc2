"""Read the questions and answers on pages and in documents: Markdown, HTML, text, DOCX and PDF."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import PurePosixPath

from tinsmith.core.field_map import FieldMap
from tinsmith.data.read.record import Item, Piece, Problem, Record, Unused
from tinsmith.documents.blocks import Block, text_of_blocks
from tinsmith.documents.reader_process import DocumentReader
from tinsmith.documents.unreadable import Unreadable

_MARKS = ("?", "？", "؟", "\u037e")
_QUESTION_LABEL = re.compile(r"(?:Q|F|P|Question|Frage|Pregunta|Domanda)\s{0,3}\d{0,4}\s{0,3}:\s*", re.IGNORECASE)
_ANSWER_LABEL = re.compile(r"(?:A|R|Answer|Antwort|Respuesta|Réponse|Risposta)\s{0,3}\d{0,4}\s{0,3}:\s*", re.IGNORECASE)
_NO_HEADING = 100
"""Level of a question that is no heading, below all headings."""
_NOT_QUESTIONS = "sections that answer no question; data.documents takes whole documents"


@dataclass(slots=True)
class _Entry:
    """A question, and the blocks below it."""

    question: str
    level: int
    blocks: list[Block] = field(default_factory=list)

    @property
    def answer(self) -> str:
        return _ANSWER_LABEL.sub("", text_of_blocks(self.blocks), count=1)


def read_page(piece: Piece, fields: FieldMap) -> Iterator[Item]:
    """Each question on a page with its answer.

    A question is a heading that ends in a question mark, the line of a `<details>`, a term of a `<dl>`, a line that
    starts with `Q:`, or an entry of schema.org's FAQPage.
    """
    try:
        with DocumentReader() as reader:
            document = reader.read(piece.path, _ending(piece))
    except Unreadable as error:
        yield Problem(piece.file, 0, 0, str(error))
        return
    questions = _Questions()
    for block in document.blocks:
        questions.add(block)
    questions.close()
    shown = {_key(question) for question, _ in questions.pairs}
    pairs = [*questions.pairs, *((q, a) for q, a in document.questions if _key(q) not in shown)]
    for number, (question, answer) in enumerate(pairs, start=1):
        yield Record(piece.file, f"question {number}", {"question": question, "answer": answer}, "")
    if not pairs:
        yield Unused(piece.file, "pages and documents without questions; data.documents takes them")
    elif questions.others:
        yield Unused(f"{piece.file}: sections", _NOT_QUESTIONS, questions.others)
    for part, count in document.notes.items():
        number = re.match(r"\d+", count)
        yield Unused(f"{piece.file}: {part}", "parts of documents", int(number[0]) if number else 1)


def _ending(piece: Piece) -> str:
    with piece.path.open("rb") as stream:
        head = stream.read(5)
    if head.startswith(b"PK\x03\x04"):
        return ".docx"
    return ".pdf" if head == b"%PDF-" else PurePosixPath(piece.file).suffix.lower()


def _key(question: str) -> str:
    return "".join(character for character in question.casefold() if character.isalnum())


class _Questions:
    """Follows the blocks of a document."""

    def __init__(self) -> None:
        self.pairs: list[tuple[str, str]] = []
        self.others = 0
        """Sections below headings that are no questions."""
        self._entry: _Entry | None = None
        self._is_other = False
        """Whether the text since the last heading has been counted in `others`."""

    def add(self, block: Block) -> None:
        """Take the next block."""
        if block.kind == "heading":
            self._add_heading(block)
        elif block.term:
            self._add_explanation(block)
        else:
            for line_block in _labelled(block):
                self._add_text(line_block)

    def close(self) -> None:
        """End the question that is open."""
        if self._entry and self._entry.answer.strip():
            self.pairs.append((self._entry.question, self._entry.answer))
        self._entry = None

    def _add_heading(self, block: Block) -> None:
        if not block.text:
            if self._entry and block.level <= self._entry.level:
                self.close()
        elif _asks(block.text) or (self._entry is None or block.level <= self._entry.level):
            self.close()
            self._is_other = False
            if _asks(block.text):
                self._entry = _Entry(_QUESTION_LABEL.sub("", block.text, count=1), block.level)
        else:
            self._entry.blocks.append(Block("paragraph", block.text))

    def _add_explanation(self, block: Block) -> None:
        text = block.text.removeprefix(f"{block.term}: ")
        if self._entry and self._entry.level == _NO_HEADING and self._entry.question == block.term:
            self._entry.blocks.append(Block("paragraph", text))
        elif _asks(block.term):
            self.close()
            self._entry = _Entry(block.term, _NO_HEADING, [Block("paragraph", text)])
        else:
            if self._entry and self._entry.level == _NO_HEADING:
                self.close()
            self._add_text(block)

    def _add_text(self, block: Block) -> None:
        question = _QUESTION_LABEL.match(block.text)
        if question and _asks(block.text):
            self.close()
            self._entry = _Entry(block.text[question.end() :], _NO_HEADING)
        elif self._entry:
            self._entry.blocks.append(block)
        elif not self._is_other:
            self._is_other = True
            self.others += 1


def _labelled(block: Block) -> Iterator[Block]:
    """A block, cut where a line starts with `Q:` or `A:`."""
    lines = block.text.split("\n")
    starts = [i for i, line in enumerate(lines) if i == 0 or _QUESTION_LABEL.match(line) or _ANSWER_LABEL.match(line)]
    if not any(_QUESTION_LABEL.match(lines[start]) for start in starts):
        yield block
        return
    for start, end in zip(starts, [*starts[1:], len(lines)], strict=True):
        yield Block("paragraph", "\n".join(lines[start:end]))


def _asks(text: str) -> bool:
    return text.rstrip("*_ ").endswith(_MARKS)
