"""Decode JSON strictly, one value at a time, from a text of any length.

Duplicate keys, NaN, too deep nesting and too long values are errors with their line and column. Only the value that is
being decoded is in memory, so that one line of gigabytes can be read.
"""

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

MAX_VALUE_CHARACTERS = 16_000_000
"""Longest record. A novel has about a million characters."""
MAX_DEPTH = 100
"""Lists and objects inside each other. Explicit, because Python's own limit differs from version to version."""
_CHUNK_CHARACTERS = 1 << 16
_LONGEST_TOKEN = 16
"""More than the longest word or escape that can be cut at the end of a chunk, such as `-Infinity`."""
_SHOWN_CHARACTERS = 20
_THE_END = "the end of the text"
_DEPTH = f"not usable: more than {MAX_DEPTH} lists or objects inside each other"
_NO_SPACE = re.compile(r"[^ \t\n\r]")
# A string that is not closed reaches to the end, so that broken texts too are scanned in linear time.
_TOKEN = re.compile(r'("[^"\\]*(?:\\.[^"\\]*)*(?:"|\\?\Z))(\s*:)?|[{}\[\]\n]|-?Infinity|NaN', re.DOTALL)


@dataclass(frozen=True, slots=True)
class Fault:
    """An error in a JSON text. `line` and `column` count from 1."""

    line: int
    column: int
    text: str


class NotStrictJson(Exception):
    """A JSON text has errors.

    Args:
        faults: At least one.
        can_go_on: Whether the text after the value can be decoded nevertheless.
    """

    def __init__(self, faults: list[Fault], can_go_on: bool = False) -> None:
        super().__init__(faults[0].text)
        self.faults = faults
        self.can_go_on = can_go_on


@dataclass(frozen=True, slots=True)
class Decoded:
    """A JSON value, its text, and the line it starts on."""

    value: Any
    text: str
    line: int

    def lines(self) -> Callable[[Any], int]:
        """A function from a list or object inside the value to the line it starts on."""
        if "\n" not in self.text:
            return lambda value: self.line
        objects: list[dict] = []

        def build_object(pairs: list[tuple[str, Any]]) -> dict:
            objects.append(dict(pairs))
            return objects[-1]

        copy = json.loads(self.text, object_pairs_hook=build_object)
        starts, _ = _scan(self.text, self.line)
        by_copy = {id(value): line for value, line in zip(objects, starts, strict=True)}
        by_id = {id(value): by_copy[id(twin)] for value, twin in _objects_of(self.value, copy)}

        def line_of(value: Any) -> int:
            while isinstance(value, list) and value:
                value = value[0]
            return by_id.get(id(value), self.line)

        return line_of


def _objects_of(value: Any, twin: Any) -> Iterator[tuple[dict, dict]]:
    """Every object in `value`, with the same object in `twin`."""
    pending = [(value, twin)]
    while pending:
        value, twin = pending.pop()
        if isinstance(value, dict):
            yield value, twin
            pending += zip(value.values(), twin.values(), strict=True)
        elif isinstance(value, list):
            pending += zip(value, twin, strict=True)


