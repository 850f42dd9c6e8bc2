"""Numbers with units in plain text, spelled out or not, with ranges, rates and currencies."""

import re
from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction
from functools import lru_cache

from tinsmith.model.facts.calendar import find_calendar
from tinsmith.model.facts.lexicon import numbers, units_by_name, units_by_spelling
from tinsmith.model.facts.numerals import Numeral, read_numeral, spelled
from tinsmith.model.facts.units import (
    CURRENCIES,
    amount_unit,
    currency_before,
    listed_unit,
    rate_after,
    unit_after,
    with_smaller_unit,
)
from tinsmith.model.facts.values import Value
from tinsmith.model.facts.words import Token, tokens_of

_TO = frozenset("- \u2013 \u2014 to till bis".split())
_BETWEEN = frozenset("between mellan zwischen".split())


@lru_cache(maxsize=4096)
def find_values(text: str) -> tuple[Value, ...]:
    """All values in plain text, in order. A unit or multiplier after a range applies to both of its ends.

    A number's unit is the listed unit beside it, or the one or two words after it. `one` and `a` count only before a
    listed unit. The parts of codes (`ABS18`, `A4`, `1.2.3`) are no numbers.
    """
    calendar = find_calendar(text)
    masked = text
    for value in calendar:
        masked = masked[: value.start] + "\u0001" * (value.end - value.start) + masked[value.end :]
    tokens = [token for token in tokens_of(masked) if not token.text.startswith("\u0001")]
    values: list[Value] = list(calendar)
    # A currency takes at most two tokens before its number.
    near = {number - before for number, token in enumerate(tokens) if token.kind == "number" for before in range(3)}
    at = 0
    while at < len(tokens):
        read = _read(tokens, at, masked) if at in near or _is_number_word(tokens[at].lower) else None
        if read is None:
            at += 1
            continue
        value, at = read
        values.append(value)
    return tuple(_with_left_out_units(sorted(values, key=lambda value: (value.start, value.edge != "start")), text))


@lru_cache(maxsize=100_000)
def _is_number_word(word: str) -> bool:
    return word in numbers("ordinals") or word in numbers("fractions") or spelled(word) is not None


def _with_left_out_units(values: list[Value], text: str) -> list[Value]:
    """Values, with the unit of the one before for a bare one that ends its clause: `latte 45 kr and espresso 30`."""
    completed: list[Value] = []
    for value in values:
        before = completed[-1] if completed else None
        is_left_out = before is not None and _leaves_out_unit(value, before, text)
        completed.append(replace(value, unit=before.unit) if before and is_left_out else value)
    return completed


def _leaves_out_unit(value: Value, before: Value, text: str) -> bool:
    shown = text[value.start : value.end]
    is_bare = value.kind == "number" and not value.unit and not re.fullmatch(r"(?:19|20)\d\d", shown)
    ends_clause = re.match(r"\s*(?:[.,;!?)]|$|\n)", text[value.end :]) is not None
    is_counted = before.dimension in CURRENCIES | {"count"}
    # Words stand between, and no sentence ends.
    is_near = re.fullmatch(r"[^.!?\n(]*[^\W\d_]{3}[^.!?\n(]*", text[before.end : value.start]) is not None
    return is_bare and ends_clause and is_counted and is_near


def _read(tokens: Sequence[Token], at: int, text: str) -> tuple[Value, int] | None:
    """The value that starts at token `at` and the index after it."""
    start = at
    prefix, first_number = currency_before(tokens, at)
    if first_number >= len(tokens):
        return None
    ordinal = None if prefix else _ordinal(tokens, at)
    if ordinal:
        return ordinal
    numeral = read_numeral(tokens, first_number)
    if numeral is None or _is_code(tokens, first_number, text):
        return None
    sign = _sign(tokens, start, text)
    unit, after = unit_after(tokens, numeral.next, numeral) if not prefix else amount_unit(tokens, numeral.next, prefix)
    low = high = numeral.value * sign
    upper = _upper_end(tokens, after, at, text)
    if upper:
        high_numeral, high_unit, high_after = upper
        low, high, unit = _range(numeral, unit, high_numeral, high_unit)
        after = high_after
    elif numeral.is_article and (unit not in units_by_name() or _follows_rate(tokens, at)):
        return None
    elif numeral.is_share and (not unit or (numeral.is_word and unit not in units_by_name())):
        after = after if not unit else numeral.next
        unit, low, high = "%", low * 100, high * 100
    elif numeral.is_word and not unit and numeral.value <= 1:
        return None
    elif tokens[start].lower in ("twice", "thrice") and not unit:
        unit = "times"
    low, unit, after = with_smaller_unit(tokens, low, unit, after) if low == high else (low, unit, after)
    high = low if not upper else high
    per, after = rate_after(tokens, after, unit)
    return Value("number", (low, high), unit, per, "", tokens[start].start, tokens[after - 1].end), after


def _range(low: Numeral, low_unit: str, high: Numeral, high_unit: str) -> tuple[Fraction, Fraction, str]:
    unit = high_unit or low_unit
    first = low.value
    scale = _scale(low, high)
    if low_unit and high_unit and low_unit != high_unit:
        a, b = units_by_name().get(low_unit), units_by_name().get(high_unit)
        if a and b and a.dimension == b.dimension:
            first = first * a.factor / b.factor
    if first == low.value:
        first *= scale
    return first, high.value, unit


