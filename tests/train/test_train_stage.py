"""Training from end to end on tiny models: it learns, resumes exactly, and stops on numbers that are none."""

import json
import os
import signal

import pytest
import torch
from safetensors.torch import load_file

from stage_runs import run_stage
from tinsmith.core.config import TrainConfig
from tinsmith.core.energy import Energy
from tinsmith.core.errors import DataError, MissingDependency, UserError
from tinsmith.core.run_dir import link_or_copy, read_json, write_json
from tinsmith.core.stopping import Stopped, stoppable
from tinsmith.model.conversations import write_jsonl
from tinsmith.train import engine, loop, stage
from tinsmith.train.stage import train_adapter
from tiny import tiny_conversations

QUICK = {"batch_size": 4, "grad_accum_steps": 2, "epochs": 3, "learning_rate": 5e-3}


@pytest.fixture
def run(tmp_path, request):
    """`run(kind)` makes base and data folders; `run.train(out, **settings)` trains."""

    class Run:
        def __init__(self, kind="tiny_llama"):
            for path in request.getfixturevalue(kind).iterdir():
                link_or_copy(path, tmp_path / "base" / "model" / path.name)
            write_json(tmp_path / "base" / "base.json", {"id": "org/tiny"})
            (tmp_path / "data").mkdir()
            conversations = tiny_conversations(26)
            write_jsonl(tmp_path / "data" / "train.jsonl", conversations[:20])
            write_jsonl(tmp_path / "data" / "val.jsonl", conversations[20:])

        def train(self, name="train", **settings):
            out = tmp_path / name
            out.mkdir(exist_ok=True)
            return run_stage(
                train_adapter, TrainConfig(**{**QUICK, **settings}), tmp_path / "base", tmp_path / "data", out, seed=17
            )

        root = tmp_path

    return Run


def adapter(folder):
    return load_file(folder / "adapter" / "adapter_model.safetensors")


def log(folder):
    return [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]


@pytest.mark.parametrize("kind", ["tiny_llama", "tiny_gemma"])
def test_learns_and_keeps_the_best_epoch(run, kind):
    made = run(kind)
    result = made.train()
    out = made.root / "train"
    values = {m.id: m.value for m in result.measurements}
    val = {line["epoch"]: line["val_loss"] for line in log(out) if "val_loss" in line}
    assert values["train.loss.best_val"] == min(val.values()) == val[values["train.best_epoch"]] < 0.8 * val[0]
    assert values["train.steps"] == 9
    assert values["train.trainable_parameters"] == sum(tensor.numel() for tensor in adapter(out).values())
    assert sum(line["tokens"] for line in log(out) if "step" in line) / values["train.tokens_per_second"] > 0
    assert (out / "loss.png").read_bytes().startswith(b"\x89PNG")
    assert sorted(p.name for p in out.iterdir()) == ["adapter", "inventory.json", "log.jsonl", "loss.png", "train.json"]
    record = (out / "train.json").read_text() + (out / "adapter" / "adapter_config.json").read_text()
    assert str(made.root) not in record and "org/tiny" in record


def test_earlier_epoch_is_kept_when_validation_gets_worse(run, monkeypatch):
    losses = iter([5.0, 3.0, 4.0, 6.0])
    monkeypatch.setattr(loop, "_validate", lambda *_: next(losses))
    real_finish, weights = loop._finish_epoch, []

    def watched(engine, optimizer, *rest):
        weights.append(list(optimizer.weights().values()))
        real_finish(engine, optimizer, *rest)

    monkeypatch.setattr(loop, "_finish_epoch", watched)
    made = run()
    result = made.train()
    assert {m.id: m.value for m in result.measurements}["train.best_epoch"] == 1
    kept = list(adapter(made.root / "train").values())
    # Parameter names sort alike in the model and in the file only by chance, so compare sums over all matrices.
    assert sum(t.abs().sum().item() for t in kept) == pytest.approx(sum(t.abs().sum().item() for t in weights[0]))
    assert sum(t.abs().sum().item() for t in kept) != pytest.approx(sum(t.abs().sum().item() for t in weights[2]))


