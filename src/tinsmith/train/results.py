"""Results of a finished training: its files, measurements and summary."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tinsmith.core.config import TrainConfig
from tinsmith.core.device import Device, hardware
from tinsmith.core.measure import Recorder
from tinsmith.core.parallel import process_count
from tinsmith.core.run_dir import read_json, write_json, write_text
from tinsmith.core.stage_context import Summary
from tinsmith.train.session import Adapter, Session

if TYPE_CHECKING:
    from tinsmith.train.loop import Examples, Progress
    from tinsmith.train.memory import MemoryPlan
    from tinsmith.train.qlora import Trainable


@dataclass(frozen=True)
class Trained:
    """A training that this process finished."""

    trainable: "Trainable"
    backend_reason: str
    memory: "MemoryPlan | None"
    compute: Device
    examples: "Examples"
    adapter_weights: int
    session: Session
    progress: "Progress"
    best: Adapter


def write_outputs(out_dir: Path, base_dir: Path, config: TrainConfig, trained: Trained) -> None:
    """Write the adapter of the best epoch, the log with its plot, and `train.json`."""
    from tinsmith.train.plot import plot_losses
    from tinsmith.train.qlora import TARGET_MODULES, save_adapter

    trainable, progress, compute = trained.trainable, trained.progress, trained.compute
    base_id = read_json(base_dir / "base.json")["id"]
    save_adapter(trainable.model, trained.best, base_id, out_dir / "adapter")
    write_text(out_dir / "log.jsonl", "".join(json.dumps(line) + "\n" for line in progress.log))
    plot_losses(progress.log, progress.best_epoch, f"{trainable.method} on {base_id}", out_dir / "loss.png")
    write_json(
        out_dir / "train.json",
        {
            "framework": trainable.framework,
            "backend": trainable.backend,
            "backend_reason": trained.backend_reason,
            "method": trainable.method,
            "quantization": trainable.quantization,
            "memory": trained.memory.reason if trained.memory else "managed by Unsloth",
            "compute_dtype": str(compute.dtype).removeprefix("torch."),
            "compute_dtype_reason": compute.reason,
            "schedule": config.schedule,
            "target_modules": list(TARGET_MODULES),
            "optimizer": "AdamW, float32 weights and moments of the adapters",
            "hardware": hardware(),
            "energy": progress.energy,
            "processes": process_count(),
            "resumed": progress.resumed,
            "stopped_early": progress.stopped_early,
        },
    )


def record(recorder: Recorder, config: TrainConfig, trained: Trained) -> None:
    """Record settings, time, memory and losses of a training."""
    _record_settings(recorder, config, trained.progress)
    _record_resources(recorder, trained)
    _record_losses(recorder, trained)


def _record_settings(recorder: Recorder, config: TrainConfig, progress: "Progress") -> None:
    def setting(name: str, value: float, unit: str = "count") -> None:
        recorder.add(f"train.{name}", value, unit, 1, "runs", "setting used by the training loop")

    setting("epochs", progress.log[-1]["epoch"])
    setting("best_epoch", progress.best_epoch)
    setting("steps", progress.step)
    setting("batch_size", config.batch_size)
    setting("grad_accum_steps", config.grad_accum_steps)
    setting("effective_batch_size", config.batch_size * config.grad_accum_steps)
    setting("learning_rate", config.learning_rate, "ratio")
    setting("lora_rank", config.lora_rank)
    setting("lora_alpha", config.lora_alpha)


def _record_resources(recorder: Recorder, trained: Trained) -> None:
    progress = trained.progress
    recorder.add(
        "train.trainable_parameters",
        trained.adapter_weights,
        "count",
        1,
        "models",
        "numel of what the optimizer updates",
    )
    recorder.add(
        "train.elapsed_seconds",
        progress.elapsed_seconds,
        "seconds",
        progress.resumed + 1,
        "runs",
        "wall time of the stage, loading and validation included, summed over resumed parts",
    )
    recorder.add(
        "train.tokens_per_second",
        progress.tokens / progress.step_seconds,
        "tokens/s",
        progress.tokens,
        "tokens",
        "tokens of whole conversations / time inside optimizer steps",
        raw="train/log.jsonl",
    )
    recorder.add("train.peak_memory_bytes", progress.peak_memory_bytes, "bytes", 1, "runs", trained.session.peak.method)
    if trained.memory:
        recorder.add(
            "train.planned_memory_bytes",
            trained.memory.needed_bytes,
            "bytes",
            1,
            "runs",
            "estimate made before the first step",
        )


def _record_losses(recorder: Recorder, trained: Trained) -> None:
    progress = trained.progress
    last_epoch_loss, best_val_loss = progress.last_epoch_loss, progress.best_val_loss
    assert last_epoch_loss is not None and best_val_loss is not None  # training always ends with an epoch
    recorder.add(
        "train.loss.last",
        last_epoch_loss,
        "nats/token",
        progress.last_epoch_supervised,
        "tokens",
        "mean over the last epoch, each step before its own update",
        raw="train/log.jsonl",
    )
    recorder.add(
        "train.loss.best_val",
        best_val_loss,
        "nats/token",
        sum(tokens.supervised for tokens in trained.examples.val),
        "tokens",
        "validation loss of the best epoch's adapter, in training precision",
        raw="train/log.jsonl",
    )


def summarize(config: TrainConfig, trained: Trained) -> Summary:
    """Lines for the person who started the training."""
    progress, trainable = trained.progress, trained.trainable
    untrained = next(line["val_loss"] for line in progress.log if line.get("epoch") == 0)
    lines = [
        f"{trainable.method} with {trainable.framework}",
        f"validation loss {untrained:.3f} -> {progress.best_val_loss:.3f} nats per token, epoch "
        f"{progress.best_epoch} of {progress.log[-1]['epoch']} is the best, "
        f"{progress.tokens / progress.step_seconds:.0f} tokens/s",
    ]
    if progress.stopped_early:
        lines.append(f"stopped after {config.patience} epoch(s) without a lower validation loss")
    if progress.best_val_loss >= untrained:
        lines.append("warning: no epoch is better than the untrained base; try a lower train.learning_rate")
    return tuple(lines)
