"""Numbers of the train stage, from its log, its record and the adapter's tensors."""

import math
from typing import Any

from tinsmith.derive.files import Files
from tinsmith.derive.inventory import INVENTORY_FILE, tensor_sizes
from tinsmith.derive.rules import Derived, Fields, Rule

LOG = "train/log.jsonl"
RECORD = "train/train.json"

_SETTINGS = {
    "batch_size": "count",
    "grad_accum_steps": "count",
    "learning_rate": "ratio",
    "lora_rank": "count",
    "lora_alpha": "count",
}
"""Name of a setting in `train.json` -> its unit."""


def epochs(files: Files) -> Derived:
    """Epochs that training ran, the last one perhaps in part."""
    return _of_run(_validations(files)[-1]["epoch"])


def best_epoch(files: Files) -> Derived:
    """Epoch with the lowest validation loss, the first of equals; its adapter is kept."""
    return _of_run(_best(files)["epoch"])


def steps(files: Files) -> Derived:
    """Optimizer steps."""
    return _of_run(len(_steps(files)))


def setting(files: Files, name: str) -> Derived:
    """A setting of the training loop."""
    return _of_run(files.json(RECORD)["settings"][name], _SETTINGS[name])


def effective_batch_size(files: Files) -> Derived:
    """Conversations in an optimizer step."""
    settings = files.json(RECORD)["settings"]
    return _of_run(settings["batch_size"] * settings["grad_accum_steps"])


def trainable_parameters(files: Files) -> Derived:
    """Elements of the adapter's tensors, which are all that training changes."""
    return Derived(sum(tensor_sizes(files, "train")), "count", 1, "models")


def elapsed_seconds(files: Files) -> Derived:
    """Wall time of the stage, loading and validation included, summed over the processes that continued it."""
    record = files.json(RECORD)
    return Derived(record["elapsed_seconds"], "seconds", record["resumed"] + 1, "runs")


def tokens_per_second(files: Files) -> Derived:
    """Tokens of whole conversations over the time inside optimizer steps."""
    lines = _steps(files)
    tokens = sum(line["tokens"] for line in lines)
    return Derived(tokens / math.fsum(line["seconds"] for line in lines), "tokens/s", tokens, "tokens")


def memory_bytes(files: Files, kind: str) -> Derived | None:
    """Memory at its peak, or as planned before the first step; None if there was no plan."""
    size = files.json(RECORD)[f"{kind}_memory_bytes"]
    return None if size is None else _of_run(size, "bytes")


def energy_joules(files: Files) -> Derived | None:
    """Energy that the counters of processors and GPU saw during training, all added up; None if there were none."""
    record = files.json(RECORD)
    joules = record["energy"]["joules"]
    return Derived(math.fsum(joules.values()), "joules", record["resumed"] + 1, "runs") if joules else None


def last_loss(files: Files) -> Derived:
    """Training loss over the last epoch, each step before its own update, per supervised token."""
    last = [line for line in _steps(files) if line["epoch"] == _steps(files)[-1]["epoch"]]
    supervised = sum(line["supervised"] for line in last)
    return Derived(math.fsum(line["nll"] for line in last) / supervised, "nats/token", supervised, "tokens")


def best_val_loss(files: Files) -> Derived:
    """Validation loss of the best epoch's adapter, in training precision."""
    best = _best(files)
    return Derived(best["val_loss"], "nats/token", best["supervised"], "tokens")


def _of_run(value: float, unit: str = "count") -> Derived:
    return Derived(value, unit, 1, "runs")


def _steps(files: Files) -> list[dict[str, Any]]:
    return [line for line in files.lines(LOG) if "step" in line]


def _validations(files: Files) -> list[dict[str, Any]]:
    """One line per epoch, the untrained base as epoch 0."""
    return [line for line in files.lines(LOG) if "val_loss" in line]


def _best(files: Files) -> dict[str, Any]:
    return min((line for line in _validations(files) if line["epoch"]), key=lambda line: line["val_loss"])


def _setting_names(files: Files) -> list[Fields]:
    return [{"name": name} for name in _SETTINGS]


def _memory_kinds(files: Files) -> list[Fields]:
    return [{"kind": kind} for kind in ("peak", "planned")]


RULES = (
    Rule("train.epochs", LOG, epochs),
    Rule("train.best_epoch", LOG, best_epoch),
    Rule("train.steps", LOG, steps),
    Rule("train.effective_batch_size", RECORD, effective_batch_size),
    Rule("train.trainable_parameters", f"train/{INVENTORY_FILE}", trainable_parameters),
    Rule("train.elapsed_seconds", RECORD, elapsed_seconds),
    Rule("train.tokens_per_second", LOG, tokens_per_second),
    Rule("train.{kind}_memory_bytes", RECORD, memory_bytes, _memory_kinds),
    Rule("train.energy_joules", RECORD, energy_joules),
    Rule("train.loss.last", LOG, last_loss),
    Rule("train.loss.best_val", LOG, best_val_loss),
    Rule("train.{name}", RECORD, setting, _setting_names),
)
