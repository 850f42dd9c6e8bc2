"""Read a chat that WhatsApp exported as text, cut into conversations where nobody wrote for a while."""

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from tinsmith.core.config_file import toml_value
from tinsmith.core.field_map import FieldMap
from tinsmith.data.read.record import Item, Note, Piece, Problem, Record, Unusable, Unused
from tinsmith.data.read.source import open_text

PAUSE = timedelta(hours=8)
"""After this, the next message from somebody who asks starts a new conversation."""
_MARKS = dict.fromkeys(map(ord, "\u200e\u200f\u202a\u202b\u202c\ufeff")) | {0x202F: " ", 0xA0: " "}
"""Invisible marks that the export puts around dates and names."""
_START = re.compile(
    r"\[?(\d{1,4})[./-](\d{1,2})[./-](\d{1,4}),?[ ]+(\d{1,2})[:.](\d{2})(?:[:.](\d{2}))?[ ]*([ap]\.?[ ]?m\.?)?\]?"
    r"(?:[ ]-[ ]|[ ]+|:[ ])",
    re.IGNORECASE,
)
_NAME = re.compile(r"([^:\n]{1,60}): ?")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]+")
"""Control characters, which `data.fields` cannot hold."""
_LEFT_OUT = re.compile(
    r"<[^<>\n]{1,40}>|(?:image|video|audio|document|sticker|GIF|Contact card) omitted|.{0,40}\(file attached\)"
    r"|<attached: [^<>\n]{1,80}>|(?:Bild|Video|Audio|Sticker|Dokument) weggelassen|.{0,60}\(Datei angehängt\)",
    re.IGNORECASE,
)
_NEEDED_STARTS = 2
_MAX_MESSAGE_CHARACTERS = 1_000_000


@dataclass(slots=True)
class _Entry:
    """A message as exported."""

    line: int
    date: tuple[int, int, int]
    """As written; `_Dates` says which is the day."""
    time: tuple[int, int, int]
    name: str
    """Empty for WhatsApp's own notices."""
    lines: list[str]
    size: int = 0
    """Characters in `lines`; lines past the limit are not kept."""

    @property
    def text(self) -> str:
        return "\n".join(self.lines)

    @property
    def is_too_long(self) -> bool:
        return self.size > _MAX_MESSAGE_CHARACTERS

    def add(self, line: str) -> None:
        """Append a line of the message."""
        self.size += len(line) + 1
        if not self.is_too_long:
            self.lines.append(line)


def looks_like_whatsapp(lines: Iterable[str]) -> bool:
    """Whether the first lines of a text are a chat."""
    starts = 0
    for index, line in enumerate(lines):
        match = _START.match(line.translate(_MARKS))
        if index == 0 and not match:
            return False
        starts += bool(match)
    return starts >= _NEEDED_STARTS


def read_whatsapp(piece: Piece, fields: FieldMap) -> Iterator[Item]:
    """The conversations of a chat, if `data.fields` names who answers."""
    names: Counter[str] = Counter()
    dates: list[tuple[int, int, int]] = []
    with open_text(piece, newline=None) as text:
        for entry in _entries(text):
            names[entry.name] += 1
            dates.append(entry.date)
    notices = names.pop("", 0)
    assistant = next((name for name in names if name.casefold() == fields.assistant.strip().casefold()), None)
    if assistant is None:
        yield _who_answers(piece, fields, names)
        return
    if notices:
        yield Unused(f"{piece.file}: notices", "WhatsApp's own notices", notices)
    order = _date_order(dates)
    if order is None:
        yield Note(piece.file, "dates may be day or month first; read as day first")
    with open_text(piece, newline=None) as text:
        yield from _conversations(piece, _entries(text), assistant, order or (2, 1, 0))


