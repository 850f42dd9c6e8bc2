"""Which INT4 recipe to ship: rounding if it stays within the stated loss on validation data, else the best there is room for.

Why `gptq`, smaller than `mixed`, is not tried in between: `docs/int4.md`.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tinsmith.core.config import ExportConfig
from tinsmith.core.device import Device
from tinsmith.core.stage_context import StageContext
from tinsmith.export.calibrate import Quantized, calibrate, make_guide, round_all
from tinsmith.export.models import conversation_losses, frozen_model, perplexity_ratio
from tinsmith.model.tokens import Tokens

RECIPES = {
    "rtn": "rounded to nearest",
    "gptq": "GPTQ, guided by the loss on training conversations",
    "mixed": "GPTQ, guided by the loss on training conversations, with INT8 for the matrices that lose most",
}
"""Name -> what was done, from the quickest and smallest on."""


@dataclass(frozen=True, slots=True)
class Trial:
    """How one recipe did."""

    recipe: str
    weights_bytes: int
    """Matrices alone: packed integers, scales and zero points."""
    perplexity_ratio: float
    """INT4 over tuned on the validation split."""
    interval: dict[str, float]
    """Its 95 % interval, empty below five conversations."""
    conversations: int
    seconds: float
    """To make it."""


@dataclass(frozen=True, slots=True)
class Chosen:
    """The model that ships, and every recipe that was tried."""

    recipe: str
    model: Quantized
    trials: list[Trial]


_TRIED_BY_AUTO = ("rtn", "mixed")


def choose(
    config: ExportConfig,
    model_dir: Path,
    chosen: Device,
    calibration: Sequence[Tokens],
    val: Sequence[Tokens],
    context: StageContext,
) -> Chosen:
    """The matrices of the configured recipe, or with `auto` of the first within `config.max_perplexity_ratio`, else the last.

    Args:
        model_dir: The tuned model.
        calibration: Training conversations to calibrate on.
        val: Conversations to compare the recipes on.
    """
    tuned = conversation_losses(frozen_model(model_dir, chosen), val)
    trials: list[Trial] = []
    for recipe in _TRIED_BY_AUTO if config.recipe == "auto" else (config.recipe,):
        quantized, trial = _tried(recipe, config, model_dir, chosen, calibration, val, tuned, context.seed)
        trials.append(trial)
        context.say(line(trial))
        if trial.perplexity_ratio <= config.max_perplexity_ratio:
            break
    return Chosen(trial.recipe, quantized, trials)


def _tried(
    recipe: str,
    config: ExportConfig,
    model_dir: Path,
    chosen: Device,
    calibration: Sequence[Tokens],
    val: Sequence[Tokens],
    tuned: list[float],
    seed: int,
) -> tuple[Quantized, Trial]:
    """One recipe's matrices and how it did; the model it was tried on is freed with the call."""
    started = time.monotonic()
    model = frozen_model(model_dir, chosen)
    if recipe == "rtn":
        quantized = round_all(model)
    else:
        guide = make_guide(model, calibration)
        quantized = calibrate(model, guide, config.max_bits_per_parameter if recipe == "mixed" else 0.0)
    seconds = time.monotonic() - started
    counts = [tokens.supervised for tokens in val]
    ratio, interval = perplexity_ratio(conversation_losses(model, val), tuned, counts, seed)
    return quantized, Trial(recipe, quantized.nbytes, ratio, interval, len(counts), seconds)


def line(trial: Trial) -> str:
    """The trial for people, in one line."""
    interval = trial.interval
    low_high = f" [{interval['ci95_low']:.3f}, {interval['ci95_high']:.3f}]" if interval else ""
    return (
        f"{trial.recipe}: {trial.weights_bytes / 1e6:.1f} MB, perplexity {trial.perplexity_ratio:.3f}{low_high} of the "
        f"tuned model's on validation data, {trial.seconds:.0f} s"
    )
