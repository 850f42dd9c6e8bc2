"""Report what happened to every record, as JSON for the card and as lines for a person."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any

import numpy as np

from tinsmith.data.changes import WHAT, Tally
from tinsmith.data.contradictions import Contradiction, Side


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
    system_prompt: str
    """The most common one, or empty."""
    categories: tuple[Category, ...]
    splits: dict[str, int]
    steps: tuple[Step, ...]
    changes: Tally
    contradictions: tuple[Contradiction, ...]
    notes: tuple[str, ...]
    files: dict[str, str]
    """Name relative to the data folder -> sha256."""
    lengths_unit: str
    """`tokens` with a base model, else `characters`."""
    lengths: tuple[Bin, ...]
    language: str
    source: str
    license: str

    def as_json(self) -> dict[str, Any]:
        """The report as plain lists and objects."""
        plain = {field.name: getattr(self, field.name) for field in fields(self)}
        plain |= {name: [asdict(one) for one in plain[name]] for name in ("categories", "steps", "contradictions")}
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


def report_lines(report: DataReport, shown: int = 20) -> list[str]:
    """The report for a terminal; at most `shown` records per list."""
    total = sum(report.splits.values())
    sizes = ", ".join(f"{count} {split}" for split, count in report.splits.items())
    lines = [f"{report.data}: {len(report.files)} file(s), {total} conversations used ({sizes})", ""]
    width = max(len(step.name) for step in report.steps)
    for step in report.steps:
        lines.append(f"  {step.name:<{width}}  {step.before:>6} -> {step.after:<6}  {step.note}".rstrip())
    lines += ["", f"categories ({len(report.categories)})"]
    for category in report.categories:
        lines.append(f"  {category.count:>6}  {category.share:>6.1%}  {category.name}")
    lines += ["", f"length in {report.lengths_unit}"]
    tallest = max((bin.count for bin in report.lengths), default=1)
    for bin in report.lengths:
        bar = "#" * math.ceil(40 * bin.count / tallest)
        lines.append(f"  {bin.low:>6} - {bin.high - 1:<6} {bin.count:>6}  {bar}".rstrip())
    prompt = " ".join(report.system_prompt.split())
    lines += ["", f"system prompt: {prompt[:100] + ('...' if len(prompt) > 100 else '') if prompt else 'none'}"]
    for what in WHAT:
        lines += _change_lines(report.changes, what)
    lines += _contradiction_lines(report.contradictions, shown)
    if report.notes:
        lines += ["", "notes", *(f"  {note}" for note in report.notes)]
    return lines


def _contradiction_lines(contradictions: Sequence[Contradiction], shown: int) -> list[str]:
    if not contradictions:
        return []
    lines = [
        "",
        f"warning: pairs of answers that seem to contradict each other ({len(contradictions)}); both stay in the data",
    ]
    for pair in contradictions[:shown]:
        lines += [*map(_side_line, (pair.first, pair.second)), ""]
    if len(contradictions) > shown:
        lines += [f"  ... and {len(contradictions) - shown} more, all in the run's data/report.json", ""]
    return lines[:-1]


def _side_line(side: Side) -> str:
    return f"  {side.file}, {side.position}: {side.question} -> {', '.join(side.values)}: {side.statement}"


def _change_lines(tally: Tally, what: str) -> list[str]:
    groups = {reason: group for (kind, reason), group in tally.groups.items() if kind == what}
    if not groups:
        return []
    lines = ["", f"{what} ({tally.records[what]})"]
    for reason, group in sorted(groups.items(), key=lambda item: (-item[1].count, item[0])):
        lines.append(f"  {group.count:>6}  {reason}")
        lines += [
            f"          {one.file}, {one.position}" + (f": {one.detail}" if one.detail else "")
            for one in group.examples
        ]
        if group.count > len(group.examples):
            lines.append(
                f"          ... and {group.count - len(group.examples)} more, all in the run's data/changes.jsonl"
            )
    return lines
