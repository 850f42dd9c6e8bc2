"""Apply the owner's choice to private data in a conversation or passage: name it, mask it, or leave the record out."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from tinsmith.model.conversations import Conversation
from tinsmith.model.passages import Passage
from tinsmith.model.private.item import PrivateItem, described, shortened
from tinsmith.model.private.masks import Masks

Mode = Literal["warn", "mask", "drop"]


@dataclass(frozen=True, slots=True)
class Finding:
    """One private item of a record."""

    kind: str
    digest: str
    """Recognises the value; see `Masks.digest`."""
    place: str
    """`message 2`, `id`, `category`, `title`, `text`."""
    shown: str
    """The ends of the item."""

    @property
    def reason(self) -> str:
        """What is wrong with the record, the same text for every record with this kind of item."""
        return described(self.kind)

    @property
    def detail(self) -> str:
        """Where it stands, and enough of it to recognise it."""
        return f"{self.place}: {self.shown}"


@dataclass(frozen=True, slots=True)
class Protected:
    """A conversation after the owner's choice."""

    conversation: Conversation | None
    """None if it is left out."""
    findings: tuple[Finding, ...]


def protect(conversation: Conversation, mode: Mode, masks: Masks) -> Protected:
    """Look through every text of a conversation, and mask it or leave it out as `mode` says.

    The id and the category count as texts. The names of files stay as they are, so that the owner finds the places.
    """
    texts = {f"message {number}": message.content for number, message in enumerate(conversation.messages, start=1)}
    masked, findings = _masked({**texts, "id": conversation.id, "category": conversation.category}, masks)
    if not findings or mode == "warn":
        return Protected(conversation, findings)
    if mode == "drop":
        return Protected(None, findings)
    id, category, *contents = (masked.pop(name) for name in ("id", "category", *texts))
    messages = (replace(old, content=new) for old, new in zip(conversation.messages, contents, strict=True))
    return Protected(replace(conversation, id=id, category=category, messages=tuple(messages)), findings)


@dataclass(frozen=True, slots=True)
class ProtectedPassages:
    """Passages after the owner's choice."""

    passages: list[Passage]
    dropped: int
    findings: list[tuple[str, Finding]]
    """With the file that each stands in."""


def protect_passages(passages: Iterable[Passage], mode: Mode, masks: Masks) -> ProtectedPassages:
    """Passages of documents, each masked or left out as `mode` says. Names of files and links stay as they are."""
    kept: list[Passage] = []
    findings: list[tuple[str, Finding]] = []
    dropped = 0
    for passage in passages:
        texts = {"id": passage.id, "title": passage.title, "text": passage.text, "place": passage.source.place}
        masked, in_passage = _masked(texts, masks)
        findings += [(passage.source.name, finding) for finding in in_passage]
        if in_passage and mode == "drop":
            dropped += 1
        elif in_passage and mode == "mask":
            source = replace(passage.source, place=masked.pop("place"))
            kept.append(replace(passage, source=source, **masked))
        else:
            kept.append(passage)
    return ProtectedPassages(kept, dropped, findings)


def _masked(texts: dict[str, str], masks: Masks) -> tuple[dict[str, str], tuple[Finding, ...]]:
    """The texts of one record with masks, by name, and what the masks stand for.

    A number that words call a phone number in one text is hidden in the others too, where no words do.
    """
    items = {name: masks.items(text) for name, text in texts.items()}
    spellings = {texts[name][item.start : item.end]: item for name in items for item in items[name]}
    findings, masked = [], {}
    for name, text in texts.items():
        everywhere = [*items[name], *_repeated(text, spellings, items[name])] if spellings else []
        everywhere.sort(key=lambda item: item.start)
        masked[name] = masks.masked(text, everywhere)
        findings += [
            Finding(item.kind, masks.digest(item), name, shortened(text[item.start : item.end])) for item in everywhere
        ]
    return masked, tuple(findings)


def _repeated(text: str, spellings: dict[str, PrivateItem], items: Sequence[PrivateItem]) -> list[PrivateItem]:
    """Further places of the same spellings as whole words, where no item is yet."""
    free: list[PrivateItem] = []
    for spelling, item in spellings.items():
        for match in re.finditer(rf"(?<!\w){re.escape(spelling)}(?!\w)", text):
            if all(match.end() <= other.start or match.start() >= other.end for other in (*items, *free)):
                free.append(replace(item, start=match.start(), end=match.end()))
    return free


def warnings(findings: Sequence[tuple[str, Finding]], mode: Mode, shown: int = 3) -> list[str]:
    """One line for each kind, with counts, the first places and what became of them; the most frequent first.

    Args:
        findings: Each with the place of its record.
        mode: What became of them.
        shown: Places to name.
    """
    by_kind: dict[str, list[tuple[str, Finding]]] = {}
    for where, finding in findings:
        by_kind.setdefault(described(finding.kind), []).append((where, finding))
    done = {"warn": "kept", "mask": "masked", "drop": "left out with their records"}[mode]
    lines = []
    for what, of_kind in sorted(by_kind.items(), key=lambda item: (-len(item[1]), item[0])):
        values = len({finding.digest for _, finding in of_kind})
        places = "; ".join(f"{where}, {finding.detail}" for where, finding in of_kind[:shown])
        more = f"; and {len(of_kind) - shown} more" if len(of_kind) > shown else ""
        lines.append(f"{what}: {len(of_kind)} places, {values} different, {done} ({places}{more})")
    return lines
