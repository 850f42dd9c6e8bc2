"""The training loop: optimizer steps, validation after every epoch, log, checkpoints and the best adapter."""

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import torch
from tqdm import tqdm

from tinsmith.config import TrainConfig
from tinsmith.errors import UserError
from tinsmith.tokens import Tokens
from tinsmith.train.batching import epoch_steps, forward_passes, padded
from tinsmith.train.loss import batch_loss_sum
from tinsmith.train.optimizer import MasterAdamW, learning_rate_at

_CHECKPOINT_SECONDS = 30.0


@dataclass
class Progress:
    """Where training stands; everything but tensors that a resumed process needs."""

    step: int = 0
    """Optimizer steps done."""
    epoch_nll: float = 0.0
    """Summed training loss of the current epoch so far, in nats."""
    epoch_supervised: int = 0
    last_epoch_loss: float | None = None
    best_epoch: int = 0
    best_val_loss: float | None = None
    tokens: int = 0
    """Tokens trained on, padding not counted."""
    step_seconds: float = 0.0
    """Time inside optimizer steps."""
    elapsed_seconds: float = 0.0
    """Time of all processes together, each counted to its last checkpoint."""
    peak_memory_bytes: int = 0
    resumed: int = 0
    log: list[dict[str, Any]] = field(default_factory=list)

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True)
class Examples:
    """Tokenized conversations to learn from and to validate on."""

    train: Sequence[Tokens]
    val: Sequence[Tokens]
    pad_id: int
    device: torch.device
    max_tokens: int
    """Most tokens, padding included, in one forward pass."""

    def passes(self, split: Sequence[Tokens], indices: Sequence[int], batch_size: int) -> list[list[Tokens]]:
        """The conversations of `split` at `indices`, in groups for one forward pass each."""
        lengths = [len(tokens.ids) for tokens in split]
        return [
            [split[index] for index in group] for group in forward_passes(indices, lengths, batch_size, self.max_tokens)
        ]


def steps_per_epoch(config: TrainConfig, conversations: int) -> int:
    """Optimizer steps in one pass over the training conversations."""
    return math.ceil(conversations / (config.batch_size * config.grad_accum_steps))


def run_training(
    model: Any,
    optimizer: MasterAdamW,
    examples: Examples,
    config: TrainConfig,
    seed: int,
    progress: Progress,
    best: dict[str, torch.Tensor],
    checkpoint: Callable[[], None],
) -> dict[str, torch.Tensor]:
    """Train from `progress` to the end and return the adapter of the epoch with the lowest validation loss.

    Args:
        progress: Updated in place, so that `checkpoint` can save it.
        best: Best adapter so far; updated in place.
        checkpoint: Saves progress, adapter, optimizer and best adapter; called after a whole step.

    Raises:
        UserError: a loss or gradient is not finite; nothing is saved from then on.
    """
    per_epoch = steps_per_epoch(config, len(examples.train))
    total = per_epoch * config.epochs
    lengths = [len(tokens.ids) for tokens in examples.train]
    if not progress.log:
        progress.log.append({"epoch": 0, "val_loss": _validate(model, examples, config, 0)})
    saved_at, planned_epoch, plan = time.monotonic(), None, []
    with tqdm(total=total, initial=progress.step, desc="train", unit="step", dynamic_ncols=True) as bar:
        while progress.step < total:
            epoch, index = divmod(progress.step, per_epoch)
            if planned_epoch != epoch:
                plan = epoch_steps(lengths, config.batch_size * config.grad_accum_steps, seed, epoch)
                planned_epoch = epoch
            groups = examples.passes(examples.train, plan[index], config.batch_size)
            entry = _optimizer_step(model, optimizer, groups, examples, config, progress, total, epoch + 1)
            bar.set_postfix_str(f"loss {entry['loss']:.3f}, {progress.tokens / progress.step_seconds:.0f} tokens/s")
            bar.update()
            is_epoch_end = index == per_epoch - 1
            if is_epoch_end:
                _finish_epoch(model, optimizer, examples, config, progress, best, epoch + 1)
            if is_epoch_end or time.monotonic() - saved_at > _CHECKPOINT_SECONDS:
                checkpoint()
                saved_at = time.monotonic()
    return best


def _optimizer_step(
    model: Any, optimizer: MasterAdamW, groups: list[list[Tokens]], examples: Examples, config: TrainConfig,
    progress: Progress, total_steps: int, epoch: int,
) -> dict[str, Any]:
    """One update from all of `groups`; returns its line of the log.

    The loss is the sum over every supervised token of the step divided by their number, so it does not depend on how
    the step was split into forward passes (a mean of means would weigh short answers more).
    """
    started = time.monotonic()
    supervised = sum(tokens.supervised for group in groups for tokens in group)
    nll = 0.0
    for group in groups:
        ids, mask = padded(group, examples.pad_id, examples.device)
        loss_sum = batch_loss_sum(model, ids, mask)
        nll += loss_sum.item()
        (loss_sum / supervised).backward()
        optimizer.accumulate()
    rate = learning_rate_at(progress.step, total_steps, config)
    where = f"training step {progress.step + 1} of {total_steps} (epoch {epoch})"
    _require_finite(nll, "loss", where, config)
    _require_finite(optimizer.step(rate), "gradient norm", where, config)
    seconds = time.monotonic() - started
    count = sum(len(tokens.ids) for group in groups for tokens in group)
    progress.step += 1
    progress.epoch_nll += nll
    progress.epoch_supervised += supervised
    progress.tokens += count
    progress.step_seconds += seconds
    entry = {
        "step": progress.step, "epoch": epoch, "loss": nll / supervised, "learning_rate": rate, "tokens": count,
        "seconds": round(seconds, 3),
    }
    progress.log.append(entry)
    return entry


def _finish_epoch(
    model: Any, optimizer: MasterAdamW, examples: Examples, config: TrainConfig, progress: Progress,
    best: dict[str, torch.Tensor], epoch: int,
) -> None:
    progress.last_epoch_loss = progress.epoch_nll / progress.epoch_supervised
    progress.epoch_nll, progress.epoch_supervised = 0.0, 0
    val_loss = _validate(model, examples, config, epoch)
    progress.log.append({"epoch": epoch, "val_loss": val_loss})
    if progress.best_val_loss is None or val_loss < progress.best_val_loss:
        progress.best_epoch, progress.best_val_loss = epoch, val_loss
        best.update(optimizer.weights())


def _validate(model: Any, examples: Examples, config: TrainConfig, epoch: int) -> float:
    """Loss in nats per supervised token over the validation conversations."""
    by_length = sorted(range(len(examples.val)), key=lambda index: len(examples.val[index].ids))
    groups = examples.passes(examples.val, by_length, config.batch_size)
    nll, supervised = 0.0, 0
    with torch.no_grad():
        for group in tqdm(groups, desc="validate", unit="batch", leave=False, delay=2, dynamic_ncols=True):
            ids, mask = padded(group, examples.pad_id, examples.device)
            nll += batch_loss_sum(model, ids, mask).item()
            supervised += sum(tokens.supervised for tokens in group)
    _require_finite(nll, "validation loss", f"epoch {epoch}", config)
    return nll / supervised


def _require_finite(value: float, name: str, where: str, config: TrainConfig) -> None:
    if not math.isfinite(value):
        raise UserError(
            f"{name} is {value} at {where}; training stopped and this state was not saved",
            f"Lower train.learning_rate (it is {config.learning_rate:g}), for example to "
            f"{config.learning_rate / 5:g}; if it stays, look for odd text in the data with tinsmith check.",
        )
