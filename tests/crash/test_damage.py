"""Checkpoints and packages that were cut short or changed by one bit are never used."""

import random
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from finished_run import copy_of_finished_run
from tinsmith.card.verify import check_card
from tinsmith.core.run_dir import RunDir
from tinsmith.core.stage_context import say_nothing
from tinsmith.export.package import file_problems
from tinsmith.pipeline.runner import is_intact
from tinsmith.train.checkpoint import newest_checkpoint, save_checkpoint

ALL = pytest.param(1200, marks=pytest.mark.long)


def _damages(folder: Path, count: int) -> Iterator[str]:
    """Cut a file short, or flip one of its bits, at random places; `count` times, a sixth of them cuts.

    Only one file is damaged at a time, and it is put back afterwards.
    """
    draw = random.Random(count)
    files = [path for path in sorted(folder.rglob("*")) if path.is_file() and path.stat().st_size]
    for number in range(count):
        path = draw.choice(files)
        content = path.read_bytes()
        if number % 6 == 0:
            length = draw.randrange(len(content))
            about, damaged = f"cut to {length} bytes", content[:length]
        else:
            place, bit = draw.randrange(len(content)), draw.randrange(8)
            about = f"bit {bit} of byte {place} flipped"
            damaged = content[:place] + bytes([content[place] ^ 1 << bit]) + content[place + 1 :]
        path.write_bytes(damaged)
        yield f"{path.relative_to(folder)}: {about}"
        path.write_bytes(content)


def _save(root: Path, step: int) -> Path:
    tensors = {
        "adapter": {f"layer.{i}": torch.full((4, 8), float(step + i)) for i in range(5)},
        "optimizer": {f"layer.{i}.moment": torch.full((4, 8), step / 3) for i in range(5)},
    }
    return save_checkpoint(root, step, {"key": "k", "progress": {"step": step}}, tensors)


@pytest.mark.parametrize("count", [120, ALL])
def test_a_damaged_checkpoint_is_never_loaded(tmp_path, count):
    _save(tmp_path, 1)
    newest = _save(tmp_path, 2)
    expected = newest_checkpoint(tmp_path, "k", say_nothing)
    assert expected.state["progress"]["step"] == 2
    tried = 0
    for damage in _damages(newest, count):
        said: list[str] = []
        loaded = newest_checkpoint(tmp_path, "k", said.append)
        assert loaded.state["progress"]["step"] == 1, damage
        assert len(said) == 1 and said[0].startswith("skipping checkpoint step-00000002"), damage
        tried += 1
    assert tried == count
    assert newest_checkpoint(tmp_path, "k", say_nothing).state == expected.state


def test_with_every_checkpoint_damaged_training_starts_again(tmp_path):
    for step in (1, 2):
        path = _save(tmp_path, step) / "adapter.safetensors"
        path.write_bytes(path.read_bytes()[:-1])
    said: list[str] = []
    assert newest_checkpoint(tmp_path, "k", said.append) is None and len(said) == 2


@pytest.fixture
def finished(tmp_path, tmp_path_factory) -> RunDir:
    return copy_of_finished_run(tmp_path_factory, tmp_path / "run")


@pytest.mark.parametrize("count", [120, ALL])
def test_a_damaged_package_is_not_taken_for_the_stages(finished, count):
    """The next run makes it again; the stamp has the hash of every file."""
    assert is_intact(finished, "export")
    for damage in _damages(finished.stage("export") / "package", count):
        assert not is_intact(finished, "export"), damage
    assert is_intact(finished, "export")


@pytest.mark.parametrize("count", [120, ALL])
def test_a_damaged_package_is_named_by_its_own_list_of_hashes(finished, count):
    """Wherever it was copied to, without the run."""
    package = finished.stage("export") / "package"
    before = [problem for problem in file_problems(package) if "SHA256SUMS" in problem]
    assert before == []
    for damage in _damages(package, count):
        assert any("SHA256SUMS" in problem for problem in file_problems(package)), damage


@pytest.mark.parametrize("count", [6, pytest.param(60, marks=pytest.mark.long)])
@pytest.mark.parametrize("folder", ["export/package", "app/model"])
def test_the_card_check_names_the_damaged_file(finished, folder, count):
    """Fewer, because each check renders the card."""
    assert check_card(finished) == []
    for damage in _damages(finished.root / folder, count):
        name = f"{folder}/{damage.partition(':')[0]}"
        assert any(name in problem for problem in check_card(finished)), damage
