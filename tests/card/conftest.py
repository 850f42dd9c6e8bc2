"""A finished run with its card."""

import pytest

from fake_run import AUTHOR, write_card, write_run
from tinsmith.core.run_dir import RunDir


@pytest.fixture
def full_run(tmp_path, monkeypatch) -> RunDir:
    """Every stage finished, every word of the author given, and the card rendered."""
    run = write_run(tmp_path / "tea-bot", author=AUTHOR)
    write_card(run, monkeypatch, AUTHOR)
    return run
