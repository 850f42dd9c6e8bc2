"""Report what happened to every record, as JSON for the card and as lines for a person."""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from tinsmith.data.contradictions import Contradiction, Side
from tinsmith.model.conversations import Conversation


@dataclass(frozen=True, slots=True)
class Step:
    """Conversations before and after one step."""

    name: str
    before: int
    after: int
    note: str


@dataclass(frozen=True, slots=True)
class Listed:
    """A record that was left out or changed."""

    file: str
    position: str
    reason: str


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
    dropped: tuple[Listed, ...]
    duplicates: tuple[Listed, ...]
    truncated: tuple[Listed, ...]
    repaired: tuple[Listed, ...]
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
        plain = asdict(self)
        plain["lengths"] = {"unit": plain.pop("lengths_unit"), "bins": plain["lengths"]}
        return plain

    @property
    def repaired_records(self) -> int:
        """Records with at least one repair."""
        return len({(item.file, item.position) for item in self.repaired})


def categories_of(conversations: Sequence[Conversation]) -> tuple[Category, ...]:
    """Categories, the largest first."""
    counts = Counter(conversation.category for conversation in conversations)
    ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    return tuple(Category(name, count, count / len(conversations)) for name, count in ordered)


def common_system_prompt(conversations: Sequence[Conversation]) -> str:
    """The most common system prompt; empty if having none is more common."""
    counts = Counter(c.messages[0].content if c.messages[0].role == "system" else "" for c in conversations)
    return min(counts, key=lambda text: (-counts[text], text), default="")


def histogram(lengths: Sequence[int], bins: int = 10) -> tuple[Bin, ...]:
    """Bins of equal, round width that cover all lengths; about `bins` of them, or fewer."""
    if not lengths:
        return ()
    widest = max(1, max(lengths) - min(lengths) + 1) / bins
    magnitude = 10 ** math.floor(math.log10(widest))
    width = max(1, next(math.ceil(magnitude * f) for f in (1, 2, 5, 10) if magnitude * f >= widest))
    counts = Counter(length // width for length in lengths)
    return tuple(Bin(at * width, (at + 1) * width, counts[at]) for at in range(min(counts), max(counts) + 1))


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
    for title in ("dropped", "duplicates", "truncated", "repaired"):
        lines += _listed(title, getattr(report, title), shown)
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


def _listed(title: str, items: Sequence[Listed], shown: int) -> list[str]:
    if not items:
        return []
    lines = ["", f"{title} ({len(items)})"]
    lines += [f"  {item.file}, {item.position}: {item.reason}" for item in items[:shown]]
    if len(items) > shown:
        lines.append(f"  ... and {len(items) - shown} more, all in the run's data/report.json")
    return lines