def test_steps_take_the_place_of_epochs_and_the_cut_epoch_is_validated(run):
    made = run()
    result = made.train(steps=4, epochs=1)
    values = {m.id: m.value for m in result.measurements}
    assert values["train.steps"] == 4 and values["train.epochs"] == 2
    assert [line["epoch"] for line in log(made.root / "train") if "val_loss" in line] == [0, 1, 2]
    whole = made.train("whole", epochs=1)
    cut, full = ({m.id: m.count for m in one.measurements}["train.loss.last"] for one in (result, whole))
    assert 0 < cut < 0.5 * full  # one of three steps


def test_training_stops_when_validation_gets_no_better(run, monkeypatch):
    losses = iter([5.0, 3.0, 3.5, 3.2, 1.0])
    monkeypatch.setattr(loop, "_validate", lambda *_: next(losses))
    made = run()
    result = made.train(epochs=4, patience=2)
    values = {m.id: m.value for m in result.measurements}
    assert values["train.best_epoch"] == 1 and values["train.epochs"] == 3
    assert "stopped after 2 epoch(s) without a lower validation loss" in result.summary
    assert read_json(made.root / "train" / "train.json")["stopped_early"]


def test_memory_plan_is_recorded_and_does_not_change_the_result(run):
    made = run()
    for name in ("never", "always"):
        result = made.train(name, gradient_checkpointing=name, epochs=1)
        planned = {m.id: m.value for m in result.measurements}["train.planned_memory_bytes"]
        assert planned > 1e8
    never, always = adapter(made.root / "never"), adapter(made.root / "always")
    assert all(torch.equal(never[name], always[name]) for name in never)
    memory = [read_json(made.root / name / "train.json")["memory"] for name in ("never", "always")]
    assert memory[0].endswith("no gradient checkpointing") and memory[1].endswith(
        "gradient checkpointing in all layers"
    )


class OneJouleForEachReading:
    """A meter that starts at 0 in each process."""

    def __init__(self, device):
        self.readings = 0

    def read(self) -> Energy:
        self.readings += 1
        return Energy({"counter": float(self.readings)})


def test_interrupted_and_resumed_is_bit_identical(run, monkeypatch):
    made = run()
    made.train("whole")
    monkeypatch.setattr(loop, "_CHECKPOINT_SECONDS", 0.0)
    monkeypatch.setattr(stage, "EnergyMeter", OneJouleForEachReading)
    real_step = loop._optimizer_step
    steps, stops = [], [2, 6]  # in the middle of an epoch, then right after the end of one

    def watched(engine, optimizer, indices, examples, config, progress, *rest):
        if stops and progress.step == stops[0]:
            stops.pop(0)
            raise KeyboardInterrupt
        steps.append(progress.step)
        return real_step(engine, optimizer, indices, examples, config, progress, *rest)

    monkeypatch.setattr(loop, "_optimizer_step", watched)
    while stops:
        with pytest.raises(KeyboardInterrupt):
            made.train("parts")
        assert list((made.root / "parts").iterdir()) == [made.root / "parts" / "checkpoints"]
    result = made.train("parts")
    assert steps == list(range(9))
    whole, parts = adapter(made.root / "whole"), adapter(made.root / "parts")
    assert all(torch.equal(whole[name], parts[name]) for name in whole)

    def without_time(folder):
        return [{key: value for key, value in line.items() if key != "seconds"} for line in log(made.root / folder)]

    assert without_time("whole") == without_time("parts")
    record = read_json(made.root / "parts" / "train.json")
    assert record["resumed"] == 2
    # Read at each of nine checkpoints, and at the end.
    assert record["energy"] == {"joules": {"counter": 10.0}, "not_measured": ""}
    (energy,) = [m for m in result.measurements if m.id == "train.energy_joules"]
    assert (energy.value, energy.unit, energy.count, energy.raw) == (10.0, "joules", 3, "train/train.json")


