"""The train stage: base and conversations in, the adapter of the best epoch out; continues an interrupted run."""

import json
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tinsmith.chat import read_jsonl
from tinsmith.config import TrainConfig
from tinsmith.device import Device, PeakMemory, choose_device, hardware
from tinsmith.errors import DataError
from tinsmith.measure import Recorder, StageResult
from tinsmith.run_dir import combined_sha256, file_sha256, read_json, write_json, write_text
from tinsmith.tokens import ChatTokenizer, Tokens, load_tokenizer

if TYPE_CHECKING:
    from tinsmith.train.loop import Examples, Progress
    from tinsmith.train.optimizer import MasterAdamW
    from tinsmith.train.qlora import Trainable

Adapter = dict[str, Any]
"""Float32 tensors by parameter name."""


def train_adapter(config: TrainConfig, base_dir: Path, data_dir: Path, out_dir: Path, seed: int) -> StageResult:
    """Fine-tune the base on the training conversations and keep the adapter with the lowest validation loss.

    Writes `adapter/`, `train.json`, `log.jsonl` and `loss.png`. Checkpoints of an interrupted run with the same
    settings and data in `out_dir/checkpoints` are continued; they are removed at the end.

    Raises:
        DataError: a split is empty or carries no loss.
        GateError: the loss mask is empty or leaves an end of turn out.
        MissingDependency: the configured backend does not work here.
        UserError: a loss became infinite or not a number.
    """
    started = time.monotonic()
    chosen = choose_device()
    peak = PeakMemory(chosen.device)
    recorder = Recorder()
    tokenizer = load_tokenizer(base_dir / "model")
    train, val = (_read_split(data_dir, split, tokenizer) for split in ("train", "val"))
    trainable, backend_reason = _load(config, base_dir / "model", chosen, seed, (*train, *val))

    from tinsmith.train.loop import Examples, run_training
    from tinsmith.train.memory import tokens_per_pass
    from tinsmith.train.optimizer import MasterAdamW

    named = {name: p for name, p in trainable.model.named_parameters() if p.requires_grad}
    optimizer = MasterAdamW(named, chosen.dtype, config)
    pad_id = tokenizer.tokenizer.pad_token_id or 0
    examples = Examples(train, val, pad_id, chosen.device, tokens_per_pass(trainable.model.config, chosen))
    session = _Session(out_dir / "checkpoints", _key(config, base_dir, data_dir, seed, chosen, trainable), started, peak)
    progress, best = session.resume(optimizer)
    before_seconds = progress.elapsed_seconds
    checkpoint = session.checkpointer(optimizer, progress, best, before_seconds)
    best = run_training(trainable.model, optimizer, examples, config, seed, progress, best, checkpoint)
    _write_outputs(out_dir, base_dir, config, chosen, trainable, backend_reason, progress, best)
    session.update(progress, before_seconds)
    _record(recorder, config, examples, progress, sum(p.numel() for p in named.values()), peak.method)
    session.clear()
    return StageResult(tuple(recorder.measurements), _summary(progress, config, trainable))


def _read_split(data_dir: Path, split: str, tokenizer: ChatTokenizer) -> list[Tokens]:
    conversations = read_jsonl(data_dir / f"{split}.jsonl")
    if not conversations:
        raise DataError(
            f"{data_dir / f'{split}.jsonl'}: no conversations",
            f"Add conversations, or raise data.{split}_fraction." if split == "val" else "Add conversations.",
        )
    return tokenizer.encode_all(conversations)


def _load(
    config: TrainConfig, model_dir: Path, chosen: Device, seed: int, tokens: Sequence[Tokens]
) -> tuple["Trainable", str]:
    from tinsmith.train.unsloth import choose_backend, load_unsloth

    backend, reason = choose_backend(config, chosen, model_dir)
    print(f"training on {chosen.reason}; {backend}: {reason}", file=sys.stderr)
    if backend == "unsloth":
        return load_unsloth(model_dir, config, chosen, seed, max(len(t.ids) for t in tokens)), reason

    from tinsmith.train.qlora import load_qlora

    return load_qlora(model_dir, config, chosen, seed), reason


def _key(
    config: TrainConfig, base_dir: Path, data_dir: Path, seed: int, chosen: Device, trainable: "Trainable"
) -> str:
    """What must be the same for a checkpoint to be continued."""
    return combined_sha256({
        "config": config.model_dump(mode="json"), "seed": seed, "dtype": str(chosen.dtype),
        "device": chosen.device.type, "framework": trainable.framework, "quantization": trainable.quantization,
        "weights": {p.name: file_sha256(p) for p in sorted((base_dir / "model").glob("*.safetensors"))},
        "data": {split: file_sha256(data_dir / f"{split}.jsonl") for split in ("train", "val")},
    })


