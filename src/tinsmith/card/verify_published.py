"""Verify a published folder by itself: a site, or the folder of a package with its card, without the run."""

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
    card = _card_of(folder)
    if card is None:
        return [f"{folder}: no card.json with {FOLDER}/ beside it"]
    problems: list[str] = []
    try:
        problems += wrong_checksums(card, CHECKSUMS)
        problems += wrong_checksums(card)
        if card != folder:
            problems += wrong_checksums(folder)
            problems += changed_copies(card, folder)
        for name, size in read_json(card / FOLDER / "export" / INVENTORY_FILE)["files"].items():
            if not (card / name).is_file() or (card / name).stat().st_size != size:
                problems.append(f"{name}: not of the size in {FOLDER}/export/{INVENTORY_FILE}")
        for problem in card_problems(RunDir(card / FOLDER), card, PRIVATE):
            problems.append(problem)  # one by one, so that an error loses none
    except ArtifactError as error:
        problems.append(error.message)
    return problems


def derived_share(folder: Path) -> tuple[int, int]:
    """How many of a published card's numbers can be derived again from what ships, and how many there are."""
    card = _card_of(folder)
    assert card is not None
    measurements = read_evidence(RunDir(card / FOLDER)).measurements.values()
    return sum(m.raw not in PRIVATE for m in measurements), len(measurements)


def _card_of(folder: Path) -> Path | None:
    places = (folder, folder / "model")
    return next((place for place in places if (place / "card.json").is_file() and (place / FOLDER).is_dir()), None)
