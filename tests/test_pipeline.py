"""Stages run in order, are skipped when nothing changed, and leave earlier results intact when they fail."""

import errno
import json
from dataclasses import replace

import pytest

from tinsmith.core.code_version import code_version, sources_behind
from tinsmith.core.config import RunConfig
from tinsmith.core.errors import ArtifactError, GateError, UserError
from tinsmith.core.run_dir import RunDir
from tinsmith.pipeline import runner
from tinsmith.pipeline.stages import STAGES


@pytest.fixture
def line(monkeypatch, tmp_path):
    """A run folder and a three-stage pipeline of plain functions that record their calls."""
    calls: list[str] = []

    def stage(name, reads, work):
        def run(config, run_dir, out_dir, context):
            calls.append(name)
            context.recorder.add(f"{name}.n", len(calls), "count", 1, "calls", "test")
            work(config, out_dir)
            return (f"{name} ran",)

        original = next(s for s in STAGES if s.name == name)
        return replace(original, reads=reads, run=run, module="tinsmith.core.errors")

    def write(config, out_dir):
        (out_dir / "file.txt").write_text(f"epochs {config.train.epochs}")

    stages = (stage("base", (), write), stage("train", ("base",), write), stage("merge", ("train",), write))
    monkeypatch.setattr(runner, "STAGES", stages)
    monkeypatch.setattr(runner, "STAGE_NAMES", ("base", "train", "merge"))
    return RunDir(tmp_path / "run"), calls, stages, monkeypatch


def _go(run, **more):
    said: list[str] = []
    config = more.pop("config", RunConfig())
    measurements = runner.run_pipeline(config, run, said.append, more.pop("first", "base"), "merge", **more)
    return said, measurements


def test_second_run_skips_everything(line):
    run, calls, _, _ = line
    _go(run)
    assert calls == ["base", "train", "merge"]
    said, measurements = _go(run)
    assert calls == ["base", "train", "merge"] and all("up to date" in text for text in said)
    assert [m.id for m in measurements] == ["base.n", "train.n", "merge.n"]
    assert measurements[1].inputs.keys() == {"base/file.txt"} and measurements[1].environment


def test_a_changed_setting_reruns_that_stage_and_those_below(line):
    run, calls, _, _ = line
    _go(run)
    config = RunConfig(train={"epochs": 9})
    _, measurements = _go(run, config=config)
    assert calls == ["base", "train", "merge", "train", "merge"]
    assert [m.value for m in measurements if m.id == "train.n"] == [4]  # the line of the first run no longer counts


def test_a_damaged_output_is_made_again(line):
    run, calls, _, _ = line
    _go(run)
    (run.stage("train") / "file.txt").write_text("epochs 4")
    _go(run)
    assert calls == ["base", "train", "merge", "train"]  # merge's inputs are what they were


def test_starting_later_refuses_changed_inputs(line):
    run, _, _, _ = line
    _go(run)
    (run.stage("train") / "file.txt").write_text("other")
    with pytest.raises(ArtifactError, match="files changed since the stage 'train' wrote them"):
        _go(run, first="merge")


def test_a_failing_stage_keeps_earlier_results(line):
    run, _, stages, monkeypatch = line
    _go(run)
    before = {p: p.read_bytes() for p in sorted(run.root.rglob("*")) if p.is_file() and ".work" not in p.parts}

    def fail(config, run_dir, out_dir, context):
        (out_dir / "half.txt").write_text("half")
        raise OSError(errno.ENOSPC, "No space left on device", "half.txt")

    monkeypatch.setattr(runner, "STAGES", (stages[0], replace(stages[1], run=fail), stages[2]))
    with pytest.raises(UserError, match="No space left on device"):
        _go(run, config=RunConfig(train={"epochs": 5}))
    after = {p: p.read_bytes() for p in before}
    changed = {p.name for p in before if after[p] != before[p]}
    assert changed == {"config.json"} and not list(run.root.glob("train/half.txt"))


def test_a_failed_gate_is_kept_as_evidence(line):
    run, _, stages, monkeypatch = line

    def fail(config, run_dir, out_dir, context):
        context.recorder.gate("gate.demo", 3.0, "<=", 1.0, "logits", 5, "positions", "test")

    monkeypatch.setattr(runner, "STAGES", (replace(stages[0], run=fail), *stages[1:]))
    with pytest.raises(GateError, match=r"gate.demo: measured 3 logits over 5 positions, required <= 1"):
        _go(run)
    assert json.loads((run.root / "failed_gates.jsonl").read_text())["value"] == 3.0
    assert not run.measurements.exists()


def test_two_processes_cannot_share_a_run_folder(line):
    run, _, stages, monkeypatch = line

    def nested(config, run_dir, out_dir, context):
        with pytest.raises(UserError, match="another tinsmith is working"):
            runner.run_pipeline(config, run, lambda text: None, "base", "base")
        return ()

    monkeypatch.setattr(runner, "STAGES", (replace(stages[0], run=nested),))
    runner.run_pipeline(RunConfig(), run, lambda text: None, "base", "base")


def test_no_absolute_path_is_kept(line, tmp_path):
    run, _, _, _ = line
    _go(run, config=RunConfig(data={"path": str(tmp_path / "chats.jsonl")}))
    for path in run.root.rglob("*"):
        if path.is_file():
            assert str(tmp_path) not in path.read_text(), path
    assert json.loads(run.config.read_text())["data"]["path"] == "chats.jsonl"


def test_code_version_follows_imports_to_templates_and_pages():
    assert code_version("tinsmith.export.stage") != code_version("tinsmith.data.stage")
    assert "tinsmith.export.decoder_graph:decoder_graph.py" in sources_behind("tinsmith.export.stage")
    assert "tinsmith.export.decoder_graph:decoder_graph.py" not in sources_behind("tinsmith.data.stage")
    assert "tinsmith.card:model_card.md.j2" in sources_behind("tinsmith.card.stage")
    assert "tinsmith.web:worker.js" in sources_behind("tinsmith.bench.stage")
    assert not any(name.startswith("tinsmith.web") for name in sources_behind("tinsmith.export.stage"))
