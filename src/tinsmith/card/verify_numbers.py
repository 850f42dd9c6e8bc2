"""Verify measurements: derive each from its raw file again, and compare every part of it."""

import math
from collections.abc import Collection, Iterator, Mapping
from typing import Any

from tinsmith.core.measure import Measurement
from tinsmith.derive.files import Files
from tinsmith.derive.rules import derive
from tinsmith.derive.table import RULES

_RELATIVE_TOLERANCE = 1e-12
"""Allows for processors that round the last digits of a sum, a logarithm or a power otherwise, and for nothing else."""

_COMPARED = ("value", "unit", "count", "count_of", "spread", "method", "raw", "gate")


def wrong_numbers(
    measurements: Mapping[str, Measurement], stages: Collection[str], files: Files, left_out: Collection[str] = ()
) -> Iterator[str]:
    """Measurements that do not follow from their raw files, and numbers that the files give but the log lacks.

    Args:
        measurements: By id.
        stages: Finished ones.
        files: Where the raw files are.
        left_out: Raw files whose numbers are not derived, because they are not there.
    """
    for stage in stages:
        rules = RULES.get(stage, ())
        recorded = {id: m for id, m in measurements.items() if m.stage == stage}
        derived = {m.id: m for m in derive([rule for rule in rules if rule.raw not in left_out], files)}
        for id, measurement in derived.items():
            yield from _differences(id, recorded.get(id), measurement)
        for id in sorted(recorded.keys() - derived.keys()):
            if recorded[id].raw not in left_out:
                has_rule = any(rule.fields(id) is not None for rule in rules)
                yield f"{id}: recorded, but {'no raw file gives this number' if has_rule else 'no rule derives it'}"


def _differences(id: str, recorded: Measurement | None, derived: Measurement) -> Iterator[str]:
    if recorded is None:
        yield f"{id}: not recorded, but {derived.raw} gives {derived.value!r}"
        return
    for name in _COMPARED:
        says, should_say = getattr(recorded, name), getattr(derived, name)
        if not _is_same(says, should_say):
            what = "" if name == "value" else f"{name} "
            yield f"{id}: recorded {what}{says!r}, but {derived.raw} gives {should_say!r}"


def _is_same(one: Any, other: Any) -> bool:
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(_is_same(one[key], other[key]) for key in one)
    if isinstance(one, float) and isinstance(other, float):
        return math.isclose(one, other, rel_tol=_RELATIVE_TOLERANCE)
    return one == other