def _scale(low: Numeral, high: Numeral) -> int:
    """What the upper end's multiplier does to the lower end: `25-30k` starts at 25,000."""
    for factor in (10**9, 10**6, 1000):
        is_below = low.value < 1000 and low.value * factor <= high.value
        if is_below and high.is_scaled and not low.is_scaled:
            return factor
    return 1


def _upper_end(tokens: Sequence[Token], after: int, at: int, text: str) -> tuple[Numeral, str, int] | None:
    """The number after a range sign, its unit and the index after it."""
    if after + 1 >= len(tokens):
        return None
    sign = tokens[after].lower
    is_between = sign in ("and", "och", "und") and any(token.lower in _BETWEEN for token in tokens[max(0, at - 2) : at])
    if sign not in _TO and not is_between:
        return None
    if (
        sign in ("\u2014", "\u2013", "-")
        and tokens[after].start > tokens[after - 1].end
        and tokens[after + 1].start > tokens[after].end + 1
    ):
        return None
    prefix, number = currency_before(tokens, after + 1)
    # `from 25 to a maximum of 30` and `25 up to 30` are ranges, too.
    while number < len(tokens) and tokens[number].lower in ("max", "maximum", "about", "approx"):
        number += 1
    if number >= len(tokens):
        return None
    numeral = read_numeral(tokens, number)
    if numeral is None or numeral.is_article or _is_code(tokens, number, text):
        return None
    unit, end = unit_after(tokens, numeral.next, numeral) if not prefix else amount_unit(tokens, numeral.next, prefix)
    return numeral, unit, end


def _ordinal(tokens: Sequence[Token], at: int) -> tuple[Value, int] | None:
    """`third`, `3rd`, `3:e`."""
    token = tokens[at]
    value = numbers("ordinals").get(token.lower)
    after = at + 1
    if token.kind == "number" and at + 1 < len(tokens) and tokens[at + 1].start == token.end:
        if tokens[at + 1].lower in ("st", "nd", "rd", "th"):
            value, after = Fraction(token.text.replace(",", "")), at + 2
        elif tokens[at + 1].text == ":" and at + 2 < len(tokens) and tokens[at + 2].lower in ("e", "a"):
            value, after = Fraction(token.text), at + 3
    if value is None or token.lower in ("second", "andra", "first"):
        return None
    return Value("ordinal", (value,), "", "", "", token.start, tokens[after - 1].end), after


def _sign(tokens: Sequence[Token], at: int, text: str) -> int:
    is_minus = at > 0 and tokens[at - 1].text in ("-", "\u2013") and tokens[at - 1].end == tokens[at].start
    before = text[: tokens[at - 1].start][-1:] if is_minus else ""
    word = at > 0 and tokens[at - 1].lower == "minus"
    return (
        -1
        if word or (is_minus and not before.strip() and not re.search(r"[\w%]\s*$", text[: tokens[at - 1].start]))
        else 1
    )


def _is_code(tokens: Sequence[Token], at: int, text: str) -> bool:
    """Whether the digits at `at` belong to a code such as `ABS18`, `m-003` or `A4`, or number an item."""
    token = tokens[at]
    if token.kind != "number":
        return False
    before = text[: token.start]
    if (at and _is_code_number(tokens, at)) or _is_list_number(tokens, at, before):
        return True
    return bool(re.search(r"[^\W\d_]$|[^\W\d_][-.]$|\d[./:]$", before)) and not before.casefold().endswith(
        ("rp", "kr", "kr.", "rp.", "sek", "eur", "usd")
    )


def _is_list_number(tokens: Sequence[Token], at: int, before: str) -> bool:
    """Whether a bracket that closes nothing follows, as in `Bring: 1) a towel, 2) soap`."""
    is_closed = at + 1 < len(tokens) and tokens[at + 1].text == ")" and tokens[at + 1].start == tokens[at].end
    return is_closed and len(tokens[at].text) <= 2 and before.rfind("(") <= before.rfind(")")


def _is_code_number(tokens: Sequence[Token], at: int) -> bool:
    """Whether an acronym directly before short digits makes them a code, as in `ABS 18`."""
    acronym, digits = tokens[at - 1], tokens[at]
    is_acronym = acronym.kind == "word" and acronym.text.isupper() and 2 <= len(acronym.text) <= 5
    is_unit = (acronym.lower,) in units_by_spelling() or acronym.text in ("AM", "PM", "KL")
    is_short = digits.text.isdigit() and len(digits.text) <= 3 and digits.start == acronym.end + 1
    following = tokens[at + 1].lower if at + 1 < len(tokens) else ""
    is_counted = listed_unit(tokens, at + 1) is not None or following in ("kap", "\u00a7", "-", "\u2013", "to", "till")
    return is_acronym and is_short and not is_unit and not is_counted


def _follows_rate(tokens: Sequence[Token], at: int) -> bool:
    """Whether `a week` follows a number or `once`, so that it means per week."""
    before = tokens[at - 1].lower if at else ""
    return before in ("once", "twice", "times", "gånger", "gång", "per", "such", "half", "what") or (
        at > 0 and tokens[at - 1].kind == "number"
    )
