"""A rule gives all numbers whose ids match a pattern. Stages record by rules, and checks repeat them.

A stage writes its raw files first and then calls `record`. `tinsmith card RUN --check` calls `derive` on the same files
and compares. So each number has one formula, and it depends on nothing but the raw files and the run's seed.
"""

import math
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Protocol

from tinsmith.core.errors import ArtifactError, GateError
from tinsmith.core.measure import Gate, Measurement, Recorder
from tinsmith.derive.files import Files

Fields = dict[str, str]
"""Placeholder of a pattern -> its text in an id."""


@dataclass(frozen=True, slots=True)
class Derived:
    """One number as its raw files give it; the fields are those of `Measurement`."""

    value: float
    unit: str
    count: int
    count_of: str
    spread: dict[str, float] = field(default_factory=dict)
    gate: Gate = field(default_factory=Gate)


class Function(Protocol):
    """Derives a number from files."""

    __module__: str
    __qualname__: str

    def __call__(self, *args: Any, **fields: Any) -> Derived | None: ...


@dataclass(frozen=True)
class Rule:
    """Says which raw file has the numbers of an id pattern, and which function derives them."""

    id: str
    """Pattern such as `evaluate.loss.{split}.{model}`. A placeholder stands for one part of an id; one that ends in
    `*`, such as `{category*}`, for any text."""
    raw: str
    """Run-relative path of the raw file, with placeholders of `id`."""
    function: Function
    """`function(files, **fields)`; None if the files give no such number."""
    each: Callable[[Files], Iterable[Fields]] | None = None
    """The fields of every number that the files may give. Without it, one number if the raw file exists."""
    hint: str | Callable[[Files], str] = ""
    """What to do if the gate fails."""

    @cached_property
    def _expression(self) -> re.Pattern:
        parts = re.split(r"(\{\w+\*?\})", self.id)
        return re.compile("".join(_group(part) if part.startswith("{") else re.escape(part) for part in parts))

    def fields(self, id: str) -> Fields | None:
        """The placeholders' texts in `id`; None if the rule is for other ids."""
        match = self._expression.fullmatch(id)
        return match.groupdict() if match else None

    def all_fields(self, files: Files) -> Iterable[Fields]:
        """The fields of every number that the files may give."""
        if self.each is None:
            return [{}] if files.has(self.raw) else []
        return self.each(files)

    def measure(self, files: Files, fields: Fields) -> Measurement | None:
        """The measurement that the files give; None if they give none.

        Raises:
            ArtifactError: a raw file is missing, or lacks what the number is derived from.
            GateError: a number with a gate is not finite.
        """
        id, raw = (_filled(pattern, fields) for pattern in (self.id, self.raw))
        try:
            derived = self.function(files, **fields)
        except (KeyError, TypeError, ValueError, IndexError, AttributeError, ZeroDivisionError) as error:
            raise ArtifactError(
                f"{raw}: {id} cannot be derived ({type(error).__name__}: {error})",
                f"Restore the file from a copy, or run again: tinsmith run --from {raw.partition('/')[0]} --force",
            ) from error
        if derived is None:
            return None
        if derived.gate and not math.isfinite(derived.value):
            required = f"{derived.gate['op']} {derived.gate['bound']:g} {derived.unit}"
            raise GateError(f"{id}: measured {derived.value}, required {required}", self.hint_for(files))
        return Measurement(id, method=self.method, raw=raw, **_values(derived))

    def hint_for(self, files: Files) -> str:
        """What to do if the gate fails on these files."""
        return self.hint if isinstance(self.hint, str) else self.hint(files)

    @property
    def method(self) -> str:
        """Dotted name of the function."""
        return f"{self.function.__module__}.{self.function.__qualname__}"


def _group(placeholder: str) -> str:
    name = placeholder.strip("{}")
    return f"(?P<{name[:-1]}>.+)" if name.endswith("*") else f"(?P<{name}>[^.]+)"


def _filled(pattern: str, fields: Fields) -> str:
    """`pattern` with its placeholders replaced; their texts may contain braces."""
    return re.sub(r"\{(\w+)\*?\}", lambda match: fields[match[1]], pattern)


def _values(derived: Derived) -> dict[str, Any]:
    """Fields of `derived`, with JSON's numbers as the recorder stores them."""
    return {
        "value": float(derived.value),
        "unit": derived.unit,
        "count": int(derived.count),
        "count_of": derived.count_of,
        "spread": derived.spread,
        "gate": derived.gate,
    }


def derive(rules: Sequence[Rule], files: Files) -> Iterator[Measurement]:
    """Every measurement that the files give, in the order of the rules.

    Raises:
        ArtifactError: a raw file is missing or broken.
    """
    for rule in rules:
        for fields in rule.all_fields(files):
            measurement = rule.measure(files, fields)
            if measurement is not None:
                yield measurement


def record(recorder: Recorder, rules: Sequence[Rule], files: Files, prefix: str = "", hint: str = "") -> None:
    """Record every measurement that the files give, and stop at the first gate that fails.

    Args:
        recorder: Of the stage.
        rules: The stage's.
        files: Its raw files.
        prefix: Record only ids that start with this.
        hint: What to do if a gate fails, in place of the rule's own words.

    Raises:
        GateError: a gate fails.
    """
    for rule in rules:
        if not (rule.id.startswith(prefix) or prefix.startswith(rule.id.partition("{")[0])):
            continue
        for measurement in derive((rule,), files):
            if measurement.id.startswith(prefix):
                recorder.take(measurement, hint or rule.hint_for(files))
