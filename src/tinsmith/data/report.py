"""Report what happened to every record, as JSON for the card and the owner's page."""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

import numpy as np

from tinsmith.data.changes import WHAT, Tally
from tinsmith.data.contradictions import Contradiction
from tinsmith.data.read.record import Unused
from tinsmith.data.survey import Survey


@dataclass(frozen=True, slots=True)
class Step:
    """Conversations before and after one step."""

    name: str
    before: int
    after: int
    note: str


@dataclass(frozen=True, slots=True)
class Category:
    """A category and its number of conversations."""

    name: str
    count: int
    share: float
    """Of all conversations used."""


@dataclass(frozen=True, slots=True)
class Bin:
    """Number of conversations with a length from `low` to below `high`."""

    low: int
    high: int
    count: int


@dataclass(frozen=True, slots=True)
class DataReport:
    """Results of the data stage, for the owner of the data and the card."""

    data: str
    """Last component of the data path. The folders above it are private."""
    hub: dict[str, str] | None
    """Id, commit, part, licence and address of a data set of the Hugging Face Hub."""
    system_prompt: str
    """The most common one, or empty."""
    categories: tuple[Category, ...]
    splits: dict[str, int]
    steps: tuple[Step, ...]
    changes: Tally
    private: dict[str, dict[str, int]]
    """Kind of personal data or secret -> number of places and of different values."""
    contradictions: tuple[Contradiction, ...]
    survey: Survey
    unused: tuple[Unused, ...]
    """Files, parts of files, and fields of records that are not used."""
    notes: tuple[str, ...]
    files: dict[str, str]
    """Name relative to the data folder -> sha256, of files with records."""
    lengths_unit: str
    """`tokens` with a base model, else `characters`."""
    lengths: tuple[Bin, ...]
    language: str
    source: str
    license: str

    def as_json(self) -> dict[str, Any]:
        """The report as plain lists and objects."""
        plain = {field.name: getattr(self, field.name) for field in fields(self)}
        plain |= {
            name: [asdict(one) for one in plain[name]] for name in ("categories", "steps", "contradictions", "unused")
        }
        plain |= asdict(plain.pop("survey"))
        plain["records"] = {what: self.changes.records[what] for what in WHAT}
        plain["changes"] = self.changes.as_json()
        plain["lengths"] = {"unit": plain.pop("lengths_unit"), "bins": [asdict(bin) for bin in self.lengths]}
        return plain


def categories_of(counts: Mapping[str, int]) -> tuple[Category, ...]:
    """Categories, the largest first."""
    total = sum(counts.values())
    ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    return tuple(Category(name, count, count / total) for name, count in ordered)


def histogram(lengths: np.ndarray, bins: int = 10) -> tuple[Bin, ...]:
    """Bins of equal, round width that cover all lengths; about `bins` of them, or fewer."""
    if not len(lengths):
        return ()
    widest = max(1, int(lengths.max() - lengths.min()) + 1) / bins
    magnitude = 10 ** math.floor(math.log10(widest))
    width = max(1, next(math.ceil(magnitude * f) for f in (1, 2, 5, 10) if magnitude * f >= widest))
    first = int(lengths.min()) // width
    counts = np.bincount(lengths // width - first).tolist()
    return tuple(Bin(at * width, (at + 1) * width, count) for at, count in enumerate(counts, start=first))


def counted(count: int, noun: str) -> str:
    """A number and its noun, such as `1 group` or `2,000 groups`."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"
