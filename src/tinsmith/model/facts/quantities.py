"""Numbers with units in plain text, spelled out or not, with ranges, rates and currencies."""

import re
from collections.abc import Sequence
from fractions import Fraction
from functools import lru_cache
from itertools import pairwise

from tinsmith.model.facts.calendar import find_calendar
from tinsmith.model.facts.lexicon import numbers, units_by_case, units_by_name, units_by_spelling, words
from tinsmith.model.facts.numerals import Numeral, read_numeral
from tinsmith.model.facts.values import Value
from tinsmith.model.facts.words import Token, tokens_of

CURRENCIES = frozenset("SEK IDR EUR USD GBP NOK DKK JPY CHF".split())
_MAX_NOUN_WORDS = 2
_TO = frozenset("- \u2013 \u2014 to till bis".split())
_BETWEEN = frozenset("between mellan zwischen".split())
_PER = frozenset("/ per each a an the om i pro".split())
_NO_NOUN = frozenset(
    "kap chapter section sections paragraph am pm kl o'clock plus minus percent old and or times gånger".split()
)


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
    at = 0
    while at < len(tokens):
        read = _read(tokens, at, masked)
        if read is None:
            at += 1
            continue
        value, at = read
        values.append(value)
    return tuple(sorted(values, key=lambda value: (value.start, value.edge != "start")))


def _read(tokens: Sequence[Token], at: int, text: str) -> tuple[Value, int] | None:
    """The value that starts at token `at` and the index after it."""
    start = at
    prefix, first_number = _currency(tokens, at)
    if first_number >= len(tokens):
        return None
    ordinal = None if prefix else _ordinal(tokens, at)
    if ordinal:
        return ordinal
    numeral = read_numeral(tokens, first_number)
    if numeral is None or _is_code(tokens, first_number, text):
        return None
    sign = _sign(tokens, start, text)
    unit, after = _unit(tokens, numeral.next, numeral) if not prefix else _amount_unit(tokens, numeral.next, prefix)
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
    low, unit, after = _with_smaller_unit(tokens, low, unit, after) if low == high else (low, unit, after)
    high = low if not upper else high
    per, after = _per(tokens, after, unit)
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
    prefix, number = _currency(tokens, after + 1)
    # `from 25 to a maximum of 30` and `25 up to 30` are ranges, too.
    while number < len(tokens) and tokens[number].lower in ("max", "maximum", "about", "approx"):
        number += 1
    if number >= len(tokens):
        return None
    numeral = read_numeral(tokens, number)
    if numeral is None or numeral.is_article or _is_code(tokens, number, text):
        return None
    unit, end = _unit(tokens, numeral.next, numeral) if not prefix else _amount_unit(tokens, numeral.next, prefix)
    return numeral, unit, end


def _currency(tokens: Sequence[Token], at: int) -> tuple[str, int]:
    """A currency before a number, as in `SEK 25 000` or `$5`, and the number's index."""
    for length in (2, 1):
        if at + length < len(tokens) and tokens[at + length].kind == "number":
            spelling = "".join(token.lower for token in tokens[at : at + length])
            unit = units_by_spelling().get((spelling,))
            is_close = tokens[at + length].start - tokens[at + length - 1].end <= 1
            is_free = (
                at == 0
                or tokens[at - 1].kind != "number"
                or (tokens[at - 1].end < tokens[at].start and tokens[at + length].start == tokens[at + length - 1].end)
            )
            if unit and unit.dimension in CURRENCIES and is_close and is_free:
                return unit.name, at + length
            if spelling in ("rp.", "kr.") and is_close and is_free:
                return units_by_spelling()[(spelling[:2],)].name, at + length
    return "", at


def _amount_unit(tokens: Sequence[Token], after: int, prefix: str) -> tuple[str, int]:
    """The unit of an amount whose currency stands before it. `SEK 1.2m` is in millions."""
    if after < len(tokens) and tokens[after].lower == "m" and tokens[after].start == tokens[after - 1].end:
        millions = {"SEK": "MSEK", "EUR": "MEUR", "USD": "MUSD"}
        return millions.get(prefix, prefix), after + 1
    return prefix, after


def _unit(tokens: Sequence[Token], at: int, numeral: Numeral) -> tuple[str, int]:
    """The unit at token `at`, and the index after it; the words there if no unit is listed."""
    start = at
    if (
        at + 1 < len(tokens)
        and tokens[at].text == "-"
        and tokens[at].start == tokens[at - 1].end
        and tokens[at + 1].kind == "word"
    ):
        at += 1
    if at < len(tokens) and tokens[at].lower in ("a", "an", "of", "en") and numeral.is_share and numeral.value < 1:
        listed = listed_unit(tokens, at + 1)
        if tokens[at].lower == "of" and at + 1 < len(tokens) and tokens[at + 1].lower in ("a", "an"):
            listed = listed_unit(tokens, at + 2)
        elif tokens[at].lower == "of":
            listed = None
        if listed:
            return listed
    if numeral.is_scaled and at < len(tokens) and tokens[at].lower == "of":
        at += 1
    listed = listed_unit(tokens, at)
    if listed:
        return listed
    is_year = numeral.value.denominator == 1 and 1900 <= numeral.value <= 2100 and tokens[start - 1].text.isdigit()
    noun = None if is_year else _noun(tokens, at)
    return noun or ("", start)


