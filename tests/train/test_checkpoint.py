"""A checkpoint is whole or it is passed over; a damaged one costs only the way back to the one before."""

from pathlib import Path

import pytest
import torch

from tinsmith.core.errors import ArtifactError
from tinsmith.core.stage_context import say_nothing
from tinsmith.train.checkpoint import newest_checkpoint, save_checkpoint


def save(root: Path, step: int, key: str = "k") -> Path:
    return save_checkpoint(root, step, {"key": key, "step": step}, {"adapter": {"w": torch.full((3,), float(step))}})


def test_newest_is_found_and_two_are_kept(tmp_path):
    for step in (1, 2, 11):
        save(tmp_path, step)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["step-00000002", "step-00000011"]
    checkpoint = newest_checkpoint(tmp_path, "k", say_nothing)
    assert checkpoint.state["step"] == 11 and checkpoint.tensors["adapter"]["w"].tolist() == [11.0] * 3


@pytest.mark.parametrize("name", ["adapter.safetensors", "state.json", "sha256.json"])
@pytest.mark.parametrize("damage", ["flip", "truncate", "delete"])
def test_damaged_checkpoint_is_passed_over_with_a_message(tmp_path, name, damage):
    save(tmp_path, 1)
    path = save(tmp_path, 2) / name
    content = path.read_bytes()
    if damage == "delete":
        path.unlink()
    else:
        changed = bytes([content[0] ^ 1]) + content[1:]
        path.write_bytes(changed if damage == "flip" else content[: len(content) // 2])
    said = []
    assert newest_checkpoint(tmp_path, "k", said.append).state["step"] == 1
    assert said[0].startswith("skipping checkpoint step-00000002: ")


def test_checkpoint_of_other_settings_is_not_used(tmp_path):
    save(tmp_path, 1, key="other")
    said = []
    assert newest_checkpoint(tmp_path, "k", said.append) is None
    assert "other settings or data" in said[0]


def test_unfinished_folder_does_not_count(tmp_path):
    save(tmp_path, 1).rename(tmp_path / ".writing-00000001")
    assert newest_checkpoint(tmp_path, "k", say_nothing) is None


def test_full_disk_keeps_the_checkpoint_before(tmp_path, monkeypatch):
    save(tmp_path, 1)
    real_open = Path.open

    def full(self, mode="r", *args, **kwargs):
        if "w" in mode and self.name == "state.json":
            raise OSError(28, "No space left on device")
        return real_open(self, mode, *args, **kwargs)

    monkeypatch.setattr(Path, "open", full)
    with pytest.raises(ArtifactError, match="cannot write the training checkpoint: No space left"):
        save(tmp_path, 2)
    assert [p.name for p in tmp_path.iterdir()] == ["step-00000001"]
    assert newest_checkpoint(tmp_path, "k", say_nothing).state["step"] == 1


def test_loading_needs_no_pickle(tmp_path, monkeypatch):
    save(tmp_path, 1)

    def refuse(*_, **__):
        raise AssertionError("pickle was used")

    monkeypatch.setattr(torch, "load", refuse)
    monkeypatch.setattr("pickle.Unpickler", refuse)
    assert {p.suffix for p in (tmp_path / "step-00000001").iterdir()} == {".json", ".safetensors"}
    assert newest_checkpoint(tmp_path, "k", say_nothing) is not None
