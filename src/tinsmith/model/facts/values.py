"""Values that texts state: quantities with a unit, dates, times, weekdays, phone numbers and codes."""

from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any, Self

from tinsmith.model.facts.lexicon import units_by_name
from tinsmith.model.facts.words import is_same_word, stem

Part = Fraction | str | None
_THOUSAND = 1000
_HOURS = 24


@dataclass(frozen=True, slots=True)
class Value:
    """A value with its place in the plain text."""

    kind: str
    """`number`, `ordinal`, `date`, `time`, `weekday`, `phone` or `code`."""
    parts: tuple[Part, ...]
    """`number`: least and greatest. `date`: year, month and day, each None if not stated. `time`: minutes since
    midnight. `weekday`: days from 1 for Monday. `phone`, `code`: the text without spaces."""
    unit: str = ""
    """Of a number: the name of a unit, an unlisted unit's words, or empty. Of a time: `?` if it may be am or pm."""
    per: str = ""
    """What the number is per, such as `hour` in 500 SEK per hour."""
    edge: str = ""
    """`start` or `end` of a period of days or of a day."""
    start: int = 0
    end: int = 0

    @property
    def dimension(self) -> str:
        """What values must share to be comparable."""
        if self.kind != "number":
            return self.kind
        unit = units_by_name().get(self.unit)
        return unit.dimension if unit else "count" if self.unit else ""

    @property
    def text(self) -> str:
        """Such as `25000-50000 SEK`, `2025-05-03`, `17:00`."""
        return f"{self.shown} {self.unit}{f'/{self.per}' if self.per else ''}".strip(" ?")

    @property
    def shown(self) -> str:
        """The value without its unit."""
        match self.kind:
            case "date":
                year, month, day = self.parts
                return "-".join(f"{_number(part):0{width}}" for part, width in ((year, 4), (month, 2), (day, 2)))
            case "time":
                return f"{_number(self.parts[0]) // 60:02}:{_number(self.parts[0]) % 60:02}"
            case "number":
                return "-".join(_decimal(part) for part in dict.fromkeys(self.parts))
            case _:
                return ",".join(_decimal(part) for part in self.parts)

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        parts = [str(part) if isinstance(part, Fraction) else part for part in self.parts]
        return {"kind": self.kind, "parts": parts, "unit": self.unit, "per": self.per, "edge": self.edge}

    @classmethod
    def from_dict(cls, record: dict[str, Any]) -> Self:
        """The value of an `as_dict` record."""
        is_text = record["kind"] in ("phone", "code")
        parts = tuple(part if is_text or part is None else Fraction(part) for part in record["parts"])
        return cls(record["kind"], parts, record["unit"], record["per"], record["edge"])

    def without_place(self) -> "Value":
        """The same value, for comparison of equals."""
        return replace(self, start=0, end=0)


def _number(part: Part) -> int:
    return int(part) if isinstance(part, Fraction) else 0


def _decimal(part: Part) -> str:
    if not isinstance(part, Fraction):
        return str(part)
    if part.denominator == 1:
        return str(part.numerator)
    shown = f"{float(part):.6f}".rstrip("0")
    return shown if Fraction(shown) == part else str(part)


def are_comparable(one: Value, other: Value) -> bool:
    """Whether two values answer the same kind of question, so that different ones contradict each other."""
    if one.kind == other.kind == "number":
        if _other_per(one, other):
            return False
        if one.dimension == other.dimension == "count":
            return _same_noun(one.unit, other.unit)
        if one.dimension == other.dimension:
            return True
        return {one.dimension, other.dimension} in ({"duration", "months"}, {"celsius", "fahrenheit"})
    return one.kind == other.kind


