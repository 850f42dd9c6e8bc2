"""Which INT4 recipe to ship: the first, from the smallest on, that stays within the stated loss on validation data."""

import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tinsmith.config import ExportConfig
from tinsmith.device import Device
from tinsmith.errors import GateError
from tinsmith.export.calibrate import Quantized, calibrate, make_guide, round_all
from tinsmith.export.models import StoredWeights, conversation_losses, load_model, perplexity_ratio
from tinsmith.packed.packing import Pack
from tinsmith.tokens import Tokens

RECIPES = {
    "rtn": "rounded to nearest",
    "gptq": "GPTQ, guided by the loss on training conversations",
    "mixed": "GPTQ, guided by the loss on training conversations, with the matrices that lose most in INT8",
}
"""Name -> what was done, from the quickest and smallest to the best. `mixed` starts from what `gptq` found."""


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
    """To make it, with what it starts from."""


@dataclass(frozen=True, slots=True)
class Chosen:
    """The model that ships, and every recipe that was tried."""

    recipe: str
    model: Quantized
    trials: list[Trial]


_STEPS = {"rtn": ("rtn",), "gptq": ("gptq",), "mixed": ("gptq", "mixed"), "auto": tuple(RECIPES)}
"""`export.recipe` -> the recipes to try, in order."""

_BITS_MORE = 4
"""What a weight costs in INT8 above INT4; scales are the same."""


def choose(
    config: ExportConfig, model_dir: Path, chosen: Device, calibration: Pack, val: Sequence[Tokens], seed: int
) -> Chosen:
    """The matrices of the configured recipe, or with `auto` of the first within `config.max_perplexity_ratio`.

    Args:
        model_dir: The tuned model.
        calibration: Training conversations to calibrate on.
        val: Conversations to compare the recipes on.

    Raises:
        GateError: `auto`, and no recipe is within.
    """
    tuned = conversation_losses(load_model(model_dir, chosen), val)
    trials: list[Trial] = []
    guide, quantized, seconds = None, Quantized({}), 0.0
    for recipe in _STEPS[config.recipe]:
        started = time.monotonic()
        model = load_model(model_dir, chosen)
        if recipe == "rtn":
            quantized = round_all(model)
        else:
            guide = guide or make_guide(model, calibration)
            in_8_bits = ()
            if recipe == "mixed":
                parameters = StoredWeights(model_dir).count
                in_8_bits = dearest(quantized, config.max_bits_per_parameter * parameters - 8 * quantized.nbytes)
            quantized = calibrate(model, calibration, guide, in_8_bits)
        # `mixed` needs what `gptq` found out, so its time includes that.
        seconds = time.monotonic() - started + (seconds if recipe == "mixed" else 0.0)
        trials.append(_trial(recipe, model, quantized.nbytes, seconds, val, tuned, seed))
        print(f"    {line(trials[-1])}", file=sys.stderr)
        is_enough = config.recipe == "auto" and trials[-1].perplexity_ratio <= config.max_perplexity_ratio
        if is_enough or recipe == config.recipe:
            return Chosen(recipe, quantized, trials)
    raise GateError(
        f"no INT4 recipe keeps the validation perplexity within {config.max_perplexity_ratio:g} of the tuned model's:\n"
        + "\n".join(f"  {line(trial)}" for trial in trials),
        "Raise export.max_bits_per_parameter for more matrices in INT8, or export.max_perplexity_ratio; or set "
        "export.recipe = \"mixed\" to ship the last one.",
    )


def dearest(quantized: Quantized, spare_bits: float) -> set[str]:
    """The matrices to have in INT8: those that lose most for their size, as many as `spare_bits` allow."""
    weights = {name: quantized.matrices[name].weights for name in quantized.losses}
    found = set()
    for name in sorted(weights, key=lambda name: -quantized.losses[name] / weights[name]):
        if _BITS_MORE * weights[name] <= spare_bits:
            spare_bits -= _BITS_MORE * weights[name]
            found.add(name)
    return found


def _trial(
    recipe: str, model: Any, size_bytes: int, seconds: float, val: Sequence[Tokens],
    tuned: list[float], seed: int,
) -> Trial:
    counts = [tokens.supervised for tokens in val]
    ratio, interval = perplexity_ratio(conversation_losses(model, val), tuned, counts, seed)
    return Trial(recipe, size_bytes, ratio, interval, len(counts), seconds)


def line(trial: Trial) -> str:
    """The trial for people, in one line."""
    interval = trial.interval
    low_high = f" [{interval['ci95_low']:.3f}, {interval['ci95_high']:.3f}]" if interval else ""
    return (
        f"{trial.recipe}: {trial.weights_bytes / 1e6:.1f} MB, perplexity {trial.perplexity_ratio:.3f}{low_high} of the "
        f"tuned model's on validation data, {trial.seconds:.0f} s"
    )
