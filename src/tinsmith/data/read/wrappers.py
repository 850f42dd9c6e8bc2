"""Find the records in JSON: one record, lists of them, or lists inside objects with a category, a context and so on."""

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from tinsmith.data.read.shapes import CONTEXT_KEYS, SYSTEM_KEYS, has_content, is_message, plain_name
from tinsmith.data.read.strict_json import Decoded, Fault, JsonReader, NotStrictJson

_USUAL_KEYS = ("conversations", "questions", "records", "data", "items", "examples", "rows")
_INHERITED = (*CONTEXT_KEYS, *SYSTEM_KEYS)
"""Fields of a wrapper that belong to each of its records, such as a SQuAD paragraph's text."""
_DEEPEST_WRAPPER = 8
_BESIDE = "lists beside the records, which do not look like conversations"
_WRAPPER_FIELD = "fields around the records"


@dataclass(frozen=True, slots=True)
class Wrapped:
    """One record as stored in its file."""

    value: Any
    category: str
    """Of the nearest wrapper that names one, else empty."""
    line: int


@dataclass(frozen=True, slots=True)
class _Outer:
    """What a record inherits from the wrappers around it."""

    category: str = ""
    fields: dict[str, str] = field(default_factory=dict)

    def within(self, wrapper: dict) -> "_Outer":
        own = {key: wrapper[key] for key in _INHERITED if isinstance(wrapper.get(key), str)}
        return _Outer(plain_name(wrapper.get("category")) or self.category, self.fields | own)

    def wrapped(self, value: Any, line: int) -> Wrapped:
        if self.fields and isinstance(value, dict):
            value = {**self.fields, **value}
        return Wrapped(value, self.category, line)


