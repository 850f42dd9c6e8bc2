"""Stages run in order, are skipped when nothing changed, and leave earlier results intact when they fail."""

import errno
import json
from dataclasses import replace

import numpy as np
import pytest
import safetensors.numpy
from pydantic import create_model

from fake_stages import files_end_at
from tinsmith.core.code_version import code_version, sources_behind
from tinsmith.core.config import RunConfig
from tinsmith.core.errors import ArtifactError, ConfigError, GateError, UserError
from tinsmith.core.measure import Measurement
from tinsmith.core.run_dir import RunDir, combined_sha256, read_json, write_json
from tinsmith.pipeline import runner
from tinsmith.pipeline.stages import STAGES, answers_settings, question_files, wording_files


@pytest.fixture
def line(monkeypatch, tmp_path):
    """A run folder and a three-stage pipeline of plain functions that record their calls."""
    calls: list[str] = []

    def stage(name, reads, work):
        def run(config, run_dir, out_dir, context):
            calls.append(name)
            context.recorder.take(Measurement(f"{name}.n", len(calls), "count", 1, "calls", "test"))
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
    stamp = read_json(run.stamp(measurements[1].stage))
    assert stamp["inputs"].keys() == {"base/file.txt"} and measurements[1].environment
    for kind in ("inputs", "outputs"):
        assert getattr(measurements[1], kind) == combined_sha256(stamp[kind])


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
        gate = {"op": "<=", "bound": 1.0}
        context.recorder.take(Measurement("gate.demo", 3.0, "logits", 5, "positions", "test", gate=gate))

    monkeypatch.setattr(runner, "STAGES", (replace(stages[0], run=fail), *stages[1:]))
    with pytest.raises(GateError, match=r"gate.demo: measured 3 logits over 5 positions, required <= 1"):
        _go(run)
    assert json.loads(run.failed_gates.read_text())["value"] == 3.0
    assert not run.measurements.exists()


def test_a_full_disk_in_a_library_is_a_message_and_the_run_goes_on_later(line):
    run, _, stages, monkeypatch = line

    def fill(config, run_dir, out_dir, context):
        with files_end_at(1000):
            safetensors.numpy.save_file({"weights": np.zeros(1000)}, out_dir / "weights.safetensors")

    monkeypatch.setattr(runner, "STAGES", (stages[0], replace(stages[1], run=fill), stages[2]))
    with pytest.raises(UserError, match="the run stopped: File too large") as error:
        _go(run)
    assert "run the same command again" in error.value.hint
    monkeypatch.setattr(runner, "STAGES", stages)
    said, measurements = _go(run)
    assert said[0].endswith("up to date") and [m.id for m in measurements] == ["base.n", "train.n", "merge.n"]


def test_a_disk_that_fills_up_while_a_result_is_recorded_costs_no_earlier_result(line):
    run, _, _, monkeypatch = line
    _go(run)
    before = {p: p.read_bytes() for p in run.root.rglob("*") if p.is_file() and p.name != "config.json"}

    def full(path, measurements):
        raise OSError(errno.ENOSPC, "No space left on device", str(path))

    with monkeypatch.context() as patch:
        patch.setattr(runner.measure, "append", full)
        with pytest.raises(UserError, match="No space left on device"):
            _go(run, config=RunConfig(train={"epochs": 5}))
    assert {p: p.read_bytes() for p in before} == before
    assert [text for text in _go(run)[0] if "up to date" not in text] == []


def test_an_incomplete_last_line_is_repaired_with_a_message(line):
    run, calls, _, _ = line
    _go(run)
    whole = run.measurements.read_bytes()
    for path in (run.measurements, run.failed_gates):
        path.write_bytes((whole if path == run.measurements else b"") + b'{"id": "gate.de')
    said, measurements = _go(run)
    assert sum("removed an incomplete last line" in text for text in said) == 2
    assert run.measurements.read_bytes() == whole and run.failed_gates.read_bytes() == b""
    assert len(measurements) == 3 and len(calls) == 3


def test_a_stage_whose_measurement_is_lost_runs_again(line):
    run, calls, _, _ = line
    _go(run)
    lines = run.measurements.read_text().splitlines(keepends=True)
    run.measurements.write_text(lines[0] + "damaged\n" + lines[2])
    with pytest.raises(ArtifactError, match=r"measurements.jsonl:2: not a measurement"):
        _go(run)
    run.measurements.write_text(lines[0] + lines[2])
    _, measurements = _go(run)
    assert calls == ["base", "train", "merge", "train"]
    assert sorted(m.id for m in measurements) == ["base.n", "merge.n", "train.n"]