def is_equal(one: Value, other: Value) -> bool:
    """Whether two values are the same, after conversion. A number without a unit equals one with any unit."""
    kinds = {one.kind, other.kind}
    if kinds == {"number"}:
        return _equal_numbers(one, other)
    if kinds == {"time"}:
        return _equal_times(one, other)
    if kinds == {"date"}:
        pairs = list(zip(one.parts, other.parts, strict=True))
        return all(a is None or b is None or a == b for a, b in pairs) and any(
            a is not None and a == b for a, b in pairs
        )
    if kinds == {"phone"}:
        longer, shorter = sorted((str(one.parts[0]), str(other.parts[0])), key=len, reverse=True)
        return longer.endswith(shorter) and len(longer) - len(shorter) <= 3 and len(shorter) >= 5
    if kinds == {"time", "number"}:
        time, number = (one, other) if one.kind == "time" else (other, one)
        hours = number.parts[1 if time.edge == "end" else 0]
        is_hour = not number.unit and (number.parts[0] == number.parts[1] or bool(time.edge))
        if not is_hour or not isinstance(hours, Fraction) or hours > _HOURS:
            return False
        # `14.30` read as a number.
        minutes = 60 * (hours // 1) + 100 * (hours % 1)
        return minutes.denominator == 1 and _equal_times(time, Value("time", (minutes,), "?"))
    if kinds == {"ordinal", "number"} or kinds == {"date", "number"}:
        other_value, number = (one, other) if one.kind != "number" else (other, one)
        if other_value.kind == "date":
            year, month, day = other_value.parts
            return not number.unit and month is None and day is None and number.parts == (year, year)
        return not number.unit and number.parts[0] == number.parts[1] == other_value.parts[0]
    return one.kind == other.kind and one.parts == other.parts


def _equal_times(one: Value, other: Value) -> bool:
    a, b = _number(one.parts[0]) % 1440, _number(other.parts[0]) % 1440
    return a == b or ("?" in (one.unit, other.unit) and a % 720 == b % 720)


def _other_per(one: Value, other: Value) -> bool:
    """Whether two rates are per different things. One may leave out what the other is per."""
    a, b = one.per.split("/"), other.per.split("/")
    shorter, longer = sorted((a, b), key=len)
    return bool(one.per and other.per) and not all(any(is_same_word(x, y) for y in longer) for x in shorter)


def _equal_numbers(one: Value, other: Value) -> bool:
    if _other_per(one, other):
        return False
    if not one.unit or not other.unit:
        return one.parts == other.parts or _in_base_unit(one) == _in_base_unit(other)
    units = units_by_name()
    a, b = units.get(one.unit), units.get(other.unit)
    if a is None or b is None:
        return one.parts == other.parts and a is b is None and _same_noun(one.unit, other.unit)
    if a.name == b.name:
        return one.parts == other.parts
    if {a.dimension, b.dimension} in ({"celsius", "fahrenheit"}, {"celsius", "degrees"}, {"fahrenheit", "degrees"}):
        return _close(_celsius(one, a.dimension), _celsius(other, b.dimension), Fraction(1, 2), Fraction(0))
    if a.dimension != b.dimension:
        return False
    is_metric = not {a.name, b.name} & {"inch", "foot", "yard", "mile", "ft²", "acre", "oz", "lb"}
    tolerance = Fraction(0) if is_metric else Fraction(1, 100)
    scaled = [
        [part * unit.factor for part in value.parts if isinstance(part, Fraction)]
        for value, unit in ((one, a), (other, b))
    ]
    return _close(scaled[0], scaled[1], Fraction(0), tolerance)


def _in_base_unit(value: Value) -> list[Fraction]:
    """Its parts in kronor, say, if the unit is thousands or millions of them; else as they are."""
    unit = units_by_name().get(value.unit)
    factor = unit.factor if unit and unit.factor >= _THOUSAND and unit.dimension.isupper() else 1
    return [part * factor for part in value.parts if isinstance(part, Fraction)]


def _celsius(value: Value, dimension: str) -> list[Fraction]:
    parts = [part for part in value.parts if isinstance(part, Fraction)]
    return [(part - 32) * Fraction(5, 9) for part in parts] if dimension == "fahrenheit" else parts


def _close(one: list[Fraction], other: list[Fraction], absolute: Fraction, relative: Fraction) -> bool:
    return all(abs(a - b) <= max(absolute, relative * abs(a)) for a, b in zip(one, other, strict=True))


def _same_noun(one: str, other: str) -> bool:
    """Whether two unlisted units share their last word, such as `bedroom` and `large bedrooms`."""
    return stem(one.rsplit(maxsplit=1)[-1]) == stem(other.rsplit(maxsplit=1)[-1])
