"""Training loop: optimizer steps, validation after every epoch, log, checkpoints, and the best adapter."""

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import torch
from tqdm import tqdm

from tinsmith.core.config import TrainConfig
from tinsmith.core.errors import UserError
from tinsmith.core.parallel import is_leader, my_share, sum_number
from tinsmith.core.stopping import Stopped, stop_requested
from tinsmith.model.tokens import Tokens
from tinsmith.train.batching import epoch_steps
from tinsmith.train.engine import Engine
from tinsmith.train.optimizer import MasterAdamW, learning_rate_at

_CHECKPOINT_SECONDS = 30.0


@dataclass
class Progress:
    """State of a training. With the tensors of a checkpoint, it is all that a resumed process needs."""

    step: int = 0
    """Completed optimizer steps."""
    best_epoch: int = 0
    best_val_loss: float | None = None
    tokens: int = 0
    """Tokens trained on, without padding."""
    step_seconds: float = 0.0
    """Time spent in optimizer steps."""
    elapsed_seconds: float = 0.0
    """Time over all resumed processes. A process that was killed counts up to its last checkpoint."""
    peak_memory_bytes: int = 0
    energy: dict[str, Any] | None = None
    """`core.energy.Energy` over all resumed processes, each as `elapsed_seconds`; None before the first reading."""
    resumed: int = 0
    stopped_early: bool = False
    """Whether training ended because the validation loss stopped falling."""
    log: list[dict[str, Any]] = field(default_factory=list)

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True)
class Examples:
    """Tokenized conversations for training and validation."""

    train: Sequence[Tokens]
    val: Sequence[Tokens]


def steps_per_epoch(config: TrainConfig, conversations: int) -> int:
    """Number of optimizer steps in one epoch."""
    return math.ceil(conversations / (config.batch_size * config.grad_accum_steps))


def total_steps(config: TrainConfig, conversations: int) -> int:
    """Number of optimizer steps in the whole training."""
    return config.steps or steps_per_epoch(config, conversations) * config.epochs


def run_training(
    engine: Engine,
    optimizer: MasterAdamW,
    examples: Examples,
    config: TrainConfig,
    seed: int,
    progress: Progress,
    best: dict[str, torch.Tensor],
    checkpoint: Callable[[], None],
) -> dict[str, torch.Tensor]:
    """Train from `progress` to the end, and return the adapter of the epoch with the lowest validation loss.

    `config.steps` may cut the last epoch short; a short epoch is validated too. Training ends early after
    `config.patience` epochs without a lower validation loss.

    Args:
        progress: Where to start; updated in place, so that `checkpoint` can save it.
        best: The best adapter so far; updated in place.
        checkpoint: Saves progress, adapter, optimizer and best adapter. Called only between steps.

    Raises:
        UserError: a loss or gradient is not finite. This state is not saved.
        Stopped: a signal came; the state after the step is saved.
    """
    per_epoch = steps_per_epoch(config, len(examples.train))
    total = total_steps(config, len(examples.train))
    if not progress.log:
        progress.log.append(_validation(engine, examples, config, 0))
    saved_at, planned_epoch, steps = time.monotonic(), None, []
    with tqdm(
        total=total, initial=progress.step, desc="train", unit="step", dynamic_ncols=True, disable=not is_leader()
    ) as bar:
        while progress.step < total and not progress.stopped_early:
            epoch, index = divmod(progress.step, per_epoch)
            if planned_epoch != epoch:
                steps = epoch_steps(len(examples.train), config.batch_size * config.grad_accum_steps, seed, epoch)
                planned_epoch = epoch
            entry = _optimizer_step(engine, optimizer, steps[index], examples, config, progress, total, epoch + 1)
            bar.set_postfix_str(f"loss {entry['loss']:.3f}, {progress.tokens / progress.step_seconds:.0f} tokens/s")
            bar.update()
            is_epoch_end = index == per_epoch - 1 or progress.step == total
            if is_epoch_end:
                _finish_epoch(engine, optimizer, examples, config, progress, best, epoch + 1)
            if is_epoch_end or stop_requested() or time.monotonic() - saved_at > _CHECKPOINT_SECONDS:
                checkpoint()
                saved_at = time.monotonic()
            if number := stop_requested():
                raise Stopped(number, f"training is saved up to step {progress.step} of {total}")
    return best