def test_forcing_a_stage_does_not_count_its_measurements_twice(line):
    run, calls, _, _ = line
    _go(run)
    _, measurements = _go(run, first="train", force=True)
    assert len(calls) == 5
    assert [(m.id, m.value) for m in measurements] == [("base.n", 1), ("train.n", 4), ("merge.n", 5)]


@pytest.mark.parametrize("killed_before", ["append", "write_json", "replace_stage_folder"])
def test_killed_between_result_and_record_the_stage_runs_again(line, killed_before):
    run, calls, _, monkeypatch = line
    _go(run)

    def kill(*arguments):
        if killed_before != "write_json" or arguments[0] == run.stamp("train"):
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(runner.measure if killed_before == "append" else runner, killed_before, kill)
        with pytest.raises(KeyboardInterrupt):
            _go(run, config=RunConfig(train={"epochs": 5}), first="train")
    _, measurements = _go(run, config=RunConfig(train={"epochs": 5}))
    assert (run.stage("train") / "file.txt").read_text() == "epochs 5"
    assert calls == ["base", "train", "merge", "train", "train", "merge"]
    assert [(m.id, m.value) for m in measurements] == [("base.n", 1), ("train.n", 5), ("merge.n", 6)]


def test_leftovers_of_a_killed_write_are_no_output(line):
    run, _, stages, monkeypatch = line

    def killed(config, run_dir, out_dir, context):
        for name in ("checkpoints", "adapter"):
            (out_dir / name).mkdir()
        (out_dir / f".{'0' * 16}.tmp").write_text("half")
        (out_dir / f"checkpoints/.{'1' * 16}.tmp").write_text("half")
        (out_dir / "adapter/.tmpMaMbyw").write_text("half a file of a library in Rust")
        raise KeyboardInterrupt

    monkeypatch.setattr(runner, "STAGES", (stages[0], replace(stages[1], run=killed), stages[2]))
    with pytest.raises(KeyboardInterrupt):
        _go(run)
    monkeypatch.setattr(runner, "STAGES", stages)
    _go(run)
    assert {path.name for path in run.stage("train").rglob("*")} == {"checkpoints", "file.txt"}


def test_a_link_among_unfinished_stages_is_removed_and_its_target_kept(line, tmp_path):
    run, _, _, _ = line
    _go(run)
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos/a.jpg").write_text("precious")
    (run.work / "train-0123456789abcdef").symlink_to(tmp_path / "photos")
    _go(run, first="train", force=True)
    assert (tmp_path / "photos/a.jpg").read_text() == "precious" and list(run.work.iterdir()) == []


@pytest.mark.parametrize(
    ("section", "key"), [("data", "path"), ("data", "documents"), ("answers", "questions"), ("answers", "wordings")]
)
@pytest.mark.parametrize(
    ("path", "words"), [("run/data/chats.jsonl", "lies in the run folder"), (".", "contains the run folder")]
)
def test_data_and_run_folder_do_not_lie_in_each_other(line, tmp_path, section, key, path, words):
    run, calls, _, _ = line
    with pytest.raises(UserError, match=words):
        _go(run, config=RunConfig.model_validate({section: {key: str(tmp_path / path)}}))
    assert calls == []


def test_two_processes_cannot_share_a_run_folder(line):
    run, _, stages, monkeypatch = line

    def nested(config, run_dir, out_dir, context):
        with pytest.raises(UserError, match="another tinsmith is working"):
            runner.run_pipeline(config, run, lambda text: None, "base", "base")
        return ()

    monkeypatch.setattr(runner, "STAGES", (replace(stages[0], run=nested),))
    runner.run_pipeline(RunConfig(), run, lambda text: None, "base", "base")


@pytest.mark.parametrize("section", [s.name for s in STAGES if s.name in RunConfig.model_fields])
def test_a_new_key_of_a_section_changes_what_its_stage_depends_on(section):
    """A stage whose settings are picked by hand would go on skipping after a change of the key."""
    config = RunConfig()
    wider = create_model("Wider", __base__=type(getattr(config, section)), new_key=(int, 1))
    (stage,) = [stage for stage in STAGES if stage.name == section]
    one, other = (config.model_copy(update={section: wider(new_key=value)}) for value in (1, 2))
    assert stage.settings(one) != stage.settings(other)