def listed_unit(tokens: Sequence[Token], at: int) -> tuple[str, int] | None:
    """The listed unit that starts at token `at`, and the index after it."""
    for length in (3, 2, 1):
        row = tokens[at : at + length]
        if len(row) < length or any(a.end + 1 < b.start for a, b in pairwise(row)):
            continue
        if length == 1 and row[0].text in units_by_case():
            return units_by_case()[row[0].text].name, at + 1
        split = tuple(part for token in row for part in token.lower.split("-"))
        is_joined = all(a.end == b.start for a, b in pairwise(row))
        unit = units_by_spelling().get(split) or (
            units_by_spelling().get(("".join(t.lower for t in row),)) if is_joined else None
        )
        if unit and not (length == 1 and row[0].text == "-"):
            return unit.name, at + length
    return None


def _noun(tokens: Sequence[Token], at: int) -> tuple[str, int] | None:
    """The words after a number that say what is counted: up to two, until a word of grammar or a sign."""
    stops = words("grammar", "words")
    row: list[Token] = []
    for token in tokens[at : at + _MAX_NOUN_WORDS]:
        is_noun = token.kind == "word" and token.lower not in stops and token.lower not in _NO_NOUN
        if not is_noun or (row and (token.start > row[-1].end + 1 or listed_unit(tokens, at + len(row)))):
            break
        if numbers("numerals").get(token.lower) is not None or (row and token.lower in words("grammar", "generic")):
            break
        row.append(token)
    if len(row) == 1 and (listed := listed_unit(tokens, at + 1)) and tokens[at + 1].start <= row[0].end + 1:
        # An adjective before a listed unit: `3 working days`.
        return listed
    if not row or row[0].lower in words("grammar", "generic"):
        return None
    return " ".join(token.lower for token in row), at + len(row)


def _with_smaller_unit(tokens: Sequence[Token], value: Fraction, unit: str, after: int) -> tuple[Fraction, str, int]:
    """Add a smaller unit that follows, as in `1 hour 30 minutes` and `an hour and a half`."""
    known = units_by_name().get(unit)
    if known is None or known.dimension in CURRENCIES:
        return value, unit, after
    at = after + 1 if after < len(tokens) and tokens[after].lower in ("and", "och", ",") else after
    if at >= len(tokens):
        return value, unit, after
    numeral = read_numeral(tokens, at)
    if numeral is None:
        return value, unit, after
    smaller = listed_unit(tokens, numeral.next)
    if smaller is None:
        is_half = at > after and numeral.is_share and tokens[after].lower != ","
        return (value + numeral.value, unit, numeral.next) if is_half else (value, unit, after)
    other = units_by_name()[smaller[0]]
    if (
        other.dimension == known.dimension
        and other.factor < known.factor
        and numeral.value * other.factor < known.factor
    ):
        return value + numeral.value * other.factor / known.factor, unit, smaller[1]
    return value, unit, after


def _per(tokens: Sequence[Token], after: int, unit: str) -> tuple[str, int]:
    """What the number is per: `/m²`, `per hour`, `a month`, `i timmen`."""
    per: list[str] = []
    at = after
    while at + 1 < len(tokens) and unit and (tokens[at].lower in _PER or (per and tokens[at].lower in ("and", "och"))):
        is_article = tokens[at].lower in ("a", "an", "the", "om", "i")
        listed = listed_unit(tokens, at + 1)
        if listed:
            per.append(listed[0])
            at = listed[1]
        elif not is_article and tokens[at].lower in _PER and tokens[at + 1].kind == "word":
            per.append(tokens[at + 1].lower)
            at += 2
        else:
            break
    return "/".join(per), at if per else after


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
    """Whether the digits at `at` belong to a code such as `ABS18`, `m-003` or `A4`."""
    token = tokens[at]
    if token.kind != "number":
        return False
    before = text[: token.start]
    if at and _is_code_number(tokens, at):
        return True
    return bool(re.search(r"[^\W\d_]$|[^\W\d_][-.]$|\d[./:]$", before)) and not before.casefold().endswith(
        ("rp", "kr", "kr.", "rp.", "sek", "eur", "usd")
    )


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