class JsonReader:
    """Decodes the values of a JSON text in order.

    Args:
        read: Gives at most as many characters as asked for; none at the end.
        line: Line that the text starts on.
        text: What comes before the first `read`; the whole text if there is no `read`.
    """

    def __init__(self, read: Callable[[int], str] | None, line: int = 1, text: str = "") -> None:
        self.line, self.column = line, 1
        self._read = read
        self._text, self._at = text, 0
        self._suspicious: list[str] = []
        self._decoder = json.JSONDecoder(object_pairs_hook=self._object, parse_constant=self._suspicious.append)

    def peek(self) -> str:
        """The next character that is no space; empty at the end."""
        while True:
            match = _NO_SPACE.search(self._text, self._at)
            self._advance(match.start() if match else len(self._text))
            if self._at < len(self._text):
                return self._text[self._at]
            if not self._fill():
                return ""

    def array(self) -> Iterator[None]:
        """Stops before each element of the array that comes next; the caller decodes it."""
        self._take("[")
        if self.peek() != "]":
            while True:
                yield
                if self.peek() != ",":
                    break
                self._take(",")
        self._take("]")

    def object(self) -> Iterator[str]:
        """Keys of the object that comes next; the caller decodes the value after each."""
        self._take("{")
        seen: dict[str, int] = {}
        if self.peek() != "}":
            while True:
                if self.peek() != '"':
                    raise self._error_ahead('expected a key in "quotes"')
                line, column = self.line, self.column
                key = self.value().value
                if key in seen:
                    raise NotStrictJson([Fault(line, column, f"key {key!r} again, first on line {seen[key]}")])
                seen[key] = line
                self.peek()
                self._take(":")
                yield key
                if self.peek() != ",":
                    break
                self._take(",")
        self._take("}")

    def skip(self) -> None:
        """Decode what comes next, a list element by element, and forget it."""
        if self.peek() == "[":
            for _ in self.array():
                self.value()
        else:
            self.value()

    def end(self) -> None:
        """Refuse anything but space.

        Raises:
            NotStrictJson: something follows.
        """
        if self.peek():
            raise self._error_ahead("Extra data")

    def value(self) -> Decoded:
        """The value that comes next.

        Raises:
            NotStrictJson: not JSON, too long, nested too deeply, or JSON with duplicate keys, NaN or Infinity.
        """
        self.peek()
        line, column = self.line, self.column
        while True:
            self._suspicious.clear()
            try:
                value, end = self._decoder.raw_decode(self._text, self._at)
            except json.JSONDecodeError as error:
                is_cut = error.pos > len(self._text) - _LONGEST_TOKEN or error.msg.startswith("Unterminated string")
                if not (is_cut and self._read):
                    raise self._syntax_error(error) from error
            except RecursionError as error:
                raise NotStrictJson([self._depth_fault(len(self._text)) or Fault(line, column, _DEPTH)]) from error
            except ValueError as error:
                # Python refuses integers of more than 4300 digits with a plain ValueError.
                raise NotStrictJson([Fault(line, column, f"not usable: {error}")]) from error
            else:
                # A number may go on after the end of what has been read, as `-2.5e` of -2.5e10 ends at -2.5.
                if end < len(self._text) - 2 or self._text[end - 1] in '"]}' or not self._read:
                    break
            self._fill()
        text = self._text[self._at : end]
        faults = self._faults(end)
        self._advance(end)
        if faults:
            raise NotStrictJson(faults, can_go_on=True)
        return Decoded(value, text, line)

    def _object(self, pairs: list[tuple[str, Any]]) -> dict:
        mapping = dict(pairs)
        if len(mapping) != len(pairs):
            self._suspicious.append("duplicate key")
        return mapping

    def _take(self, character: str) -> None:
        if self.peek() != character:
            raise self._error_ahead(f"expected {character!r}")
        self._advance(self._at + 1)

    def _error_ahead(self, problem: str) -> NotStrictJson:
        while len(self._text) < self._at + _SHOWN_CHARACTERS and self._fill():
            pass
        return self._error(self._at, problem)

    def _syntax_error(self, error: json.JSONDecodeError) -> NotStrictJson:
        deep = self._depth_fault(error.pos)
        return NotStrictJson([deep]) if deep else self._error(error.pos, error.msg)

    def _error(self, at: int, problem: str) -> NotStrictJson:
        rest = self._text[at : at + _SHOWN_CHARACTERS]
        line, column = self._place(at)
        return NotStrictJson([Fault(line, column, f"not JSON: {problem}, found {repr(rest) if rest else _THE_END}")])

    def _faults(self, end: int) -> list[Fault]:
        """Errors in the value up to `end`, which is JSON for Python."""
        if self._text.count("[", self._at, end) + self._text.count("{", self._at, end) > MAX_DEPTH:
            deep = self._depth_fault(end)
            if deep:
                return [deep]
        if not self._suspicious:
            return []
        _, faults = _scan(self._text[self._at : end], self.line)
        shift = self.column - 1
        return [Fault(f.line, f.column + (shift if f.line == self.line else 0), f.text) for f in faults]

    def _depth_fault(self, end: int) -> Fault | None:
        deep = _too_deep(self._text, self._at, end)
        return None if deep is None else Fault(*self._place(deep), _DEPTH)

    def _place(self, at: int) -> tuple[int, int]:
        """Line and column of an index at or after the current one."""
        newlines = self._text.count("\n", self._at, at)
        if newlines:
            return self.line + newlines, at - self._text.rindex("\n", self._at, at)
        return self.line, self.column + at - self._at

    def _advance(self, at: int) -> None:
        self.line, self.column = self._place(at)
        self._at = at

    def _fill(self) -> bool:
        """Read on, at least as much as is waiting, so that a long value is decoded again only a few times."""
        if not self._read:
            return False
        self._text, self._at = self._text[self._at :], 0
        if len(self._text) > MAX_VALUE_CHARACTERS:
            problem = f"not usable: a value of more than {MAX_VALUE_CHARACTERS // 10**6} million characters"
            raise NotStrictJson([Fault(self.line, self.column, problem)])
        more = self._read(max(_CHUNK_CHARACTERS, len(self._text)))
        self._text += more
        if not more:
            self._read = None
        return bool(more)


def decode(text: str, line: int = 1) -> Decoded:
    """The value of a text that is one JSON value.

    Raises:
        NotStrictJson: as `JsonReader.value`, or something follows the value.
    """
    reader = JsonReader(None, line, text)
    decoded = reader.value()
    reader.end()
    return decoded


def _too_deep(text: str, start: int, end: int) -> int | None:
    """Index of the first list or object that is nested too deeply, or None."""
    depth = 0
    for match in _TOKEN.finditer(text, start, end):
        token = match.group()
        if token in "{[":
            depth += 1
            if depth > MAX_DEPTH:
                return match.start()
        elif token in "}]":
            depth -= 1
    return None


def _scan(text: str, line: int) -> tuple[list[int], list[Fault]]:
    """The line on which each object of a valid JSON text starts, in the order they end, and the text's errors.

    `line` is the text's first line.
    """
    starts: list[int] = []
    faults: list[Fault] = []
    open_values: list[tuple[int, dict[str, int]]] = []
    line_start = 0
    for match in _TOKEN.finditer(text):
        token = match.group()
        column = match.start() - line_start + 1
        if token in "{[":
            open_values.append((line, {}))
        elif token in "}]":
            start, _ = open_values.pop()
            if token == "}":
                starts.append(start)
        elif match.group(2):
            key = json.loads(match.group(1))
            keys = open_values[-1][1]
            if key in keys:
                faults.append(Fault(line, column, f"key {key!r} again, first on line {keys[key]}"))
            keys.setdefault(key, line)
        elif not match.group(1) and token != "\n":
            faults.append(Fault(line, column, f"{token} is not a JSON value"))
        newlines = token.count("\n")
        if newlines:
            line += newlines
            line_start = match.start() + token.rindex("\n") + 1
    return starts, faults
