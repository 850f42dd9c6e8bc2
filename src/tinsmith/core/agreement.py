"""Agreement between raters: Krippendorff's alpha."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from itertools import product
from typing import Literal

Level = Literal["nominal", "ordinal", "interval"]


def krippendorff_alpha(units: Iterable[Sequence[float | None]], level: Level) -> float | None:
    """1 if raters always agree, 0 if they agree as often as by chance, below 0 if they agree less often than that.

    Args:
        units: The grades that each rated thing was given, None where a rater gave none. Who gave which does not matter.
            Units with fewer than two grades say nothing of agreement and are ignored.
        level: What the grades are: names, an order, or numbers on a scale with equal steps.

    Returns:
        None if no unit has two grades, or all grades are equal, so that chance agreement is perfect too.

    Source: Krippendorff, Computing Krippendorff's Alpha-Reliability (2011), sections C and D: coincidences o,
    1 - observed over expected disagreement.
    """
    paired = [grades for unit in units if len(grades := [g for g in unit if g is not None]) > 1]
    coincidences: defaultdict[tuple[float, float], float] = defaultdict(float)
    for grades in paired:
        for one, first in enumerate(grades):
            for other, second in enumerate(grades):
                if one != other:
                    coincidences[first, second] += 1 / (len(grades) - 1)
    totals = Counter[float](grade for grades in paired for grade in grades)
    count = sum(totals.values())
    observed = sum(weight * _distance(one, other, totals, level) for (one, other), weight in coincidences.items())
    expected = sum(
        totals[one] * totals[other] * _distance(one, other, totals, level) for one, other in product(totals, repeat=2)
    )
    return None if expected == 0 else 1 - (count - 1) * observed / expected


def _distance(one: float, other: float, totals: Counter[float], level: Level) -> float:
    """Squared difference of two grades. Of an order, the number of grades given between them, with half the ends."""
    if one == other:
        return 0.0
    if level == "nominal":
        return 1.0
    if level == "interval":
        return (one - other) ** 2
    low, high = sorted((one, other))
    between = sum(total for grade, total in totals.items() if low <= grade <= high)
    return (between - (totals[low] + totals[high]) / 2) ** 2