def _optimizer_step(
    engine: Engine,
    optimizer: MasterAdamW,
    indices: Sequence[int],
    examples: Examples,
    config: TrainConfig,
    progress: Progress,
    total: int,
    epoch: int,
) -> dict[str, Any]:
    """Update the adapters from the training conversations at `indices`, and return the log entry.

    The loss is summed over all supervised tokens of the step and divided by their number, so it does not depend on
    how the step is split into passes or over processes. A mean of means would, and it would favour short answers.
    """
    started = time.monotonic()
    supervised = sum(examples.train[index].supervised for index in indices)
    nll = 0.0
    for group in my_share(engine.groups(examples.train, indices)):
        nll += engine.backward([examples.train[index] for index in group], supervised).item()
        optimizer.accumulate()
    nll = optimizer.sum_gradients(nll)
    rate = learning_rate_at(progress.step, total, config)
    where = f"training step {progress.step + 1} of {total} (epoch {epoch})"
    _require_finite(nll, "loss", where, config)
    _require_finite(optimizer.step(rate), "gradient norm", where, config)
    seconds = time.monotonic() - started
    count = sum(len(examples.train[index].ids) for index in indices)
    progress.step += 1
    progress.tokens += count
    progress.step_seconds += seconds
    entry = {
        "step": progress.step,
        "epoch": epoch,
        "loss": nll / supervised,
        "nll": nll,
        "supervised": supervised,
        "learning_rate": rate,
        "tokens": count,
        "seconds": round(seconds, 6),
    }
    progress.log.append(entry)
    return entry


def _finish_epoch(
    engine: Engine,
    optimizer: MasterAdamW,
    examples: Examples,
    config: TrainConfig,
    progress: Progress,
    best: dict[str, torch.Tensor],
    epoch: int,
) -> None:
    progress.log.append(_validation(engine, examples, config, epoch))
    val_loss = progress.log[-1]["val_loss"]
    if progress.best_val_loss is None or val_loss < progress.best_val_loss:
        progress.best_epoch, progress.best_val_loss = epoch, val_loss
        best.update(optimizer.weights())
    progress.stopped_early = bool(config.patience) and epoch - progress.best_epoch >= config.patience


def _validation(engine: Engine, examples: Examples, config: TrainConfig, epoch: int) -> dict[str, Any]:
    """The log entry of an epoch's validation."""
    supervised = sum(tokens.supervised for tokens in examples.val)
    return {"epoch": epoch, "val_loss": _validate(engine, examples, config, epoch), "supervised": supervised}


def _validate(engine: Engine, examples: Examples, config: TrainConfig, epoch: int) -> float:
    """Loss over the validation conversations, in nats per supervised token."""
    groups = my_share(engine.groups(examples.val, range(len(examples.val))))
    nll = 0.0
    with torch.no_grad():
        for group in tqdm(
            groups, desc="validate", unit="pass", leave=False, delay=2, dynamic_ncols=True, disable=not is_leader()
        ):
            nll += engine.loss_sum([examples.val[index] for index in group]).item()
    nll = sum_number(nll)
    _require_finite(nll, "validation loss", f"epoch {epoch}", config)
    return nll / sum(tokens.supervised for tokens in examples.val)


def _require_finite(value: float, name: str, where: str, config: TrainConfig) -> None:
    if not math.isfinite(value):
        raise UserError(
            f"{name} is {value} at {where}; training stopped, and this state was not saved",
            f"Lower train.learning_rate (it is {config.learning_rate:g}), for example to "
            f"{config.learning_rate / 5:g}. If that does not help, look for odd text in the data with tinsmith check.",
        )
