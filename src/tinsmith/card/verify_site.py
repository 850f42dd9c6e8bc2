"""Verify copies of a card: in the site and in the package of the run, or wherever they were published."""

from collections.abc import Iterator
from pathlib import Path

from tinsmith.browser.card_page import card_pages, is_on_site
from tinsmith.core.run_dir import CHECKSUMS_FILE, file_sha256, read_json, tree_sha256s


def changed_copies(card: Path, site: Path) -> Iterator[str]:
    """Copies of a card's files that differ from them, and pages of the card that a new site would not have.

    Args:
        card: The card's folder, or the package in a published site.
        site: The site.
    """
    for name in sorted(tree_sha256s(card)) if card != site / "model" else ():
        yield from _changed(card / name, site / "model" / name, f"app/model/{name}")
    for path in sorted(card.iterdir()):
        if is_on_site(path.name):
            yield from _changed(path, site / path.name, f"app/{path.name}")
    for name, expected in card_pages(card, read_json(site / "app.json")["title"]).items():
        if not (site / name).is_file() or (site / name).read_text(encoding="utf-8") != expected:
            yield f"app/{name}: not the page of card/README.md and card/EVIDENCE.md"


def wrong_checksums(folder: Path, name: str = CHECKSUMS_FILE) -> Iterator[str]:
    """Files that a folder's `SHA256SUMS` lists with another digest.

    Args:
        folder: Where the paths in it start.
        name: Its path in the folder.
    """
    path = folder / name
    if not path.is_file():
        yield f"{name}: missing"
        return
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        digest, _, listed = line.partition("  ")
        file = (path.parent / listed).resolve()
        if not file.is_relative_to(folder.resolve()) or not file.is_file():
            yield f"{listed}: listed in {name} but missing"
        elif file_sha256(file) != digest:
            yield f"{listed}: differs from {name}"


def _changed(original: Path, copy: Path, name: str) -> Iterator[str]:
    if not copy.is_file():
        yield f"{name}: missing, though the card has it"
    elif file_sha256(copy) != file_sha256(original):
        yield f"{name}: differs from the card's file"