def test_no_absolute_path_is_kept(line, tmp_path):
    run, _, _, _ = line
    data = {"path": str(tmp_path / "chats.jsonl"), "documents": str(tmp_path / "shop")}
    _go(
        run,
        config=RunConfig(
            data=data, answers={"questions": str(tmp_path / "asked.csv"), "wordings": str(tmp_path / "w.jsonl")}
        ),
    )
    for path in run.root.rglob("*"):
        if path.is_file():
            assert str(tmp_path) not in path.read_text(), path
    assert json.loads(run.config.read_text())["data"]["path"] == "chats.jsonl"
    assert json.loads(run.config.read_text())["data"]["documents"] == "shop"
    assert json.loads(run.config.read_text())["answers"]["questions"] == "asked.csv"
    assert json.loads(run.config.read_text())["answers"]["wordings"] == "w.jsonl"


def test_the_questions_count_by_their_content_and_consent_does_not(tmp_path):
    """A file that moved asks the same; consent decides what is published, not what is measured."""
    hashes = []
    for name, text in (("a/asked.jsonl", "one"), ("b/asked.jsonl", "one"), ("a/asked.jsonl", "two")):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
        hashes.append(question_files(RunConfig(answers={"questions": str(path)})))
    assert hashes[0] == hashes[1] != hashes[2] and question_files(RunConfig()) == {}
    before = answers_settings(RunConfig())
    for name, value in (("publish", True), ("publish_questions", True), ("unknown", "No."), ("questions", "/x")):
        assert answers_settings(RunConfig(answers={name: value})) == before, name
    for name, value in (("max_wrong", 0.1), ("mode", "ladder")):
        assert answers_settings(RunConfig(answers={name: value})) != before, name
    with pytest.raises(ConfigError, match="no such file"):
        question_files(RunConfig(answers={"questions": str(tmp_path / "gone.jsonl")}))


def test_the_writer_counts_only_where_it_writes(tmp_path):
    """The base's files decide what it writes; nobody writes where the owner has questions."""
    run = RunDir(tmp_path / "run")
    asked = tmp_path / "asked.jsonl"
    asked.write_text("one")

    def outside(**answers):
        stage = next(stage for stage in STAGES if stage.name == "knowledge")
        return stage.outside(RunConfig(answers=answers), run)

    def stamp(sha256):
        run.stamp("base").parent.mkdir(parents=True, exist_ok=True)
        write_json(run.stamp("base"), {"fingerprint": "f", "measurements": 0, "outputs": {"model/m": sha256}})
        return outside(writer="base"), outside(), outside(writer="base", questions=str(asked))

    one, other = stamp("aa"), stamp("bb")
    assert one[0] != other[0] and one[1:] == other[1:] and one[0] != one[1]
    endpoint = {"writer": "https://tea.example/v1", "writer_model": "a"}
    assert outside(**endpoint) != outside(**endpoint | {"writer_model": "b"})
    assert outside(**endpoint, questions=str(asked)) == outside(questions=str(asked))


def test_wordings_count_by_their_content(tmp_path):
    path = tmp_path / "wordings.jsonl"
    hashes = []
    for text in ("one", "two"):
        path.write_text(text)
        hashes.append(wording_files(RunConfig(answers={"wordings": str(path)})))
    assert hashes[0] != hashes[1] and wording_files(RunConfig()) == {}
    assert answers_settings(RunConfig(answers={"wordings": "/x"})) == answers_settings(RunConfig())
    with pytest.raises(ConfigError, match=r"answers\.wordings: no such file"):
        wording_files(RunConfig(answers={"wordings": str(tmp_path / "gone.jsonl")}))


def test_code_version_follows_imports_to_templates_and_pages():
    assert code_version("tinsmith.export.stage") != code_version("tinsmith.data.stage")
    assert "tinsmith.export.decoder_graph:decoder_graph.py" in sources_behind("tinsmith.export.stage")
    assert "tinsmith.export.decoder_graph:decoder_graph.py" not in sources_behind("tinsmith.data.stage")
    assert "tinsmith.card:model_card.md.j2" in sources_behind("tinsmith.card.stage")
    assert "tinsmith.web:worker.js" in sources_behind("tinsmith.bench.stage")
    assert not any(name.startswith("tinsmith.web") for name in sources_behind("tinsmith.export.stage"))
