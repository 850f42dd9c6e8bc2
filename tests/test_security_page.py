"""SECURITY.md promises only what a test shows."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "SECURITY.md").read_text()


def test_every_promise_names_a_test_that_exists():
    rows = [line.split("|")[1:-1] for line in PAGE.splitlines() if line.startswith("|")][2:]
    assert len(rows) > 15
    for _, attack, promise, tests in rows:
        assert attack.strip() and promise.strip()
        paths = re.findall(r"`([\w/.]+\.py)`", tests)
        assert paths and all((ROOT / "tests" / path).is_file() for path in paths), tests


def test_reports_go_to_the_repository():
    assert "private vulnerability reporting" in PAGE and "@" not in PAGE


def test_files_and_targets_that_it_names_exist():
    makefile = (ROOT / "Makefile").read_text()
    for target in re.findall(r"`make ([\w-]+)`", PAGE):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target
    for lock in re.findall(r"locks/[\w-]+\.txt", PAGE):
        assert (ROOT / lock).is_file(), lock
