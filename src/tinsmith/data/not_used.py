"""What of the data is not used, with parts of the same name in several files as one."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

UNUSED_FIELDS = "fields of records that are not used"
"""Reason of `Unused` for a field."""


@dataclass(slots=True)
class NotUsed:
    """A file, or a part of one or more files, such as a field."""

    reason: str
    name: str
    """Of the part, or of the file if it is whole."""
    is_part: bool
    count: int = 0
    """Records with a field; how often there is another part."""
    files: int = 0

    @property
    def where(self) -> str:
        """How often there is a part; empty for a whole file."""
        if not self.is_part:
            return ""
        files = "1 file" if self.files == 1 else f"{self.files:,} files"
        if self.reason != UNUSED_FIELDS:
            return f"in {files}"
        return f"in {self.count:,} {'record' if self.count == 1 else 'records'} of {files}"


def not_used(report: Mapping[str, Any]) -> list[NotUsed]:
    """What is not used, the reasons as in the report, the most frequent first in each."""
    groups: dict[tuple[str, str, bool], NotUsed] = {}
    for one in report["unused"]:
        file, separator, part = one["name"].partition(": ")
        name = part if separator else file
        group = groups.setdefault((one["reason"], name, bool(separator)), NotUsed(one["reason"], name, bool(separator)))
        group.count += one["count"]
        group.files += 1
    order = {reason: place for place, reason in enumerate(dict.fromkeys(group.reason for group in groups.values()))}
    return sorted(groups.values(), key=lambda group: (order[group.reason], -group.count, group.name))
