"""Chooses the INT4 recipe that ships: rounding if its loss on validation data is small enough, else the best that fits.

`docs/int4.md` says why `gptq`, smaller than `mixed`, is not tried in between.
"""

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tinsmith.core.config import ExportConfig
from tinsmith.core.device import Device
from tinsmith.core.measure import Recorder
from tinsmith.core.stage_context import StageContext
from tinsmith.export.calibrate import Quantized, calibrate, make_guide, round_all
from tinsmith.export.models import conversation_losses, frozen_model, perplexity_ratio
from tinsmith.model.tokens import Tokens

RECIPES = {
    "rtn": "rounded to nearest",
    "gptq": "GPTQ, guided by the loss on training conversations",
    "mixed": "GPTQ, guided by the loss on training conversations, with INT8 for the matrices that lose most",
}
"""Name -> description, the quickest and smallest first."""

_AUTO_RECIPES = ("rtn", "mixed")


@dataclass(frozen=True, slots=True)
class Trial:
    """Size and loss of one recipe."""

    recipe: str
    weights_bytes: int
    """Matrices alone: packed integers, scales and zero points."""
    perplexity_ratio: float
    """INT4 over tuned on the validation split."""
    interval: dict[str, float]
    """95 % interval of the ratio; empty below five conversations."""
    conversations: int
    seconds: float
    """Time to quantize."""

    def __str__(self) -> str:
        """The trial in one line."""
        ends = f" [{self.interval['ci95_low']:.3f}, {self.interval['ci95_high']:.3f}]" if self.interval else ""
        return (
            f"{self.recipe}: {self.weights_bytes / 1e6:.1f} MB, perplexity {self.perplexity_ratio:.3f}{ends} of the "
            f"tuned model's on validation data, {self.seconds:.0f} s"
        )


@dataclass(frozen=True, slots=True)
class Choice:
    """The quantized model that ships, and the trials of all recipes up to it."""

    recipe: str
    model: Quantized
    trials: list[Trial]


def choose_recipe(
    config: ExportConfig,
    model_dir: Path,
    device: Device,
    calibration: Sequence[Tokens],
    val: Sequence[Tokens],
    context: StageContext,
) -> Choice:
    """Quantize by the configured recipe. `auto` tries recipes until one is within `config.max_perplexity_ratio`.

    Args:
        config: Recipe and limits.
        model_dir: The tuned model.
        device: Runs the model.
        calibration: Training conversations to calibrate on.
        val: Conversations to compare the recipes on.
        context: Its seed drives the bootstrap, and it prints every trial.
    """
    tuned_losses = conversation_losses(frozen_model(model_dir, device), val)
    trials: list[Trial] = []
    for recipe in _AUTO_RECIPES if config.recipe == "auto" else (config.recipe,):
        model, quantized, seconds = _quantize(recipe, config, model_dir, device, calibration)
        losses = conversation_losses(model, val)
        del model  # before the next recipe's is loaded
        counts = [tokens.supervised for tokens in val]
        ratio, interval = perplexity_ratio(losses, tuned_losses, counts, context.seed)
        trials.append(Trial(recipe, quantized.nbytes, ratio, interval, len(val), seconds))
        context.say(str(trials[-1]))
        if ratio <= config.max_perplexity_ratio:
            break
    return Choice(recipe, quantized, trials)


def _quantize(
    recipe: str, config: ExportConfig, model_dir: Path, device: Device, calibration: Sequence[Tokens]
) -> tuple[Any, Quantized, float]:
    """The model with quantized weights, its quantized matrices, and the seconds that quantizing took."""
    started = time.monotonic()
    model = frozen_model(model_dir, device)
    if recipe == "rtn":
        quantized = round_all(model)
    else:
        guide = make_guide(model, calibration)
        quantized = calibrate(model, guide, config.max_bits_per_parameter if recipe == "mixed" else 0.0)
    return model, quantized, time.monotonic() - started


def record_trials(recorder: Recorder, config: ExportConfig, trials: Sequence[Trial]) -> None:
    """Record every trial, and gate the last one's perplexity ratio if the recipe is `auto`.

    Raises:
        GateError: the ratio is above `config.max_perplexity_ratio`.
    """
    method = (
        "tinsmith.export.search: the INT4 model in the format training computes in, over the tuned one; "
        "validation split"
    )
    for trial in trials:
        id, ratio = f"export.recipe.{trial.recipe}", trial.perplexity_ratio
        if math.isfinite(ratio):
            name, count = f"{id}.perplexity_ratio", trial.conversations
            recorder.add(name, ratio, "ratio", count, "conversations", method, spread=trial.interval)
        size_method = "packed integers, scales and zero points"
        recorder.add(f"{id}.weights_bytes", trial.weights_bytes, "bytes", 1, "recipes", size_method)
        recorder.add(f"{id}.seconds", trial.seconds, "seconds", 1, "runs", "wall clock")
    if config.recipe != "auto":
        return
    table = "".join(f"\n  {trial}" for trial in trials)
    recorder.gate(
        "gate.export.perplexity_ratio",
        trials[-1].perplexity_ratio,
        "<=",
        config.max_perplexity_ratio,
        "ratio",
        trials[-1].conversations,
        "conversations",
        method,
        "Raise export.max_bits_per_parameter for more matrices in INT8, or export.max_perplexity_ratio; or set "
        f'export.recipe = "mixed" to ship the last of these:{table}',
    )
