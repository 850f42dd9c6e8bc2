"""Passages: pieces of the owner's words that can be shown as an answer, and their storage between stages."""

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Source:
    """Where a passage stands, as a visitor may be told."""

    name: str
    """File, relative to the data or document folder."""
    place: str
    """`line 12` of a file of conversations, `page 3` of a PDF, else the headings above the passage."""
    url: str = ""
    """Public address that the document states of itself; empty if it states none."""
    date: str = ""
    """Date that the document states of itself, as ISO 8601; empty if it states none."""


@dataclass(frozen=True, slots=True)
class Passage:
    """An answer of the conversations, or a section of a document."""

    id: str
    """Id of the conversation, or file and headings; unique in a set, and the same in every run."""
    kind: str
    """`answer` or `document`."""
    title: str
    """The first question it answers, or its headings, such as `Returns > Refunds`."""
    text: str
    """The owner's words."""
    source: Source
    questions: tuple[str, ...] = ()
    """All questions that this answer was given to; empty for a document."""
    category: str = ""
    wordings: tuple[str, ...] = ()
    """Other ways to ask what it answers. Only the search uses them."""


def write_passages(path: Path, passages: Iterable[Passage]) -> None:
    """Store passages, one JSON object per line."""
    lines = (json.dumps(asdict(passage), ensure_ascii=False) + "\n" for passage in passages)
    path.write_text("".join(lines), encoding="utf-8")


def read_passages(path: Path) -> list[Passage]:
    """Passages written by `write_passages`, in order."""
    passages = []
    for line in path.read_text(encoding="utf-8").split("\n")[:-1]:
        record = json.loads(line)
        record["source"] = Source(**record["source"])
        record |= {name: tuple(record[name]) for name in ("questions", "wordings")}
        passages.append(Passage(**record))
    return passages
