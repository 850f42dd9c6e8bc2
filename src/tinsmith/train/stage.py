"""The train stage: fine-tunes the base on conversations, and keeps the adapter of the best epoch."""

import gc
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tinsmith.core.config import TrainConfig
from tinsmith.core.device import Device, PeakMemory, choose_device, hardware, return_freed_memory
from tinsmith.core.errors import DataError
from tinsmith.core.measure import Recorder
from tinsmith.core.parallel import next_message, process_count, smallest_number, tell_followers, wait_for_all
from tinsmith.core.run_dir import combined_sha256, file_sha256, read_json, write_json, write_text
from tinsmith.core.stage_context import Say, StageContext, Summary, say_nothing
from tinsmith.model.conversations import read_jsonl
from tinsmith.model.tokens import ChatTokenizer, Tokens, load_tokenizer
from tinsmith.train.session import Adapter, Session

if TYPE_CHECKING:
    from tinsmith.train.engine import Engine
    from tinsmith.train.loop import Examples, Progress
    from tinsmith.train.memory import MemoryPlan
    from tinsmith.train.qlora import Trainable

_PLANNED_STEPS = 200
"""Memory is planned for the largest pass in this many steps."""


def train_adapter(config: TrainConfig, base_dir: Path, data_dir: Path, out_dir: Path, context: StageContext) -> Summary:
    """Fine-tune the base on the training conversations and keep the adapter with the lowest validation loss.

    Writes `adapter/`, `train.json`, `log.jsonl` and `loss.png`. Continues from `out_dir/checkpoints` if an earlier
    process with the same settings and data was interrupted, and removes the checkpoints at the end. Processes launched
    together share every step.

    Raises:
        DataError: a split is empty or carries no loss.
        GateError: the loss mask is empty or misses an end of turn.
        MissingDependency: the configured backend does not work here.
        UserError: a loss became infinite or not a number.
    """
    tell_followers(
        {
            "do": "train",
            "config": config.model_dump(mode="json"),
            "base_dir": str(base_dir.resolve()),
            "data_dir": str(data_dir.resolve()),
            "out_dir": str(out_dir.resolve()),
            "seed": context.seed,
        }
    )
    started = time.monotonic()
    trained = _train(config, base_dir, data_dir, out_dir, context.seed, started, context.say)
    _write_outputs(out_dir, base_dir, config, trained)
    trained.session.update(trained.progress)
    _record(context.recorder, config, trained)
    trained.session.clear()
    return _summary(config, trained)


def follow_leader() -> None:
    """Do this process's share of every training that the leader starts, until the leader stops.

    Raises:
        UserError: as `train_adapter`.
    """
    while (message := next_message())["do"] == "train":
        folders = (Path(message[name]) for name in ("base_dir", "data_dir", "out_dir"))
        _train(TrainConfig(**message["config"]), *folders, message["seed"], time.monotonic(), say_nothing)


@dataclass(frozen=True)
class _Trained:
    """A training that finished on this process."""

    trainable: "Trainable"
    backend_reason: str
    memory: "MemoryPlan | None"
    compute: Device
    examples: "Examples"
    adapter_weights: int
    session: Session
    progress: "Progress"
    best: Adapter


def _train(
    config: TrainConfig, base_dir: Path, data_dir: Path, out_dir: Path, seed: int, started: float, say: Say
) -> _Trained:
    """Train. Every process runs this."""
    compute = choose_device()
    peak = PeakMemory(compute.device)
    train, val, pad_id = _read_tokens(base_dir / "model", data_dir)
    gc.collect()
    return_freed_memory()
    trainable, backend_reason = _load(config, base_dir / "model", compute, seed, (*train, *val))

    from tinsmith.train.loop import Examples, run_training
    from tinsmith.train.optimizer import MasterAdamW

    named = {name: p for name, p in trainable.model.named_parameters() if p.requires_grad}
    adapter_weights = sum(p.numel() for p in named.values())
    optimizer = MasterAdamW(named, compute.dtype, config)
    examples = Examples(train, val)
    engine, memory = _engine(config, trainable, pad_id, examples, adapter_weights, compute, seed)
    for line in _announcement(config, compute, trainable, backend_reason, memory):
        say(line)
    key = _key(config, base_dir, data_dir, seed, compute, trainable)
    session = Session(out_dir / "checkpoints", key, started, peak)
    progress, best = session.resume(optimizer, say)
    wait_for_all()
    checkpoint = session.checkpointer(optimizer, progress, best)
    best = run_training(engine, optimizer, examples, config, seed, progress, best, checkpoint)
    return _Trained(trainable, backend_reason, memory, compute, examples, adapter_weights, session, progress, best)