@dataclass(slots=True)
class Wrappers:
    """Takes records out of their wrappers, and counts what of the wrappers is not used."""

    is_record: Callable[[Any], bool]
    unused: Counter[tuple[str, str]] = field(default_factory=Counter)
    """Field and reason -> how often."""
    notes: list[str] = field(default_factory=list)

    def in_document(self, open_reader: Callable[[], JsonReader]) -> Iterator[Wrapped | Fault]:
        """Every record in a JSON document, in order, without ever holding more than one of them.

        Args:
            open_reader: Gives a reader at the start of the document. An object is read twice: first to see its keys.

        Raises:
            NotStrictJson: an error after which nothing more can be read.
        """
        reader = open_reader()
        first = reader.peek()
        outline, counts = _outline(reader) if first == "{" else ({}, {})
        keys = [] if self.is_record(outline) else self._record_lists(outline)
        if first == "{":
            reader.end()
            reader = open_reader()
        if first == "[":
            yield from self._elements(reader, _Outer())
        elif keys:
            self._note(outline, keys, counts)
            for key in reader.object():
                if key in keys and isinstance(outline[key], dict):
                    yield from self.in_value(reader.value(), _Outer().within(outline))
                elif key in keys:
                    yield from self._elements(reader, _Outer().within(outline))
                else:
                    reader.skip()
        else:
            decoded = reader.value()
            yield Wrapped(decoded.value, "", decoded.line)
        reader.end()

    def in_value(self, decoded: Decoded, outer: _Outer | None = None) -> Iterator[Wrapped]:
        """Every record inside a decoded value, in order."""
        outer = outer or _Outer()
        if self.is_record(decoded.value) or not isinstance(decoded.value, dict | list):
            yield outer.wrapped(decoded.value, decoded.line)
        else:
            yield from self._inside(decoded.value, outer, decoded.lines(), 0)

    def _inside(self, value: Any, outer: _Outer, line_of: Callable[[Any], int], depth: int) -> Iterator[Wrapped]:
        if self.is_record(value) or depth > _DEEPEST_WRAPPER:
            yield outer.wrapped(value, line_of(value))
        elif isinstance(value, list):
            for item in value:
                yield from self._inside(item, outer, line_of, depth + 1)
        elif isinstance(value, dict) and (keys := self._record_lists(value)):
            self._note(value, keys, {key: len(item) for key, item in value.items() if isinstance(item, list)})
            for key in keys:
                yield from self._inside(value[key], outer.within(value), line_of, depth + 1)
        else:
            yield outer.wrapped(value, line_of(value))

    def _elements(self, reader: JsonReader, outer: _Outer) -> Iterator[Wrapped | Fault]:
        """The records of the array that comes next. An array of messages is one record."""
        messages: list[Any] = []
        line = 0
        for number, _ in enumerate(reader.array()):
            try:
                decoded = reader.value()
            except NotStrictJson as error:
                if not error.can_go_on:
                    raise
                yield from error.faults
                continue
            if messages or (number == 0 and is_message(decoded.value)):
                line = line or decoded.line
                messages.append(decoded.value)
            else:
                yield from self.in_value(decoded, outer)
        if messages:
            yield outer.wrapped(messages, line)

    def _note(self, wrapper: dict, keys: list[str], counts: dict[str, int]) -> None:
        """Count what of a wrapper is not read. `keys` are read; `counts` are the lengths of its lists."""
        for key, value in wrapper.items():
            if key in keys or key in ("category", "count") or (key in _INHERITED and isinstance(value, str)):
                continue
            if _is_list_of_records(value):
                self.unused[key, _BESIDE] += counts[key]
            elif has_content(value):
                self.unused[key, _WRAPPER_FIELD] += 1
        count = wrapper.get("count")
        if len(keys) == 1 and isinstance(count, int) and count != counts.get(keys[0], count):
            self.notes.append(f"count says {count}, {keys[0]!r} holds {counts[keys[0]]} records")

    def _record_lists(self, wrapper: dict) -> list[str]:
        """The keys whose lists or objects hold the records: all that do, else a usual name, else the only list."""
        lists = [key for key, value in wrapper.items() if _is_list_of_records(value)]
        if with_records := [key for key, value in wrapper.items() if self._holds_records_inside(value, 0)]:
            return with_records
        if usual := [key for key in _USUAL_KEYS if key in lists]:
            return usual[:1]
        if wrapper.get("conversations") == []:
            return ["conversations"]
        return lists if len(lists) == 1 else []

    def _holds_records(self, value: Any, depth: int) -> bool:
        """Whether a value is a record, or holds one where the first is expected."""
        if self.is_record(value):
            return True
        if depth > _DEEPEST_WRAPPER or not value:
            return False
        if isinstance(value, list):
            return self._holds_records(value[0], depth + 1)
        return isinstance(value, dict) and any(self._holds_records_inside(one, depth + 1) for one in value.values())

    def _holds_records_inside(self, value: Any, depth: int) -> bool:
        """Whether a field of a wrapper is a list or an object that holds records."""
        if isinstance(value, dict):
            return not self.is_record(value) and self._holds_records(value, depth)
        return _is_list_of_records(value) and self._holds_records(value[0], depth)


def _outline(reader: JsonReader) -> tuple[dict[str, Any], dict[str, int]]:
    """The object that comes next, with only the first element of each list, and the lengths of the lists."""
    outline: dict[str, Any] = {}
    counts: dict[str, int] = {}
    faults: list[Fault] = []

    def value() -> Any:
        try:
            return reader.value().value
        except NotStrictJson as error:
            if not error.can_go_on:
                raise
            faults.extend(error.faults)

    for key in reader.object():
        if reader.peek() == "[":
            outline[key] = []
            counts[key] = 0
            for _ in reader.array():
                element = value()
                outline[key] = outline[key] or [element]
                counts[key] += 1
        else:
            outline[key] = value()
    if faults:
        raise NotStrictJson(faults)
    return outline, counts


def _is_list_of_records(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and isinstance(value[0], dict | list)
