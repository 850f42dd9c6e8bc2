"""What a run remembers of private data: counts, and digests by which later stages recognise what must not appear."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tinsmith.core.run_dir import read_json, write_json
from tinsmith.model.private.masks import Masks
from tinsmith.model.private.protect import HIDES, Finding, Mode

PRIVATE_FILE = "private.json"
"""In the folders of the data and knowledge stages. It is not published."""


@dataclass(slots=True)
class PrivateRecord:
    """Counts of private items, and digests of their values."""

    mode: Mode
    key: bytes
    """Of the masks; see `mask_key`."""
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

    def write(self, folder: Path) -> None:
        """Store in `folder`."""
        write_json(folder / PRIVATE_FILE, self.as_json())

    def as_json(self) -> dict[str, Any]:
        """Mode, key, and counts by kind. Digests only of values that are promised to be nowhere."""
        kinds = {
            kind: {"places": self.places[kind], "values": len(self.digests[kind])} for kind in sorted(self.digests)
        }
        hidden = sorted(set().union(*self.digests.values())) if HIDES[self.mode] else []
        return {"mode": self.mode, "key": self.key.hex(), "kinds": kinds, "hidden": hidden}


def read_hidden(record: dict[str, Any]) -> tuple[Masks, frozenset[str]]:
    """Recognises the values that a stored record promises to hide: `masks.digest(item) in hidden`."""
    return Masks(bytes.fromhex(record["key"])), frozenset(record["hidden"])


def read_masks(folder: Path) -> tuple[Masks, Mode]:
    """The masks and the mode that the data stage used, for more texts of the same owner.

    Raises:
        ArtifactError: there is no record in `folder`.
    """
    record = read_json(folder / PRIVATE_FILE)
    return Masks(bytes.fromhex(record["key"])), record["mode"]
