"""Results of a finished training: its files and summary."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tinsmith.core.config import TrainConfig
from tinsmith.core.device import Device, hardware
from tinsmith.core.parallel import process_count
from tinsmith.core.run_dir import read_json, write_json, write_text
from tinsmith.core.stage_context import Summary
from tinsmith.derive.inventory import write_inventory
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
    """Write the adapter of the best epoch with its inventory, the log with its plot, and `train.json`."""
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
            "settings": {
                name: getattr(config, name)
                for name in ("batch_size", "grad_accum_steps", "learning_rate", "lora_rank", "lora_alpha")
            },
            "elapsed_seconds": progress.elapsed_seconds,
            "peak_memory_bytes": progress.peak_memory_bytes,
            "peak_memory_method": trained.session.peak.method,
            "planned_memory_bytes": trained.memory.needed_bytes if trained.memory else None,
            "resumed": progress.resumed,
            "stopped_early": progress.stopped_early,
        },
    )
    write_inventory(out_dir / "adapter", out_dir)


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
