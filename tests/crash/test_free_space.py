"""A disk without room for a stage is told before the stage starts."""

import os
from dataclasses import replace
from types import SimpleNamespace

import pytest

from fake_stages import write_epochs
from finished_run import copy_of_finished_run
from tinsmith.core.config import RunConfig
from tinsmith.core.errors import UserError
from tinsmith.core.run_dir import RunDir, write_json
from tinsmith.pipeline import free_space, runner
from tinsmith.pipeline.free_space import require_space
from tinsmith.pipeline.stages import STAGE_NAMES

MB = 1_000_000


@pytest.fixture
def disk(monkeypatch):
    """`disk(free_bytes)`: what the system says of every disk from now on."""

    def says(free_bytes: int) -> None:
        status = SimpleNamespace(f_frsize=1, f_bavail=free_bytes, f_blocks=10**12, f_bfree=free_bytes)
        monkeypatch.setattr(os, "statvfs", lambda path: status)

    return says


@pytest.mark.parametrize("stage", STAGE_NAMES)
def test_every_stage_asks_for_room(tmp_path_factory, tmp_path, disk, stage):
    run = copy_of_finished_run(tmp_path_factory, tmp_path / "run")
    config = RunConfig(data={"path": str(tmp_path / "chats.jsonl")})
    disk(10**12)
    require_space(config, run, stage)
    disk(29 * MB)
    with pytest.raises(UserError, match=rf"the stage '{stage}' needs about [\d,]+ MB of disk space, and 29 MB are"):
        require_space(config, run, stage)


@pytest.mark.parametrize(
    ("stage", "file", "size_mb", "needed_mb"),
    [
        ("data", "chats.jsonl", 100, 480),
        ("merge", "run/base/model/model.safetensors", 100, 180),
        ("export", "run/merge/model/model.safetensors", 100, 330),
        ("app", "run/export/package/onnx/model_q4.onnx_data", 100, 255),
        ("evaluate", "run/data/train.jsonl", 10, 180),
    ],
)
def test_a_stage_needs_more_if_it_reads_more(tmp_path, disk, stage, file, size_mb, needed_mb):
    (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
    with (tmp_path / file).open("wb") as large:
        large.truncate(size_mb * MB)
    config, run = RunConfig(data={"path": str(tmp_path / "chats.jsonl")}), RunDir(tmp_path / "run")
    disk(needed_mb * MB)
    require_space(config, run, stage)
    disk((needed_mb - 1) * MB)
    with pytest.raises(UserError, match=f"needs about {needed_mb} MB") as error:
        require_space(config, run, stage)
    assert "--runs" in error.value.hint and "finished stages are kept" in error.value.hint


def test_training_needs_room_for_its_checkpoints(tmp_path, disk):
    """A matrix of 1,000 by 3,000 has an adapter of 16 * 4,000 weights; three checkpoints have 20 bytes for each."""
    run = RunDir(tmp_path / "run")
    shapes = {f"model.layers.{i}.self_attn.q_proj.weight": [1000, 3000] for i in range(10)}
    write_json(run.stage("base") / "inventory.json", {"tensors": shapes | {"model.embed_tokens.weight": [9000, 1000]}})
    disk(int(1.5 * (20 * MB + 3 * 20 * 16 * 4000 * 10)))
    require_space(RunConfig(), run, "train")
    disk(int(1.5 * (20 * MB + 3 * 20 * 16 * 4000 * 10)) - 1)
    with pytest.raises(UserError, match="the stage 'train' needs about 88 MB"):
        require_space(RunConfig(), run, "train")


def test_a_browser_needs_room_for_temporary_files(tmp_path, monkeypatch):
    """Which may be on another disk than the run."""
    temporary = tmp_path / "temporary"
    for folder in (temporary, tmp_path / "run"):
        folder.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(temporary))
    usage = {temporary: 100 * MB, tmp_path / "run": 10**12}
    monkeypatch.setattr(free_space.shutil, "disk_usage", lambda path: SimpleNamespace(free=usage[path]))
    with pytest.raises(UserError, match="temporary: the stage 'bench' needs about") as error:
        require_space(RunConfig(), RunDir(tmp_path / "run"), "bench")
    assert "TMPDIR" in error.value.hint


def test_nothing_is_started_or_lost_without_room(tmp_path, monkeypatch, disk):
    stages = tuple(
        replace(stage, run=write_epochs, module="tinsmith.core.errors", outside=lambda config, run: None)
        for stage in runner.STAGES[:2]
    )
    monkeypatch.setattr(runner, "STAGES", stages)
    run = RunDir(tmp_path / "run")
    runner.run_pipeline(RunConfig(), run, lambda text: None, "base", "base")
    before = {path: path.read_bytes() for path in run.root.rglob("*") if path.is_file()}
    disk(0)
    with pytest.raises(UserError, match="the stage 'data' needs about"):
        runner.run_pipeline(RunConfig(), run, lambda text: None, "base", "data")
    assert {path: path.read_bytes() for path in before} == before and not run.stamp("data").exists()
