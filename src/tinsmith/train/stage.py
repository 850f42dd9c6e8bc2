"""The train stage: fine-tunes the base on conversations, and saves the adapter of the best epoch."""

import gc
import math
import time
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

from tinsmith.core.config import TrainConfig
from tinsmith.core.device import Device, PeakMemory, choose_device, return_freed_memory
from tinsmith.core.energy import EnergyMeter
from tinsmith.core.errors import DataError
from tinsmith.core.parallel import next_message, process_count, smallest_number, tell_followers, wait_for_all
from tinsmith.core.run_dir import combined_sha256, entries, file_sha256
from tinsmith.core.stage_context import Say, StageContext, Summary, say_nothing
from tinsmith.core.stopping import finishing_step
from tinsmith.derive.files import Files
from tinsmith.derive.rules import record
from tinsmith.derive.train import RULES
from tinsmith.model.conversations import Conversations, read_jsonl
from tinsmith.model.token_file import TokenFile
from tinsmith.model.tokens import load_tokenizer
from tinsmith.train.results import Trained, summarize, write_outputs
from tinsmith.train.session import Session

if TYPE_CHECKING:
    from tinsmith.train.engine import Engine
    from tinsmith.train.loop import Examples
    from tinsmith.train.memory import MemoryPlan
    from tinsmith.train.qlora import Trainable

_PLANNED_STEPS = 200
"""Memory is planned for the largest pass in this many steps."""


