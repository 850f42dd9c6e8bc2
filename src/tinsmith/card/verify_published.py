"""Verify a published folder by itself: a site, or the folder of a package with its card, without the run."""

from collections.abc import Iterator
from pathlib import Path

from tinsmith.card.evidence import read_evidence
from tinsmith.card.published import CHECKSUMS, FOLDER, PRIVATE
from tinsmith.card.verify import card_problems
from tinsmith.card.verify_site import changed_copies, wrong_checksums
from tinsmith.core.errors import ArtifactError
from tinsmith.core.run_dir import RunDir, read_json
from tinsmith.derive.inventory import INVENTORY_FILE


def is_published(folder: Path) -> bool:
    """Whether the folder is a published site or package, and no run."""
    return _card_of(folder) is not None


def check_published(folder: Path) -> list[str]:
    """Everything in a published folder that contradicts its card's evidence or its checksums; empty if nothing does.

    Args:
        folder: A copy of a run's `app/` or `app/model/`.
    """
    return list(published_problems(folder))


def published_problems(folder: Path) -> Iterator[str]:
    """The same, one by one, the quickest checks first."""
    card = _card_of(folder)
    if card is None:
        yield f"{folder}: no card.json with {FOLDER}/ beside it"
        return
    try:
        yield from wrong_checksums(card, CHECKSUMS)
        yield from wrong_checksums(card)
        if card != folder:
            yield from wrong_checksums(folder)
            yield from changed_copies(card, folder)
        yield from _wrong_sizes(card)
        yield from card_problems(RunDir(card / FOLDER), card, PRIVATE)
    except ArtifactError as error:
        yield error.message


def _wrong_sizes(card: Path) -> Iterator[str]:
    """Files of the package that are not of the size from which the card's sizes follow."""
    for name, size in read_json(card / FOLDER / "export" / INVENTORY_FILE)["files"].items():
        if not (card / name).is_file() or (card / name).stat().st_size != size:
            yield f"{name}: not of the size in {FOLDER}/export/{INVENTORY_FILE}"


def derived_share(folder: Path) -> tuple[int, int]:
    """How many of a published card's numbers can be derived again from what ships, and how many there are."""
    card = _card_of(folder)
    assert card is not None
    measurements = read_evidence(RunDir(card / FOLDER)).measurements.values()
    return sum(m.raw not in PRIVATE for m in measurements), len(measurements)


def _card_of(folder: Path) -> Path | None:
    places = (folder, folder / "model")
    return next((place for place in places if (place / "card.json").is_file() and (place / FOLDER).is_dir()), None)
