"""Numbers in digits and words: `25 000`, `1.2 million`, `twenty-five`, `tvåhundrafemtio`, `one and a half`."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cache, lru_cache

from tinsmith.model.facts.lexicon import numbers, spellings, tables
from tinsmith.model.facts.words import Token

ARTICLES = frozenset("a an en ett ein eine einen one single".split())
"""Words for one that are mostly something else. They count as a number only before a unit."""


@dataclass(frozen=True, slots=True)
class Numeral:
    """A number in a row of tokens."""

    value: Fraction
    next: int
    """Index of the token after it."""
    is_word: bool = False
    is_article: bool = False
    is_share: bool = False
    """Whether it is a fraction in words, such as `half` or `two thirds`."""
    is_scaled: bool = False
    """Whether a multiplier such as `k` or `million` is part of it."""


def read_numeral(tokens: Sequence[Token], at: int) -> Numeral | None:
    """The number that starts at token `at`, with its multiplier."""
    numeral = _digits(tokens, at) if tokens[at].kind == "number" else _words(tokens, at)
    return _with_multiplier(tokens, numeral) if numeral else None


def _digits(tokens: Sequence[Token], at: int) -> Numeral | None:
    value = _digit_value(tokens[at].text)
    after = at + 1
    # `1 1/2` and `3/4`.
    for start, whole in ((at + 1, value), (at, Fraction(0))):
        parts = tokens[start : start + 3]
        if len(parts) == 3 and parts[1].text == "/" and parts[0].kind == parts[2].kind == "number":
            top, bottom = _digit_value(parts[0].text), _digit_value(parts[2].text)
            if 0 < top < bottom <= 16 and bottom.denominator == 1:
                return Numeral(whole + top / bottom, start + 3, is_share=whole == 0)
    return Numeral(value, after)


def _digit_value(body: str) -> Fraction:
    """The value of digits. A separator before exactly three digits groups thousands, unless a lone 0 is before it."""
    if re.fullmatch(r"(?!0)\d{1,3}(?:([ ,.'])\d{3})(?:\1\d{3})*(?:[.,]\d+)?", body):
        separator = re.search(r"[ ,.']", body)
        body = body.replace(separator.group(), "") if separator else body
    return Fraction(body.replace(",", ".").replace(" ", ""))


def _words(tokens: Sequence[Token], at: int) -> Numeral | None:
    share = _share(tokens, at)
    if share:
        return share
    value, after = Fraction(0), at
    total = Fraction(0)
    while after < len(tokens) and tokens[after].kind == "word":
        word = tokens[after].lower
        part = spelled(word)
        is_joined = after + 1 < len(tokens) and word in ("and", "och") and total + value >= 100
        if (
            is_joined
            and after > at
            and tokens[after + 1].kind == "word"
            and spelled(tokens[after + 1].lower)
            and tokens[after + 1].lower not in ARTICLES
        ):
            after += 1
            continue
        if part is None or (after > at and word in ARTICLES):
            break
        if part in (100, 1000, 10**6, 10**9) and after > at:
            value = max(value, Fraction(1)) * part
            if part >= 1000:
                total, value = total + value, Fraction(0)
        elif (
            after == at
            or (value % 100 == 0 and part < 100 and value)
            or (20 <= value % 100 < 100 and value % 10 == 0 and part < 10)
            or (total and not value)
        ):
            value += part
        else:
            break
        after += 1
    if after == at:
        return None
    is_article = after == at + 1 and tokens[at].lower in ARTICLES
    half = _and_a_half(tokens, after)
    if half:
        return Numeral(total + value + half.value, half.next, is_word=True)
    return Numeral(total + value, after, is_word=True, is_article=is_article)


def _and_a_half(tokens: Sequence[Token], at: int) -> Numeral | None:
    """`and a half`, `och en halv`, `and three quarters`, after a whole number."""
    if at < len(tokens) and tokens[at].lower in ("and", "och", "und") and at + 1 < len(tokens):
        share = _share(tokens, at + 1)
        return share if share and share.value < 1 else None
    return None


def _share(tokens: Sequence[Token], at: int) -> Numeral | None:
    """`half`, `a third`, `two thirds`, `tre fjärdedelar`."""
    fractions, count, after = numbers("fractions"), Fraction(1), at
    word = tokens[at].lower
    if word in fractions and word not in numbers("ordinals"):
        return Numeral(fractions[word], at + 1, is_word=True, is_share=True)
    if word in numbers("numerals") and after + 1 < len(tokens):
        count, after = numbers("numerals")[word], at + 1
        following = tokens[after].lower
        if following in fractions and count < 10 and (count == 1 or following not in numbers("ordinals")):
            is_time = following == "second"
            return None if is_time else Numeral(count * fractions[following], after + 1, is_word=True, is_share=True)
    return None


@lru_cache(maxsize=100_000)
def spelled(word: str) -> Fraction | None:
    """The value of one word, such as `twenty-five` or `tvåhundrafemtio`; None if it is no number."""
    table = numbers("numerals")
    if word in table:
        return table[word]
    if "-" in word:
        parts = [spelled(part) for part in word.split("-")]
        if len(parts) == 2 and parts[0] and parts[1] and 20 <= parts[0] < 100 and parts[1] < 10:
            return parts[0] + parts[1]
        return None
    return _compound(word)


def _compound(word: str) -> Fraction | None:
    """A Swedish or German number in one word; its parts fall from thousands to ones."""
    rest, total, value = word, Fraction(0), Fraction(0)
    while rest:
        part = next((part for part in _compound_parts() if rest.startswith(part)), None)
        if part is None:
            return None
        number, rest = numbers("numerals")[part], rest[len(part) :]
        if number >= 100:
            value = max(value % 100 if number == 100 else value, Fraction(1)) * number
            if number >= 1000:
                total, value = total + value, Fraction(0)
        else:
            value += number
    return total + value if len(word) > 5 else None


@cache
def _compound_parts() -> list[str]:
    usable = [word for word in numbers("numerals") if len(word) > 2 and word not in ARTICLES | {"single", "million"}]
    return sorted([*usable, "ett", "en"], key=len, reverse=True)


def _with_multiplier(tokens: Sequence[Token], numeral: Numeral) -> Numeral:
    value, after = numeral.value, numeral.next
    if after < len(tokens) and not (
        numeral.is_word and not numeral.is_article and not numeral.is_share and value >= 1000
    ):
        token = tokens[after]
        for factor, row in tables()["multipliers"].items():
            words = spellings(row)
            is_letter = len(token.text) == 1
            if (token.text in words if is_letter else token.lower in words) and (
                not is_letter or token.start == tokens[after - 1].end
            ):
                return Numeral(value * int(factor), after + 1, numeral.is_word, is_scaled=True)
        if numeral.is_share and token.lower in ("a", "an", "ett"):
            following = Numeral(numeral.value, after + 1, is_word=True)
            scaled = _with_multiplier(tokens, following)
            return scaled if scaled is not following else numeral
    return numeral
