"""The unit of a number: listed, or the words beside it; currencies before it, smaller units and rates after it."""

from collections.abc import Sequence
from fractions import Fraction
from itertools import pairwise

from tinsmith.model.facts.lexicon import numbers, units_by_case, units_by_name, units_by_spelling, words
from tinsmith.model.facts.numerals import Numeral, read_numeral
from tinsmith.model.facts.words import Token

CURRENCIES = frozenset("SEK IDR EUR USD GBP NOK DKK JPY CHF".split())
_MAX_NOUN_WORDS = 2
_PER = frozenset("/ per each a an the om i pro".split())
_NO_NOUN = frozenset(
    "kap chapter section sections paragraph am pm kl o'clock plus minus percent old and or times gånger".split()
)


def currency_before(tokens: Sequence[Token], at: int) -> tuple[str, int]:
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


def amount_unit(tokens: Sequence[Token], after: int, prefix: str) -> tuple[str, int]:
    """The unit of an amount whose currency stands before it. `SEK 1.2m` is in millions."""
    if after < len(tokens) and tokens[after].lower == "m" and tokens[after].start == tokens[after - 1].end:
        millions = {"SEK": "MSEK", "EUR": "MEUR", "USD": "MUSD"}
        return millions.get(prefix, prefix), after + 1
    return prefix, after


def unit_after(tokens: Sequence[Token], at: int, numeral: Numeral) -> tuple[str, int]:
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


def with_smaller_unit(tokens: Sequence[Token], value: Fraction, unit: str, after: int) -> tuple[Fraction, str, int]:
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


def rate_after(tokens: Sequence[Token], after: int, unit: str) -> tuple[str, int]:
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