def _read_tokens(model_dir: Path, data_dir: Path) -> tuple[list[Tokens], list[Tokens], int]:
    """Training and validation conversations, and the id for padding.

    The tokenizer is dropped: Gemma's takes hundreds of megabytes, and training does not need it.
    """
    tokenizer = load_tokenizer(model_dir)
    train, val = (_read_split(data_dir, split, tokenizer) for split in ("train", "val"))
    return train, val, tokenizer.tokenizer.pad_token_id or 0


def _read_split(data_dir: Path, split: str, tokenizer: ChatTokenizer) -> list[Tokens]:
    conversations = read_jsonl(data_dir / f"{split}.jsonl")
    if not conversations:
        raise DataError(
            f"{data_dir / f'{split}.jsonl'}: no conversations",
            f"Add conversations, or raise data.{split}_fraction." if split == "val" else "Add conversations.",
        )
    return tokenizer.encode_all(conversations)


def _load(
    config: TrainConfig, model_dir: Path, compute: Device, seed: int, tokens: Sequence[Tokens]
) -> tuple["Trainable", str]:
    from tinsmith.train.unsloth import choose_backend, load_unsloth

    backend, reason = choose_backend(config, compute, model_dir)
    if backend == "unsloth":
        return load_unsloth(model_dir, config, compute, seed, max(len(t.ids) for t in tokens)), reason

    from tinsmith.train.qlora import load_qlora

    return load_qlora(model_dir, config, compute, seed), reason


def _engine(
    config: TrainConfig,
    trainable: "Trainable",
    pad_id: int,
    examples: "Examples",
    adapter_weights: int,
    compute: Device,
    seed: int,
) -> tuple["Engine", "MemoryPlan | None"]:
    """The engine that computes losses, and how it fits into memory."""
    from tinsmith.model.families import decoder_of
    from tinsmith.model.packed.packing import packed_rows
    from tinsmith.train.batching import epoch_steps
    from tinsmith.train.engine import PackedEngine, PaddedEngine
    from tinsmith.train.lora import lora_decoder
    from tinsmith.train.memory import plan_memory, rows_per_pass

    shape = decoder_of(trainable.model.config)
    # Every process must split a step the same way, whatever its machine.
    max_rows = int(smallest_number(rows_per_pass(shape, config.lora_rank, compute)))
    if trainable.backend == "unsloth":
        return PaddedEngine(trainable.model, config.batch_size, max_rows, pad_id, compute.device), None
    first_epoch = epoch_steps(len(examples.train), config.batch_size * config.grad_accum_steps, seed, 0)
    engine = PackedEngine(lora_decoder(trainable.model), config.batch_size, max_rows, compute.device)
    passes = [group for step in first_epoch[:_PLANNED_STEPS] for group in engine.groups(examples.train, step)]
    rows = max(packed_rows(group) for group in passes)
    plan = plan_memory(shape, rows, adapter_weights, config, compute)
    engine.decoder.recomputed_layers = plan.recomputed_layers
    return engine, plan


def _announcement(
    config: TrainConfig, compute: Device, trainable: "Trainable", backend_reason: str, memory: "MemoryPlan | None"
) -> list[str]:
    effective = config.batch_size * config.grad_accum_steps
    processes = f", over {process_count()} processes" if process_count() > 1 else ""
    lines = [f"training on {compute.reason}; {trainable.backend}: {backend_reason}"]
    lines += [memory.reason] if memory else []
    return [
        *lines,
        f"{effective} conversations a step ({config.batch_size} in a pass x {config.grad_accum_steps}){processes}",
    ]


def _key(
    config: TrainConfig, base_dir: Path, data_dir: Path, seed: int, compute: Device, trainable: "Trainable"
) -> str:
    """Hash of everything that must be the same to continue from a checkpoint."""
    return combined_sha256(
        {
            "config": config.model_dump(mode="json"),
            "seed": seed,
            "dtype": str(compute.dtype),
            "device": compute.device.type,
            "framework": trainable.framework,
            "processes": process_count(),
            "weights": {p.name: file_sha256(p) for p in sorted((base_dir / "model").glob("*.safetensors"))},
            "data": {split: file_sha256(data_dir / f"{split}.jsonl") for split in ("train", "val")},
        }
    )


def _write_outputs(out_dir: Path, base_dir: Path, config: TrainConfig, trained: _Trained) -> None:
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
            "processes": process_count(),
            "resumed": progress.resumed,
            "stopped_early": progress.stopped_early,
        },
    )


def _record(recorder: Recorder, config: TrainConfig, trained: _Trained) -> None:
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


def _record_resources(recorder: Recorder, trained: _Trained) -> None:
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


def _record_losses(recorder: Recorder, trained: _Trained) -> None:
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


def _summary(config: TrainConfig, trained: _Trained) -> tuple[str, ...]:
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
