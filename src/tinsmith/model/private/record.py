"""What a run remembers of private data: counts, and digests by which later stages recognise what must not appear."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tinsmith.core.run_dir import read_json, write_json
from tinsmith.model.private.item import described
from tinsmith.model.private.masks import Masks, Public
from tinsmith.model.private.protect import Finding, Mode

COUNTS_FILE = "private.json"
"""Counts by kind; nothing of the values."""
HIDDEN_FILE = "hidden.json"
"""The key of the masks, and digests of values that must not appear. It is not published."""


_SUMMARY: dict[Mode, str] = {
    "warn": "warning: personal data or secrets stay in the data, and the model may learn them by heart; set"
    " data.privacy, or list public ones in data.privacy_allow",
    "mask": "personal data and secrets masked",
    "drop": "records left out because of personal data or secrets",
}


@dataclass(slots=True)
class PrivateRecord:
    """Counts of private items, and digests of their values."""

    places: Counter[str] = field(default_factory=Counter)
    """Kind -> number of places."""
    digests: dict[str, set[str]] = field(default_factory=dict)
    """Kind -> digests of the different values."""

    def add(self, findings: Iterable[Finding]) -> None:
        """Count the items of one record."""
        for finding in findings:
            self.places[finding.kind] += 1
            self.digests.setdefault(finding.kind, set()).add(finding.digest)

    def merge(self, other: "PrivateRecord") -> None:
        """Add the counts of other records of the same data."""
        self.places.update(other.places)
        for kind, digests in other.digests.items():
            self.digests.setdefault(kind, set()).update(digests)

    def write(self, folder: Path, mode: Mode, key: bytes) -> None:
        """Store counts and digests in a stage's folder.

        Args:
            folder: Of the stage.
            mode: What became of the items.
            key: Of the masks; see `mask_key`.
        """
        write_json(folder / COUNTS_FILE, {"mode": mode, "kinds": self.counts()})
        digests = sorted(set[str]().union(*self.digests.values()))
        # In mode "warn" nothing is promised, so nothing is looked for in what is published.
        kept, hidden = (digests, []) if mode == "warn" else ([], digests)
        write_json(folder / HIDDEN_FILE, {"key": key.hex(), "hidden": hidden, "kept": kept})

    def counts(self) -> dict[str, dict[str, int]]:
        """Kind -> number of places and of different values."""
        return {kind: {"places": self.places[kind], "values": len(self.digests[kind])} for kind in sorted(self.digests)}

    def summary(self, mode: Mode) -> list[str]:
        """A line for the owner; none if nothing was found."""
        if not self.digests:
            return []
        by_words: Counter[str] = Counter()
        for kind, places in self.places.items():
            by_words[described(kind)] += places
        ordered = sorted(by_words.items(), key=lambda item: (-item[1], item[0]))
        return [f"{_SUMMARY[mode]}: {', '.join(f'{words} ({count:,} places)' for words, count in ordered)}"]


@dataclass(frozen=True, slots=True)
class Hidden:
    """Values that a run promises to publish nowhere."""

    masks: Masks
    digests: frozenset[str]

    @classmethod
    def of(cls, *records: dict[str, Any]) -> "Hidden":
        """All values of the contents of `hidden.json` of one or more stages of a run."""
        digests = frozenset(digest for record in records for digest in record["hidden"])
        return cls(Masks(bytes.fromhex(records[0]["key"])), digests)


def read_masks(folder: Path, public: Public) -> Masks:
    """The masks that the data stage used, for more texts of the same owner.

    Args:
        folder: Of the data stage.
        public: What is not masked.

    Raises:
        ArtifactError: there is no record in `folder`.
    """
    return Masks(bytes.fromhex(read_json(folder / HIDDEN_FILE)["key"]), public)
