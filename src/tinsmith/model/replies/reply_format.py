"""The JSON object that most training answers contain, and whether a reply has a valid one."""

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

_MIN_SHARE = 0.5
"""More than this share of the training answers must contain the object."""
_TIMES_EACH = 4
"""A key whose values occur at least this often on average takes them from a list; any other is free text."""


@dataclass(frozen=True, slots=True)
class ReplyFormat:
    """Keys of the object, and the values that its keys may have."""

    keys: tuple[str, ...]
    values: dict[str, tuple[str, ...]]
    """Key -> values as JSON, those inside lists one by one. Keys of free text are not in it."""

    def as_dict(self) -> dict[str, Any]:
        return {"keys": list(self.keys), "values": {key: list(values) for key, values in self.values.items()}}

    @classmethod
    def from_dict(cls, record: Mapping[str, Any]) -> "ReplyFormat":
        return cls(tuple(record["keys"]), {key: tuple(values) for key, values in record["values"].items()})

    def is_valid(self, text: str) -> bool:
        """Whether `text` has an object with exactly these keys, and values that training answers have for them."""
        block = json_block(text)
        if block is None or set(block) != set(self.keys):
            return False
        return all(set(_scalars(block[key])) <= set(values) for key, values in self.values.items())


def format_of(answers: Sequence[str]) -> ReplyFormat | None:
    """The format of the training answers; None if no keys are common to more than half of them."""
    blocks = [block for block in map(json_block, answers) if block]
    keys = Counter(tuple(sorted(block)) for block in blocks)
    most_common, count = keys.most_common(1)[0] if keys else ((), 0)
    if count <= _MIN_SHARE * len(answers):
        return None
    alike = [block for block in blocks if tuple(sorted(block)) == most_common]
    values = {}
    for key in most_common:
        counts = Counter(value for block in alike for value in _scalars(block[key]))
        if counts and len(counts) * _TIMES_EACH <= counts.total():
            values[key] = tuple(sorted(counts))
    return ReplyFormat(most_common, values)


def json_block(text: str) -> dict[str, Any] | None:
    """The last JSON object in `text` that is not inside another; None if there is none."""
    decoder, block, at = json.JSONDecoder(), None, 0
    while (start := text.find("{", at)) >= 0:
        try:
            value, at = decoder.raw_decode(text, start)
        except (ValueError, RecursionError):  # a brace that opens no object
            at = start + 1
        else:
            block = value
    return block


def _scalars(value: Any) -> Iterable[str]:
    """The value as JSON text, or each of a list's."""
    return [json.dumps(item, ensure_ascii=False) for item in (value if isinstance(value, list) else [value])]
