"""The JSON object that most training answers contain, and whether a reply has a valid one."""

import json
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
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


def format_of(answers: Callable[[], Iterable[str]]) -> ReplyFormat | None:
    """The format of the training answers; None if no keys are common to more than half of them.

    Args:
        answers: Reads the answers, at most twice, because there may be too many to hold.
    """
    keys: Counter[tuple[str, ...]] = Counter()
    total = 0
    for answer in answers():
        total += 1
        if block := json_block(answer):
            keys[tuple(sorted(block))] += 1
    most_common, count = keys.most_common(1)[0] if keys else ((), 0)
    if count <= _MIN_SHARE * total:
        return None
    counts: dict[str, Counter[str]] = {key: Counter() for key in most_common}
    for block in map(json_block, answers()):
        if block and tuple(sorted(block)) == most_common:
            for key in most_common:
                counts[key].update(_scalars(block[key]))
    listed = {key: of_key for key, of_key in counts.items() if of_key and len(of_key) * _TIMES_EACH <= of_key.total()}
    return ReplyFormat(most_common, {key: tuple(sorted(of_key)) for key, of_key in listed.items()})


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
