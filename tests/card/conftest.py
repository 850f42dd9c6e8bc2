"""A finished run with its card."""

import shutil
from pathlib import Path

import pytest

from fake_run import AUTHOR, write_card, write_run
from shared import build_once
from tinsmith.core.run_dir import RunDir


@pytest.fixture(scope="session")
def rendered(tmp_path_factory) -> Path:
    """Folder of `full_run`, made once a session; not to be written to."""

    def build(folder: Path) -> None:
        with pytest.MonkeyPatch.context() as patches:
            write_card(write_run(folder / "tea-bot", author=AUTHOR), patches, AUTHOR)

    return build_once(tmp_path_factory, "rendered", build) / "tea-bot"


@pytest.fixture
def full_run(rendered, tmp_path) -> RunDir:
    """Every stage finished, every word of the author given, and the card rendered."""
    shutil.copytree(rendered, tmp_path / "tea-bot")
    return RunDir(tmp_path / "tea-bot")
