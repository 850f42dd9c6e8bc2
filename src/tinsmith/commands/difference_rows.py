"""Differences between two runs as rows of finished text, for the terminal and for a page."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from tinsmith.pipeline.stages import STAGES

TITLES = {stage.name: stage.title for stage in STAGES}
"""Titles of stages, by name."""
_LISTED_IDS = 10


@dataclass(frozen=True, slots=True)
class Row:
    """One difference."""

    name: str
    old: str
    new: str
    change: str = ""
    """The difference, with its interval and what it rests on."""
    verdict: str = ""
    """What can be told; empty for exact numbers and words."""


@dataclass(slots=True)
class Section:
    """Differences of one kind."""

    title: str
    groups: dict[str, list[Row]] = field(default_factory=dict)
    """Title of a stage -> its rows."""
    notes: list[str] = field(default_factory=list)

    def __bool__(self) -> bool:
        return bool(self.groups or self.notes)


def listed(ids: Sequence[str]) -> str:
    """The first ids, and a count of the rest."""
    more = f" and {len(ids) - _LISTED_IDS:,} more" if len(ids) > _LISTED_IDS else ""
    return ", ".join(ids[:_LISTED_IDS]) + more
