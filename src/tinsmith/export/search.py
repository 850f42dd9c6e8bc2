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
from tinsmith.core.run_dir import write_json
from tinsmith.core.stage_context import StageContext
from tinsmith.derive.export import RULES
from tinsmith.derive.files import Files
from tinsmith.derive.losses import paired_ratio
from tinsmith.derive.rules import record
from tinsmith.export.calibrate import Quantized, calibrate, make_guide, round_all
from tinsmith.export.models import conversation_losses, frozen_model
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
    losses: list[float]
    """Summed over the supervised tokens of each validation conversation, in nats."""
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
    tuned_losses: list[float]
    """Of the tuned model, as `Trial.losses`."""


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
        ratio, interval = paired_ratio(losses, tuned_losses, counts, context.seed)
        trials.append(Trial(recipe, quantized.nbytes, ratio, interval, losses, seconds))
        context.say(str(trials[-1]))
        if ratio <= config.max_perplexity_ratio:
            break
    return Choice(recipe, quantized, trials, tuned_losses)


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


def record_trials(
    recorder: Recorder, config: ExportConfig, choice: Choice, val: Sequence[Tokens], out_dir: Path, seed: int
) -> None:
    """Write `recipes.json`, record every trial, and gate the last one's perplexity ratio if the recipe is `auto`.

    Raises:
        GateError: the ratio is above `config.max_perplexity_ratio`.
    """
    trials = [
        {
            "name": trial.recipe,
            "nll": [loss if math.isfinite(loss) else None for loss in trial.losses],
            "weights_bytes": trial.weights_bytes,
            "seconds": trial.seconds,
        }
        for trial in choice.trials
    ]
    raw = {
        "settings": {"recipe": config.recipe, "max_perplexity_ratio": config.max_perplexity_ratio},
        "supervised": [tokens.supervised for tokens in val],
        "tuned": choice.tuned_losses,
        "trials": trials,
    }
    write_json(out_dir / "recipes.json", raw)
    files = Files.of_stage("export", out_dir, seed)
    record(recorder, RULES, files, "export.recipe.")
    table = "".join(f"\n  {trial}" for trial in choice.trials)
    hint = (
        "Raise export.max_bits_per_parameter for more matrices in INT8, or export.max_perplexity_ratio; or set "
        f'export.recipe = "mixed" to ship the last of these:{table}'
    )
    record(recorder, RULES, files, "gate.export.perplexity_ratio", hint)
