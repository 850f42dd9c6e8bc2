"""Differences between two runs on the items they have in common, with 95 % intervals.

Every function takes the same items in the same order from both runs. Swapping the runs swaps the ends of an interval
and flips their signs, or inverts them for a ratio, up to rounding.
"""

import math
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass

import numpy as np

from tinsmith.core.intervals import (
    MIN_CLUSTERS,
    Floats,
    bootstrap,
    exponential,
    minimum_detectable_effect,
    ratio_error,
    standard_errors,
    t95,
)

_SEED = 17
_MIN_CHANGED = 3
_ADDED = 0.4


@dataclass(frozen=True, slots=True)
class Change:
    """How one number differs between an old and a new run on the same items."""

    old: float
    new: float
    value: float
    """`new - old`, or `new / old` if `is_ratio`."""
    interval: dict[str, float]
    """`ci95_low` and `ci95_high` of `value`; empty for too few items."""
    count: int
    """Items in common."""
    is_ratio: bool = False
    gained: int = 0
    """Items that succeed in the new run alone; 0 for numbers that are no shares."""
    lost: int = 0
    """Items that succeed in the old run alone."""
    detectable: float | None = None
    """Size of a true difference that 80 % of test sets like this one would tell apart; a ratio is above 1. None for too
    few items, or if no items differ."""

    @property
    def is_told_apart(self) -> bool:
        """Whether the interval excludes that nothing changed."""
        none = 1.0 if self.is_ratio else 0.0
        return bool(self.interval) and not self.interval["ci95_low"] <= none <= self.interval["ci95_high"]


def perplexity_change(old_nats: Floats, new_nats: Floats, tokens: Floats) -> Change:
    """Ratio of two perplexities, with a paired bootstrap over conversations.

    Args:
        old_nats: Negative log-likelihood of each conversation. For a ratio of perplexities, the difference of its two
            models.
        new_nats: The same of the new run.
        tokens: Supervised tokens of each conversation, equal in both runs.
    """
    rows = np.column_stack([old_nats, new_nats, tokens]).astype(np.float64)
    old, new, count = rows.sum(axis=0)
    # The ends are resampled as logarithms, so that swapping the runs inverts them.
    logs = bootstrap(rows, _log_ratio, _SEED)
    value = math.exp((new - old) / count)
    effect = _detectable(rows, _log_ratio, logs)
    return Change(
        math.exp(old / count),
        math.exp(new / count),
        value,
        exponential(logs),
        len(rows),
        is_ratio=True,
        detectable=None if effect is None else math.exp(effect),
    )


def _log_ratio(sums: np.ndarray) -> np.ndarray:
    return (sums[:, 1] - sums[:, 0]) / sums[:, 2]


def mean_change(old_sums: Floats, new_sums: Floats, old_weights: Floats, new_weights: Floats) -> Change:
    """Difference of two pooled ratios of sums, such as bits per byte, with a paired bootstrap over items."""
    rows = np.column_stack([old_sums, old_weights, new_sums, new_weights]).astype(np.float64)

    def difference(sums: np.ndarray) -> np.ndarray:
        return sums[:, 2] / sums[:, 3] - sums[:, 0] / sums[:, 1]

    totals = rows.sum(axis=0)
    value = float(difference(totals[None])[0])
    interval = bootstrap(rows, difference, _SEED)
    old, new = float(totals[0] / totals[1]), float(totals[2] / totals[3])
    return Change(old, new, value, interval, len(rows), detectable=_detectable(rows, difference, interval))


def _detectable(
    rows: np.ndarray, statistic: Callable[[np.ndarray], np.ndarray], interval: dict[str, float]
) -> float | None:
    error = float(standard_errors(rows, statistic, rows.sum(axis=0, keepdims=True))[0])
    return minimum_detectable_effect(interval, error)


def score_change(old_sums: Floats, new_sums: Floats, sizes: Floats) -> Change:
    """Difference of two means of bounded values, such as facts stated or grades, with a paired interval over clusters.

    Student's interval of the difference, whose standard error leaves out one cluster at a time. There is none if fewer
    than three clusters differ, because those say too little about the others.

    Args:
        old_sums: Sum of the values of each cluster.
        new_sums: The same of the new run.
        sizes: Number of values of each cluster, equal in both runs and above 0.
    """
    old, new, counts = (np.array(column, dtype=np.float64) for column in (old_sums, new_sums, sizes))
    clusters, value = len(counts), float((new - old).sum() / counts.sum())
    interval, error = {}, ratio_error(new - old, counts)
    if clusters >= MIN_CLUSTERS and np.count_nonzero(new != old) >= _MIN_CHANGED:
        reach = t95(clusters - 1) * error
        interval = {"ci95_low": value - reach, "ci95_high": value + reach}
    effect = minimum_detectable_effect(interval, error)
    means = float(old.sum() / counts.sum()), float(new.sum() / counts.sum())
    return Change(*means, value, interval, clusters, detectable=effect)


def share_change(old: Sequence[bool], new: Sequence[bool], clusters: Sequence[Hashable] | None = None) -> Change:
    """Difference of two shares of the same items, with an interval that counts items of a cluster together.

    Part of a cluster that gained everything and as much of one that lost everything are added before Student's interval
    of the clusters' differences, so that a few changed items, or none, do not look certain.

    Args:
        old: One per item.
        new: The same items, in the same order.
        clusters: The cluster of each item, such as the passage that answers it. Without it, items are independent.

    Source: Bonett and Price, Journal of Educational and Behavioral Statistics 37 (2012) 479-488 (added items, for
    independent pairs; 0.8 of a cluster in all instead of their 2, which `make bench-intervals` measured as closer to
    95 %).
    """
    keys = range(len(old)) if clusters is None else clusters
    totals: dict[Hashable, list[float]] = {}
    for before, after, key in zip(old, new, keys, strict=True):
        total = totals.setdefault(key, [0.0, 0.0])
        total[0] += float(after) - float(before)
        total[1] += 1
    pairs = list(zip(old, new, strict=True))
    gained, lost, count = pairs.count((False, True)), pairs.count((True, False)), len(pairs)
    centre, error = _smoothed(np.array(list(totals.values())))
    interval = {}
    if len(totals) >= MIN_CLUSTERS:
        reach = t95(len(totals) - 1) * error
        interval = {"ci95_low": max(-1.0, centre - reach), "ci95_high": min(1.0, centre + reach)}
    before, after = sum(old) / count, sum(new) / count
    value, effect = (gained - lost) / count, minimum_detectable_effect(interval, error)
    return Change(before, after, value, interval, count, gained=gained, lost=lost, detectable=effect)


def _smoothed(rows: np.ndarray) -> tuple[float, float]:
    """Mean difference and its standard error with part of a cluster added at either extreme.

    Args:
        rows: `(clusters, 2)`: items gained less items lost, and items.
    """
    added = _ADDED * rows[:, 1].mean()
    clusters = len(rows) + 2 * _ADDED
    rows = np.vstack([rows, [added, added], [-added, added]])
    items = rows[:, 1].sum()
    centre = rows[:, 0].sum() / items
    residuals = ((rows[:, 0] - centre * rows[:, 1]) ** 2).sum()
    return float(centre), float(math.sqrt(clusters / (clusters - 1) * residuals) / items)
