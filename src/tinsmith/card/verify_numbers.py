"""Verify measurements: derive each from its raw file again, and compare every part of it."""

import math
from collections.abc import Iterator
from typing import Any

from tinsmith.card.evidence import Evidence
from tinsmith.core.measure import Measurement
from tinsmith.derive.files import Files
from tinsmith.derive.rules import derive
from tinsmith.derive.table import RULES

_RELATIVE_TOLERANCE = 1e-12
"""Allows for processors that round the last digits of a sum, a logarithm or a power otherwise, and for nothing else."""

_COMPARED = ("value", "unit", "count", "count_of", "spread", "method", "raw", "gate")


def wrong_numbers(evidence: Evidence) -> Iterator[str]:
    """Measurements that do not follow from their raw files, and numbers that the files give but the log lacks."""
    files = Files(evidence.run.stage, evidence.config.seed)
    for stage, rules in RULES.items():
        if stage not in evidence.stamps:
            continue
        recorded = {id: m for id, m in evidence.measurements.items() if m.stage == stage}
        derived = {m.id: m for m in derive(rules, files)}
        for id, measurement in derived.items():
            yield from _differences(id, recorded.get(id), measurement)
        for id in recorded.keys() - derived.keys():
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
