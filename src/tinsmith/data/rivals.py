"""Whether two values can be answers to one question that differ."""

from tinsmith.model.facts.lexicon import units_by_name
from tinsmith.model.facts.values import Value, are_comparable, is_equal

_MAX_FACTOR = 10
"""Greatest ratio of two values that are about the same thing."""
_MAX_FACTOR_SAME = 20
"""The same if the questions ask the same."""
_YEARS = (1900, 2100)
_DAYS_PER_MONTH = 30.4


def are_rivals(one: Value, other: Value, is_same: bool) -> bool:
    """Whether two values answer the same kind of question differently."""
    if one.kind != other.kind or not are_comparable(one, other) or is_equal(one, other):
        return False
    if one.kind != "number":
        return one.kind in ("time", "date", "weekday") or (is_same and one.kind != "code")
    if bool(one.per) != bool(other.per) or _is_within(one, other) or _is_within(other, one):
        return False
    if not one.unit or not other.unit:
        return is_same and _is_year(one) and _is_year(other)
    if is_same:
        return _ratio(one, other) <= _MAX_FACTOR_SAME
    return _ratio(one, other) <= _MAX_FACTOR and not _contains(one, other) and not _contains(other, one)


def are_designations(one: Value, other: Value) -> bool:
    """Whether two values are numbers of laws, standards or versions, or bare numbers."""
    return one.kind == other.kind and one.kind in ("code", "number") and not (one.unit or other.unit)


def _is_year(value: Value) -> bool:
    low, high = _ends(value)
    return low == high and not value.unit and _YEARS[0] <= low <= _YEARS[1]


def _ends(value: Value) -> tuple[float, float]:
    units = units_by_name()
    unit = units.get(value.unit)
    factor = float(unit.factor) if unit else 1.0
    if unit and unit.dimension == "months":
        factor *= _DAYS_PER_MONTH * float(units["day"].factor)
    ends = [float(part) * factor for part in value.parts if part is not None and not isinstance(part, str)]
    return min(ends), max(ends)


def _ratio(one: Value, other: Value) -> float:
    low, high = sorted(abs(sum(_ends(value))) for value in (one, other))
    return high / low if low else float("inf")


def _contains(one: Value, other: Value) -> bool:
    """Whether the range of one lies in that of the other, which may be of a wider thing."""
    (low, high), (least, most) = _ends(one), _ends(other)
    return least < most and least <= low and high <= most


def _is_within(one: Value, other: Value) -> bool:
    """Whether one value is a number in the range of the other, as an example or an average is."""
    low, high = _ends(one)
    return low == high and _contains(one, other)