@dataclass(frozen=True)
class _Session:
    """This process's part of a training that may take several."""

    root: Path
    key: str
    started: float
    peak: PeakMemory

    def resume(self, optimizer: "MasterAdamW") -> tuple["Progress", Adapter]:
        """Progress and best adapter of the newest usable checkpoint, the optimizer put back; else a fresh start."""
        from tinsmith.train.checkpoint import newest_checkpoint
        from tinsmith.train.loop import Progress

        found = newest_checkpoint(self.root, self.key)
        if found is None:
            return Progress(), {}
        progress = Progress(**found.state["progress"])
        progress.resumed += 1
        optimizer.load(found.tensors["adapter"], found.tensors["optimizer"])
        print(f"continuing after step {progress.step}", file=sys.stderr)
        return progress, found.tensors.get("best", {})

    def update(self, progress: "Progress", before_seconds: float) -> None:
        """Bring time and peak memory in `progress` up to now."""
        progress.elapsed_seconds = before_seconds + time.monotonic() - self.started
        progress.peak_memory_bytes = max(progress.peak_memory_bytes, self.peak.read_bytes())

    def checkpointer(
        self, optimizer: "MasterAdamW", progress: "Progress", best: Adapter, before_seconds: float
    ) -> Callable[[], None]:
        """A function that saves everything as it is when called."""
        from tinsmith.train.checkpoint import save_checkpoint

        def save() -> None:
            self.update(progress, before_seconds)
            tensors = {"adapter": optimizer.weights(), "optimizer": optimizer.state()} | ({"best": best} if best else {})
            save_checkpoint(self.root, progress.step, {"key": self.key, "progress": progress.as_dict()}, tensors)

        return save

    def clear(self) -> None:
        """Remove the checkpoints of a finished training."""
        from tinsmith.train.checkpoint import remove_checkpoints

        remove_checkpoints(self.root)


def _write_outputs(
    out_dir: Path, base_dir: Path, config: TrainConfig, chosen: Device, trainable: "Trainable", backend_reason: str,
    progress: "Progress", best: Adapter,
) -> None:
    from tinsmith.train.plot import plot_losses
    from tinsmith.train.qlora import TARGET_MODULES, save_adapter

    base_id = read_json(base_dir / "base.json")["id"]
    save_adapter(trainable.model, best, base_id, out_dir / "adapter")
    write_text(out_dir / "log.jsonl", "".join(json.dumps(line) + "\n" for line in progress.log))
    plot_losses(progress.log, progress.best_epoch, f"{trainable.method} on {base_id}", out_dir / "loss.png")
    write_json(out_dir / "train.json", {
        "framework": trainable.framework,
        "backend": trainable.backend,
        "backend_reason": backend_reason,
        "method": trainable.method,
        "quantization": trainable.quantization,
        "compute_dtype": str(chosen.dtype).removeprefix("torch."),
        "compute_dtype_reason": chosen.reason,
        "schedule": config.schedule,
        "target_modules": list(TARGET_MODULES),
        "optimizer": "AdamW, float32 weights and moments of the adapters",
        "hardware": hardware(),
        "resumed": progress.resumed,
    })


def _record(
    recorder: Recorder, config: TrainConfig, examples: "Examples", progress: "Progress", parameters: int, peak_method: str
) -> None:
    def setting(name: str, value: float, unit: str = "count") -> None:
        recorder.add(f"train.{name}", value, unit, 1, "runs", "setting used by the training loop")

    setting("epochs", config.epochs)
    setting("best_epoch", progress.best_epoch)
    setting("steps", progress.step)
    setting("batch_size", config.batch_size)
    setting("grad_accum_steps", config.grad_accum_steps)
    setting("effective_batch_size", config.batch_size * config.grad_accum_steps)
    setting("learning_rate", config.learning_rate, "ratio")
    setting("lora_rank", config.lora_rank)
    setting("lora_alpha", config.lora_alpha)
    recorder.add("train.trainable_parameters", parameters, "count", 1, "models", "numel of what the optimizer updates")
    recorder.add("train.elapsed_seconds", progress.elapsed_seconds, "seconds", progress.resumed + 1, "runs",
                 "wall time of the stage, loading and validation included, summed over resumed parts")
    recorder.add("train.tokens_per_second", progress.tokens / progress.step_seconds, "tokens/s", progress.tokens,
                 "tokens", "tokens without padding / time inside optimizer steps", raw="train/log.jsonl")
    recorder.add("train.peak_memory_bytes", progress.peak_memory_bytes, "bytes", 1, "runs", peak_method)
    last = sum(t.supervised for t in examples.train)
    recorder.add("train.loss.last", progress.last_epoch_loss, "nats/token", last, "tokens",
                 "mean over the last epoch, each step before its own update", raw="train/log.jsonl")
    recorder.add("train.loss.best_val", progress.best_val_loss, "nats/token", sum(t.supervised for t in examples.val),
                 "tokens", "validation loss of the kept adapter in training precision", raw="train/log.jsonl")


def _summary(progress: "Progress", config: TrainConfig, trainable: "Trainable") -> tuple[str, ...]:
    untrained = next(line["val_loss"] for line in progress.log if line.get("epoch") == 0)
    lines = [
        f"{trainable.method} with {trainable.framework}",
        f"validation loss {untrained:.3f} -> {progress.best_val_loss:.3f} nats per token, epoch "
        f"{progress.best_epoch} of {config.epochs} kept, {progress.tokens / progress.step_seconds:.0f} tokens/s",
    ]
    if progress.best_val_loss >= untrained:
        lines.append("warning: no epoch is better than the untrained base; try a lower train.learning_rate")
    return tuple(lines)
