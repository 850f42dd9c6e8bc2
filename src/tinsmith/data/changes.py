"""What happened to records: one line for each change, and counts with a few examples of each."""

import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, TextIO

WHAT = ("dropped", "duplicate", "cut", "repaired", "masked", "flagged")
"""Kinds of change. The first two leave a record out."""
EXAMPLES = 5
"""Examples kept of each kind and reason."""


@dataclass(frozen=True, slots=True)
class Change:
    """One change to one record."""

    file: str
    """Relative to the data folder."""
    position: str
    """`line 12`, or `record 3 (line 40)` in a JSON document."""
    what: str
    """One of `WHAT`."""
    reason: str
    """The same text for all records with the same problem, without numbers and names: changes are counted by it."""
    detail: str = ""
    """What is particular to this record."""

    @property
    def place(self) -> str:
        """File and position."""
        return f"{self.file}, {self.position}"

    @property
    def text(self) -> str:
        """Reason and detail."""
        return f"{self.reason}: {self.detail}" if self.detail else self.reason


@dataclass(slots=True)
class Group:
    """All changes with one reason."""

    count: int = 0
    examples: list[Change] = field(default_factory=list)
    """The first ones, at most `EXAMPLES`."""


@dataclass(slots=True)
class Tally:
    """Counts of changes."""

    groups: dict[tuple[str, str], Group] = field(default_factory=dict)
    """By `what` and `reason`, in the order of their first change."""
    records: Counter[str] = field(default_factory=Counter)
    """`what` -> number of records with at least one such change."""

    def add(self, change: Change) -> None:
        """Count a change. `records` is left to the caller, who knows which changes belong to one record."""
        group = self.groups.setdefault((change.what, change.reason), Group())
        group.count += 1
        if len(group.examples) < EXAMPLES:
            group.examples.append(change)

    def merge(self, later: "Tally") -> None:
        """Add the counts of records that come later in the data."""
        for key, other in later.groups.items():
            group = self.groups.setdefault(key, Group())
            group.count += other.count
            group.examples += other.examples[: EXAMPLES - len(group.examples)]
        self.records.update(later.records)

    def examples(self, *what: str) -> list[Change]:
        """Examples of all reasons of these kinds."""
        return [example for (kind, _), group in self.groups.items() if kind in what for example in group.examples]

    def as_json(self) -> list[dict[str, Any]]:
        """Counts by kind and reason, the most frequent first within a kind."""
        ordered = sorted(self.groups.items(), key=lambda item: (WHAT.index(item[0][0]), -item[1].count, item[0][1]))
        return [
            {
                "what": what,
                "reason": reason,
                "count": group.count,
                "examples": [
                    {"file": one.file, "position": one.position, "detail": one.detail} for one in group.examples
                ],
            }
            for (what, reason), group in ordered
        ]


class ChangeLog:
    """Writes changes to a file, one JSON object per line, and counts them."""

    def __init__(self, file: TextIO, tally: Tally | None = None) -> None:
        """Write to `file`, and add to `tally`."""
        self.tally = Tally() if tally is None else tally
        self._file = file

    def add_record(self, changes: Iterable[Change]) -> None:
        """All changes to one record."""
        kinds = set()
        for change in changes:
            self.add(change)
            kinds.add(change.what)
        self.tally.records.update(kinds)

    def add(self, change: Change) -> None:
        """A change to a record that is counted elsewhere."""
        self._file.write(json.dumps(asdict(change), ensure_ascii=False) + "\n")
        self.tally.add(change)


def read_changes(path: Path) -> Iterable[Change]:
    """The changes in a file, one at a time."""
    with path.open(encoding="utf-8", newline="\n") as file:
        for line in file:
            yield Change(**json.loads(line))