def train_adapter(config: TrainConfig, base_dir: Path, data_dir: Path, out_dir: Path, context: StageContext) -> Summary:
    """Fine-tune the base on the training conversations and save the adapter with the lowest validation loss.

    Writes `adapter/`, `train.json`, `log.jsonl` and `loss.png`. Continues from `out_dir/checkpoints` if an earlier
    process with the same settings and data was interrupted, and removes the checkpoints at the end. Processes launched
    together share every step.

    Raises:
        DataError: a split is empty or has no supervised tokens.
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
    trained.session.update(trained.progress)
    write_outputs(out_dir, base_dir, config, trained)
    record(context.recorder, RULES, Files.of_stage("train", out_dir))
    trained.session.clear()
    return summarize(config, trained)


def follow_leader() -> None:
    """Compute this process's share of every training that the leader starts, until the leader stops.

    Raises:
        UserError: as `train_adapter`.
    """
    while (message := next_message())["do"] == "train":
        folders = (Path(message[name]) for name in ("base_dir", "data_dir", "out_dir"))
        _train(TrainConfig(**message["config"]), *folders, message["seed"], time.monotonic(), say_nothing)


def _train(
    config: TrainConfig, base_dir: Path, data_dir: Path, out_dir: Path, seed: int, started: float, say: Say
) -> Trained:
    """Train. Every process runs this."""
    compute = choose_device()
    peak, meter = PeakMemory(compute.device), EnergyMeter(compute.device)
    train, val, pad_id = _read_tokens(config, base_dir / "model", data_dir, out_dir, seed)
    gc.collect()
    return_freed_memory()
    longest = max(train.longest, val.longest)
    trainable, backend_reason = _load(config, base_dir / "model", compute, seed, longest)

    from tinsmith.train.engine import PackedEngine
    from tinsmith.train.loop import Examples, run_training
    from tinsmith.train.optimizer import MasterAdamW
    from tinsmith.train.recorded import RecordedEngine, record_cuda_graph

    parameters = {name: p for name, p in trainable.model.named_parameters() if p.requires_grad}
    adapter_weights = sum(p.numel() for p in parameters.values())
    optimizer = MasterAdamW(parameters, compute.dtype, config)
    examples = Examples(train, val)
    engine, memory = build_engine(config, trainable, pad_id, examples, adapter_weights, compute, seed)
    for line in _start_lines(config, compute, trainable, backend_reason, memory):
        say(line)
    if compute.device.type == "cuda" and isinstance(engine, PackedEngine) and not engine.decoder.recomputed_layers:
        engine = RecordedEngine(engine, list(parameters.values()), say, record_cuda_graph())
    key = _key(config, base_dir, data_dir, seed, compute, trainable)
    session = Session(out_dir / "checkpoints", key, started, peak, meter)
    progress, best = session.resume(optimizer, say)
    wait_for_all()
    checkpoint = session.checkpointer(optimizer, progress, best)
    # Processes that train together get the signal at different steps, so none of them waits for the end of one.
    with finishing_step() if process_count() == 1 else nullcontext():
        best = run_training(engine, optimizer, examples, config, seed, progress, best, checkpoint)
    return Trained(trainable, backend_reason, memory, compute, examples, adapter_weights, session, progress, best)


def _read_tokens(
    config: TrainConfig, model_dir: Path, data_dir: Path, work_dir: Path, seed: int
) -> tuple[TokenFile, TokenFile, int]:
    """Training and validation conversations, whose tokens are kept in `work_dir`, and the id for padding.

    The tokenizer is freed here: Gemma's needs hundreds of megabytes, and training does not use it.
    """
    tokenizer = load_tokenizer(model_dir)
    train, val = (_read_split(data_dir, split) for split in ("train", "val"))
    needed = _needed(config, len(train), seed)
    train_tokens = TokenFile(work_dir, (tokenizer.encode(train[index]) for index in needed), needed, len(train))
    return train_tokens, TokenFile(work_dir, map(tokenizer.encode, val)), tokenizer.tokenizer.pad_token_id or 0


def _needed(config: TrainConfig, conversations: int, seed: int) -> list[int]:
    """Training conversations that this many steps reach, in their order; all of them if there is a whole epoch."""
    from tinsmith.train.batching import epoch_steps

    first_epoch = epoch_steps(conversations, config.batch_size * config.grad_accum_steps, seed, 0)
    steps = max(config.steps or len(first_epoch), _PLANNED_STEPS)
    return sorted(index for step in first_epoch[:steps] for index in step)


def _read_split(data_dir: Path, split: str) -> Conversations:
    conversations = read_jsonl(data_dir / f"{split}.jsonl")
    if not conversations:
        raise DataError(
            f"{data_dir / f'{split}.jsonl'}: no conversations",
            f"Add conversations, or raise data.{split}_fraction." if split == "val" else "Add conversations.",
        )
    return conversations


def _load(config: TrainConfig, model_dir: Path, compute: Device, seed: int, max_tokens: int) -> tuple["Trainable", str]:
    from tinsmith.train.unsloth import choose_backend, load_unsloth

    backend, reason = choose_backend(config, compute, model_dir)
    if backend == "unsloth":
        return load_unsloth(model_dir, config, compute, seed, max_tokens), reason

    from tinsmith.train.qlora import load_qlora

    return load_qlora(model_dir, config, compute, seed), reason


def build_engine(
    config: TrainConfig,
    trainable: "Trainable",
    pad_id: int,
    examples: "Examples",
    adapter_weights: int,
    compute: Device,
    seed: int,
) -> tuple["Engine", "MemoryPlan | None"]:
    """The engine that computes losses, and its memory plan, which only the packed engine has."""
    from tinsmith.model.families import decoder_of
    from tinsmith.model.packed.packing import filled_rows, packed_rows
    from tinsmith.train.batching import epoch_steps
    from tinsmith.train.engine import PackedEngine, PaddedEngine
    from tinsmith.train.lora import lora_decoder
    from tinsmith.train.memory import plan_memory, rows_per_pass

    shape = decoder_of(trainable.model.config)
    # Every process must split a step the same way, whatever its machine.
    max_rows = int(smallest_number(rows_per_pass(shape, config.lora_rank, compute)))
    pass_size = conversations_per_pass(config, compute)
    if trainable.backend == "unsloth":
        return PaddedEngine(trainable.model, pass_size, max_rows, pad_id, compute.device), None
    first_epoch = epoch_steps(len(examples.train), config.batch_size * config.grad_accum_steps, seed, 0)
    engine = PackedEngine(lora_decoder(trainable.model), pass_size, max_rows, compute.device)
    passes = [group for step in first_epoch[:_PLANNED_STEPS] for group in engine.groups(examples.train, step)]
    rows = max(packed_rows([examples.train[index] for index in group]) for group in passes)
    if compute.device.type == "cuda":
        rows = filled_rows(rows)
    plan = plan_memory(shape, rows, adapter_weights, config, compute)
    engine.decoder.recomputed_layers = plan.recomputed_layers
    return engine, plan


def conversations_per_pass(config: TrainConfig, compute: Device) -> int:
    """Maximum number of conversations in one pass: on a GPU, a process's whole share of a step.

    A GPU waits for its next kernel most of the time in a small pass. How a step is split changes no result.
    """
    if compute.device.type == "cpu":
        return config.batch_size
    return math.ceil(config.batch_size * config.grad_accum_steps / process_count())


def _start_lines(
    config: TrainConfig, compute: Device, trainable: "Trainable", backend_reason: str, memory: "MemoryPlan | None"
) -> list[str]:
    effective, pass_size = config.batch_size * config.grad_accum_steps, conversations_per_pass(config, compute)
    processes = f", over {process_count()} processes" if process_count() > 1 else ""
    lines = [f"training on {compute.reason}; {trainable.backend}: {backend_reason}"]
    lines += [memory.reason] if memory else []
    return [
        *lines,
        f"{effective} conversations a step, up to {pass_size} in a pass{processes}",
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
            "weights": {p.name: file_sha256(p) for p in entries(base_dir / "model", "*.safetensors")},
            "data": {split: file_sha256(data_dir / f"{split}.jsonl") for split in ("train", "val")},
        }
    )
