"""Parse JSON strictly: report duplicate keys and NaN with line and column, and record the line of every object."""

import json
import re
from dataclasses import dataclass
from typing import Any

_TOKEN = re.compile(r'("[^"\\]*(?:\\.[^"\\]*)*")(\s*:)?|[{}\[\]\n]|-?Infinity|NaN')


@dataclass(frozen=True, slots=True)
class Problem:
    """An error in a JSON text. `line` and `column` count from 1."""

    line: int
    column: int
    text: str


class NotStrictJson(Exception):
    """A JSON text has errors.

    Args:
        problems: At least one.
        is_extra_data: Whether the text is one whole JSON value followed by something else.
    """

    def __init__(self, problems: list[Problem], is_extra_data: bool = False) -> None:
        super().__init__(problems[0].text)
        self.problems = problems
        self.is_extra_data = is_extra_data


@dataclass(frozen=True, slots=True)
class Parsed:
    """A JSON value and the line each of its objects starts on."""

    value: Any
    lines: dict[int, int]
    """`id(object)` -> line; the ids stay valid while `value` is alive. Empty unless asked for."""

    def line_of(self, value: Any) -> int | None:
        """The line `value` starts on: its own if it is an object, else that of the first object in the list."""
        while isinstance(value, list) and value:
            value = value[0]
        return self.lines.get(id(value))


def parse(text: str, with_lines: bool = False) -> Parsed:
    """The value of a JSON text.

    Raises:
        NotStrictJson: not JSON, nested too deeply, or JSON with duplicate keys, NaN or Infinity.
    """
    objects: list[dict] = []
    suspicious = []

    def build_object(pairs: list[tuple[str, Any]]) -> dict:
        mapping = dict(pairs)
        if len(mapping) != len(pairs):
            suspicious.append("duplicate key")
        objects.append(mapping)
        return mapping

    try:
        value = json.loads(text, object_pairs_hook=build_object, parse_constant=suspicious.append)
    except json.JSONDecodeError as error:
        rest = repr(text[error.pos : error.pos + 20]) if error.pos < len(text) else "the end of the text"
        problem = Problem(error.lineno, error.colno, f"not JSON: {error.msg}, found {rest}")
        raise NotStrictJson([problem], is_extra_data=error.msg.startswith("Extra data")) from error
    except RecursionError as error:
        raise NotStrictJson([Problem(1, 1, "not usable: lists or objects nested too deeply")]) from error
    except ValueError as error:
        # Python refuses integers of more than 4300 digits with a plain ValueError.
        raise NotStrictJson([Problem(1, 1, f"not usable: {error}")]) from error
    if not (suspicious or with_lines):
        return Parsed(value, {})
    starts, problems = _scan(text)
    if problems:
        raise NotStrictJson(problems)
    return Parsed(value, {id(value): line for value, line in zip(objects, starts, strict=True)})


def _scan(text: str) -> tuple[list[int], list[Problem]]:
    """The line on which each object of a valid JSON text starts, in the order they end, and the text's errors."""
    starts: list[int] = []
    problems: list[Problem] = []
    open_values: list[tuple[int, dict[str, int]]] = []
    line, line_start = 1, 0
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
                problems.append(Problem(line, column, f"key {key!r} again, first on line {keys[key]}"))
            keys.setdefault(key, line)
        elif not match.group(1) and token != "\n":
            problems.append(Problem(line, column, f"{token} is not a JSON value"))
        newlines = token.count("\n")
        if newlines:
            line += newlines
            line_start = match.start() + token.rindex("\n") + 1
    return starts, problems
