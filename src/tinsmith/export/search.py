"""Which INT4 recipe to ship: the first, from the quickest on, that stays within the stated loss on validation data."""

import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tinsmith.config import ExportConfig
from tinsmith.device import Device
from tinsmith.errors import GateError
from tinsmith.export.gptq import calibrate, round_all
from tinsmith.export.heal import Schedule, heal
from tinsmith.export.int4 import Int4Matrix
from tinsmith.export.teacher import (
    StoredWeights,
    Teacher,
    conversation_losses,
    load_model,
    perplexity_ratio,
)
from tinsmith.packed.decoder import Frozen, PackedDecoder
from tinsmith.packed.packing import Pack

RECIPES = {
    "rtn": "rounded to nearest",
    "gptq": "GPTQ-calibrated on training conversations",
    "heal": "GPTQ-calibrated, then trained to predict what the full-precision model predicts on training conversations",
}
"""Name -> what was done, from the quickest to the best. `heal` starts from what `gptq` made."""


@dataclass(frozen=True, slots=True)
class Trial:
    """How one recipe did."""

    recipe: str
    weights_bytes: int
    """Matrices alone: packed integers and scales."""
    perplexity_ratio: float
    """INT4 over tuned on the validation split."""
    interval: dict[str, float]
    """Its 95 % interval, empty below five conversations."""
    conversations: int
    seconds: float
    """To make it; of a recipe that starts from another, both together."""


@dataclass(frozen=True, slots=True)
class Chosen:
    """The matrices that ship, and every recipe that was tried."""

    recipe: str
    matrices: dict[str, Int4Matrix]
    trials: list[Trial]


_STEPS = {"rtn": ("rtn",), "gptq": ("gptq",), "heal": ("gptq", "heal"), "auto": tuple(RECIPES)}
"""`export.recipe` -> the recipes to try, in order."""


def choose(
    config: ExportConfig, model_dir: Path, chosen: Device, teacher: Teacher, calibration: Pack, seed: int
) -> Chosen:
    """The matrices of the configured recipe, or with `auto` of the first within `config.max_perplexity_ratio`.

    Raises:
        GateError: `auto`, and no recipe is within.
    """
    tuned = conversation_losses(teacher.val, teacher.head)
    trials: list[Trial] = []
    model, matrices, seconds = None, {}, 0.0
    for recipe in _STEPS[config.recipe]:
        started = time.monotonic()
        if recipe == "heal":
            matrices = heal(model, matrices, StoredWeights(model_dir), teacher, Schedule(), seed)
        else:
            model, seconds = load_model(model_dir, chosen), 0.0
            matrices = round_all(model) if recipe == "rtn" else calibrate(model, calibration)
        seconds += time.monotonic() - started
        trials.append(_trial(recipe, model, matrices, seconds, teacher, tuned, seed))
        print(f"    {line(trials[-1])}", file=sys.stderr)
        is_enough = config.recipe == "auto" and trials[-1].perplexity_ratio <= config.max_perplexity_ratio
        if is_enough or recipe == config.recipe:
            return Chosen(recipe, matrices, trials)
    raise GateError(
        f"no INT4 recipe keeps the validation perplexity within {config.max_perplexity_ratio:g} of the tuned model's:\n"
        + "\n".join(f"  {line(trial)}" for trial in trials),
        "More training conversations help. To ship the last one, set export.recipe = \"heal\", or raise "
        "export.max_perplexity_ratio.",
    )


def _trial(
    recipe: str, model: Any, matrices: dict[str, Int4Matrix], seconds: float, teacher: Teacher, tuned: list[float],
    seed: int,
) -> Trial:
    decoder = PackedDecoder(model, Frozen.of)
    losses = conversation_losses(teacher.val, decoder.head, decoder)
    counts = [count for lesson in teacher.val for count in lesson.pack.supervised]
    ratio, interval = perplexity_ratio(losses, tuned, counts, seed)
    size_bytes = sum(matrix.packed.nbytes + matrix.scales.nbytes for matrix in matrices.values())
    return Trial(recipe, size_bytes, ratio, interval, len(counts), seconds)


def line(trial: Trial) -> str:
    """The trial for people, in one line."""
    interval = trial.interval
    low_high = f" [{interval['ci95_low']:.3f}, {interval['ci95_high']:.3f}]" if interval else ""
    return (
        f"{trial.recipe}: {trial.weights_bytes / 1e6:.1f} MB, perplexity {trial.perplexity_ratio:.3f}{low_high} of the "
        f"tuned model's on validation data, {trial.seconds:.0f} s"
    )