def test_a_signal_waits_for_the_step_and_saves_it(run, monkeypatch):
    made = run()
    made.train("whole")
    real_step = loop._optimizer_step

    def signalled(engine, optimizer, indices, examples, config, progress, *rest):
        if progress.step == 4:
            os.kill(os.getpid(), signal.SIGTERM)
        return real_step(engine, optimizer, indices, examples, config, progress, *rest)

    said = []
    monkeypatch.setattr(loop, "_optimizer_step", signalled)
    with pytest.raises(Stopped) as stopped, stoppable(said.append):
        made.train("parts")
    monkeypatch.undo()
    assert stopped.value.saved == "training is saved up to step 5 of 9" and stopped.value.exit_code == 143
    assert said == ["stopping after this step; the same signal again (Ctrl-C) stops at once"]
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
    result = made.train("parts")
    assert "continuing after step 5" in result.said
    whole, parts = adapter(made.root / "whole"), adapter(made.root / "parts")
    assert all(torch.equal(whole[name], parts[name]) for name in whole)


def test_checkpoints_of_other_settings_are_not_continued(run, monkeypatch):
    made = run()
    real_finish = loop._finish_epoch

    def stop_after_first(*arguments):
        real_finish(*arguments)
        if arguments[-1] == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr(loop, "_finish_epoch", stop_after_first)
    with pytest.raises(KeyboardInterrupt):
        made.train()
    monkeypatch.undo()
    result = made.train(learning_rate=1e-3)
    assert any("other settings or data" in line for line in result.said)
    assert read_json(made.root / "train" / "train.json")["resumed"] == 0


def test_split_into_forward_passes_does_not_change_the_result(run, monkeypatch):
    from tinsmith.core.device import Device

    monkeypatch.setattr(
        "tinsmith.train.stage.choose_device", lambda: Device(torch.device("cpu"), torch.float32, "test")
    )
    made = run()
    made.train("whole", batch_size=8, grad_accum_steps=1, epochs=1)
    made.train("split", batch_size=2, grad_accum_steps=4, epochs=1)
    whole, split = adapter(made.root / "whole"), adapter(made.root / "split")
    first = [[line["loss"] for line in log(made.root / name) if "step" in line] for name in ("whole", "split")]
    assert first[0] == pytest.approx(first[1], rel=1e-4)
    for name in whole:
        torch.testing.assert_close(whole[name], split[name], rtol=1e-2, atol=1e-4)


def test_loss_that_is_not_finite_stops_with_a_way_out(run, monkeypatch):
    made = run()
    real = engine.pack_loss_sum
    calls = []

    def broken(*arguments):
        calls.append(1)
        return real(*arguments) * (float("nan") if len(calls) > 7 else 1)

    monkeypatch.setattr(engine, "pack_loss_sum", broken)
    with pytest.raises(UserError, match=r"loss is nan at training step 3 of 9 \(epoch 1\)") as caught:
        made.train()
    assert "0.001" in caught.value.hint
    assert list((made.root / "train").iterdir()) == []


def test_empty_validation_split_is_refused(run):
    made = run()
    write_jsonl(made.root / "data" / "val.jsonl", [])
    with pytest.raises(DataError, match="no conversations") as caught:
        made.train()
    assert "val_fraction" in caught.value.hint


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_unsloth_is_refused_or_replaced_with_the_reason_on_a_cpu(run):
    made = run()
    with pytest.raises(MissingDependency, match="Unsloth needs a CUDA device and there is none"):
        made.train(backend="unsloth")
    made.train(backend="auto", epochs=1)
    record = read_json(made.root / "train" / "train.json")
    assert record["backend"] == "peft" and "needs a CUDA device" in record["backend_reason"]
    assert "Unsloth" not in record["framework"]
