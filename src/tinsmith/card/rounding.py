"""Numbers as text, with no more digits than their interval supports."""

import math
from collections.abc import Mapping

import numpy as np

_BYTE_UNITS = ((1e9, "GB"), (1e6, "MB"), (1e3, "kB"))


def supported_decimals(value: float, spread: Mapping[str, float], interval_digits: int = 2) -> int:
    """Number of decimals that `value` may show; a negative number rounds to tens, hundreds and so on.

    With a 95 % interval, `value` is rounded where half the interval's width has its last of `interval_digits`
    significant digits, and to at most six digits. Without an interval, or with one of zero width, `value` has three
    significant digits.
    """
    magnitude = math.floor(math.log10(abs(value))) if value else 0
    half_width = (spread["ci95_high"] - spread["ci95_low"]) / 2 if {"ci95_low", "ci95_high"} <= set(spread) else 0.0
    if half_width > 0:
        return min(interval_digits - 1 - math.floor(math.log10(half_width)), 5 - magnitude)
    return 2 - magnitude if value else 0


def _decimals(value: float, unit: str, spread: Mapping[str, float]) -> int:
    """`supported_decimals`; of a percentage, those of one digit of its interval, but never tens."""
    if unit == "fraction":
        return max(0, supported_decimals(value, spread, interval_digits=1))
    return supported_decimals(value, spread)


def fixed(value: float, decimals: int) -> str:
    """`value` rounded to `decimals` places, with commas between thousands and no exponent."""
    rounded = round(value, decimals) + 0.0  # + 0.0 turns -0.0 into 0.0
    return f"{rounded:,.{max(decimals, 0)}f}"


def scaled(value: float, unit: str) -> tuple[float, str]:
    """`(factor, suffix)` that convert a number in `unit` to MB, %, s, Wh or tokens/s."""
    if unit == "bytes":
        for size, name in _BYTE_UNITS:
            if abs(value) >= size:
                return 1 / size, f" {name}"
        return 1.0, " bytes"
    if unit == "fraction":
        return 100.0, " %"
    if unit == "seconds":
        return 1.0, " s"
    if unit == "joules":
        return 1 / 3600, " Wh"
    if unit == "minutes":
        return 1 / 60, " minutes"
    return 1.0, f" {unit}" if unit == "tokens/s" else ""


def number_text(value: float, unit: str, spread: Mapping[str, float] | None = None) -> str:
    """A number as people read it: `86.5 MB`, `37.5`, `12 %`, `134,515,008`.

    A `count` is printed whole and an `exact` number with all its digits; `minutes` converts from seconds. All others
    get the decimals that `supported_decimals` allows.
    """
    if unit == "count" and float(value).is_integer():
        return f"{int(value):,}"
    if unit == "exact":
        return np.format_float_positional(value, trim="-")
    factor, suffix = scaled(value, unit)
    scaled_spread = {name: bound * factor for name, bound in (spread or {}).items()}
    if (not suffix and not scaled_spread and 0 < abs(value) < 1e-3) or abs(value) >= 1e15:
        return f"{value:.3g}"
    decimals = _decimals(value * factor, unit, scaled_spread)
    if not scaled_spread and float(value * factor).is_integer():
        decimals = 0
    if not {"ci95_low", "ci95_high"} <= set(scaled_spread):
        decimals = max(decimals, 0)  # only an interval can show that whole digits are noise
    return fixed(value * factor, decimals) + suffix


def interval_text(value: float, unit: str, spread: Mapping[str, float], low: str, high: str) -> str:
    """The bounds `spread[low]` and `spread[high]`, rounded like the value: `14.1 to 19.2`."""
    factor, suffix = scaled(value, unit)
    scaled_spread = {name: bound * factor for name, bound in spread.items()}
    decimals = _decimals(value * factor, unit, scaled_spread)
    if low != "ci95_low":
        decimals = max(decimals, 0)
    # The value next to it shows the unit already; only a percent sign is repeated.
    bounds = f"{fixed(scaled_spread[low], decimals)} to {fixed(scaled_spread[high], decimals)}"
    return bounds + (suffix if unit == "fraction" else "")
