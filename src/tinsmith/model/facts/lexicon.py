"""The tables of `lexicon.toml`: units, number words, bounds, negation and words that exclude each other."""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from importlib.resources import files
from typing import Any


@dataclass(frozen=True, slots=True)
class Unit:
    """A unit with its factor to the base unit of its dimension."""

    name: str
    dimension: str
    factor: Fraction


@cache
def tables() -> dict[str, Any]:
    """The file as it stands."""
    return tomllib.loads((files("tinsmith.model.facts") / "lexicon.toml").read_text(encoding="utf-8"))


def spellings(text: str) -> list[str]:
    """The spellings of one row, without case."""
    return [spelling.strip() for spelling in text.split(",") if spelling.strip()]


@cache
def units_by_spelling() -> Mapping[tuple[str, ...], Unit]:
    """Units by the words of each spelling, without case."""
    rows = tables()["units"].items()
    return {
        tuple(spelling.casefold().split()): Unit(name, dimension, Fraction(factor))
        for name, (dimension, factor, row) in rows
        for spelling in spellings(row)
    }


@cache
def units_by_case() -> Mapping[str, Unit]:
    """Units by spellings whose case counts, such as `m` and `W`."""
    rows = tables()["cased_units"].items()
    return {
        spelling: Unit(name, dim, Fraction(factor)) for name, (dim, factor, row) in rows for spelling in spellings(row)
    }


@cache
def units_by_name() -> Mapping[str, Unit]:
    """Units by name, such as `m²`."""
    everything = [*units_by_spelling().values(), *units_by_case().values()]
    return {unit.name: unit for unit in everything}


@cache
def numbers(table: str) -> Mapping[str, Fraction]:
    """Values by word, of the tables whose keys are numbers."""
    rows = tables()[table].items()
    return {spelling: Fraction(value) for value, row in rows for spelling in spellings(row)}


@cache
def phrases(table: str, row: str) -> tuple[tuple[str, ...], ...]:
    """Phrases of a row as words without case, longest first."""
    found = {tuple(spelling.casefold().split()) for spelling in spellings(tables()[table][row])}
    return tuple(sorted(found, key=lambda words: (-len(words), words)))


@cache
def words(table: str, row: str) -> frozenset[str]:
    """Words of a row. They are separated by spaces, or by commas with spaces; a comma alone is one of them."""
    pieces = tables()[table][row].casefold().split()
    return frozenset(piece if piece == "," else piece.rstrip(",") for piece in pieces)


@cache
def contrasts() -> Mapping[str, tuple[tuple[str, int], ...]]:
    """By word, the contrasts that it takes part in, and on which side."""
    sides: dict[str, list[tuple[str, int]]] = {}
    for name, row in tables()["contrasts"].items():
        for number, side in enumerate(row):
            for spelling in spellings(side):
                sides.setdefault(spelling, []).append((name, number))
    return {word: tuple(places) for word, places in sides.items()}