def _who_answers(piece: Piece, fields: FieldMap, names: Counter[str]) -> Problem:
    listed = ", ".join(f"{name!r} ({count})" for name, count in names.most_common(10)) or "nobody"
    likely = FieldMap(assistant=names.most_common(1)[0][0]) if names else FieldMap()
    asked = f"nobody is called {fields.assistant!r}" if fields.assistant else "a chat does not say who answers"
    line = f"fields = {toml_value(likely)}"
    return Problem(piece.file, 0, 0, f"{asked}; it is from {listed}. Say it in [data], such as: {line}")


def _entries(lines: Iterable[str]) -> Iterator[_Entry]:
    """The messages of a chat; a line without a date belongs to the one before."""
    entry: _Entry | None = None
    for number, raw in enumerate(lines, start=1):
        line = raw.rstrip("\n").translate(_MARKS)
        match = _START.match(line)
        time = _time(match) if match else None
        if match and time:
            if entry:
                yield entry
            rest = line[match.end() :]
            name = _NAME.match(rest)
            first, second, third = (int(part) for part in match.group(1, 2, 3))
            who = _CONTROL.sub(" ", name[1]).strip().lstrip("~ ") if name else ""
            entry = _Entry(number, (first, second, third), time, who, [])
            entry.add(rest[name.end() :] if name else rest)
        elif entry:
            entry.add(line)
    if entry:
        yield entry


def _time(match: re.Match[str]) -> tuple[int, int, int] | None:
    hour, minute, second = (int(part or 0) for part in match.group(4, 5, 6))
    half = (match[7] or "").lower()[:1]
    if half and 1 <= hour <= 12:
        hour = hour % 12 + (12 if half == "p" else 0)
    return (hour, minute, second) if hour < 24 and minute < 60 and second < 60 else None


def _date_order(dates: list[tuple[int, int, int]]) -> tuple[int, int, int] | None:
    """Where year, month and day are in the dates; None if day and month could be either."""
    if all(date[0] > 31 for date in dates):
        return 0, 1, 2
    if any(date[0] > 12 for date in dates):
        return 2, 1, 0
    if any(date[1] > 12 for date in dates):
        return 2, 0, 1
    return None


def _conversations(
    piece: Piece, entries: Iterator[_Entry], assistant: str, order: tuple[int, int, int]
) -> Iterator[Item]:
    unasked = 0
    for part in _parts(entries, assistant, order):
        # What the shop writes first, such as an offer, answers nothing.
        asked = next((index for index, entry in enumerate(part) if entry.name != assistant), len(part))
        unasked += asked
        if asked < len(part):
            yield _record(piece, part[asked:], assistant)
    if unasked:
        yield Unused(f"{piece.file}: messages", "messages of the one who answers, before anybody asked", unasked)


def _parts(entries: Iterator[_Entry], assistant: str, order: tuple[int, int, int]) -> Iterator[list[_Entry]]:
    """The messages of people, cut before a question that comes after a pause."""
    part: list[_Entry] = []
    last: datetime | None = None
    for entry in entries:
        if not entry.name:
            continue
        now = _moment(entry, order)
        if part and last and now and now - last >= PAUSE and entry.name != assistant:
            yield part
            part = []
        part.append(entry)
        last = now or last
    if part:
        yield part


def _moment(entry: _Entry, order: tuple[int, int, int]) -> datetime | None:
    year, month, day = (entry.date[index] for index in order)
    try:
        return datetime(year + 2000 if year < 100 else year, month, day, *entry.time, tzinfo=UTC)
    except ValueError:
        return None


def _record(piece: Piece, entries: list[_Entry], assistant: str) -> Record:
    position = f"line {entries[0].line}"
    for entry in entries:
        if entry.is_too_long:
            reason = Unusable("a message of more than a million characters", f"line {entry.line}")
            return Record(piece.file, position, reason, "")
        if _LEFT_OUT.fullmatch(entry.text.strip()):
            reason = Unusable("a picture or other file that the chat's export leaves out", f"line {entry.line}")
            return Record(piece.file, position, reason, "")
    messages = [
        {"role": "assistant" if entry.name == assistant else "user", "content": entry.text} for entry in entries
    ]
    return Record(piece.file, position, {"messages": messages}, "")
