"""Differences between two runs on the items they have in common, with 95 % intervals.

Every function takes the same items in the same order from both runs. Swapping the runs swaps the ends of an interval
and flips their signs, or inverts them for a ratio, up to rounding.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tinsmith.core.intervals import MIN_CLUSTERS, bootstrap

_SEED = 17
_TAIL = 0.025


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

    @property
    def is_told_apart(self) -> bool:
        """Whether the interval excludes that nothing changed."""
        none = 1.0 if self.is_ratio else 0.0
        return bool(self.interval) and not self.interval["ci95_low"] <= none <= self.interval["ci95_high"]


def perplexity_change(old_nats: Sequence[float], new_nats: Sequence[float], tokens: Sequence[float]) -> Change:
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
    logs = bootstrap(rows, lambda sums: (sums[:, 1] - sums[:, 0]) / sums[:, 2], _SEED)
    interval = {name: math.exp(end) for name, end in logs.items()}
    value = math.exp((new - old) / count)
    return Change(math.exp(old / count), math.exp(new / count), value, interval, len(rows), is_ratio=True)


def mean_change(
    old_sums: Sequence[float], new_sums: Sequence[float], old_weights: Sequence[float], new_weights: Sequence[float]
) -> Change:
    """Difference of two pooled ratios of sums, such as bits per byte, with a paired bootstrap over items."""
    rows = np.column_stack([old_sums, old_weights, new_sums, new_weights]).astype(np.float64)

    def difference(sums: np.ndarray) -> np.ndarray:
        return sums[:, 2] / sums[:, 3] - sums[:, 0] / sums[:, 1]

    totals = rows.sum(axis=0)
    value = float(difference(totals[None])[0])
    interval = bootstrap(rows, difference, _SEED)
    return Change(float(totals[0] / totals[1]), float(totals[2] / totals[3]), value, interval, len(rows))


def share_change(old: Sequence[bool], new: Sequence[bool]) -> Change:
    """Difference of two shares of the same items, with the wider of two intervals at each end.

    - Conditional: of the items that changed, the share that was gained has an exact interval; scaled to all items it is
      one of the difference. It excludes 0 just when McNemar's exact test has a two-sided p below 0.05, but takes the
      number of changed items as known.
    - Square-and-add: the exact intervals of the shares gained and lost, combined. It does not take that as known.

    Source: Clopper and Pearson, Biometrika 26 (1934) 404-413; McNemar, Psychometrika 12 (1947) 153-157; Newcombe,
    Statistics in Medicine 17 (1998) 2635-2650, with the correlation of two shares of a multinomial.
    """
    pairs = list(zip(old, new, strict=True))
    gained, lost, count = pairs.count((False, True)), pairs.count((True, False)), len(pairs)
    before, after, value = sum(old) / count, sum(new) / count, (gained - lost) / count
    interval = {}
    if count >= MIN_CLUSTERS:
        conditional = [(2 * end - 1) * (gained + lost) / count for end in _exact_interval(gained, gained + lost)]
        added = [value - _reach(gained, lost, count), value + _reach(lost, gained, count)]
        interval = {"ci95_low": min(conditional[0], added[0]), "ci95_high": max(conditional[1], added[1])}
    return Change(before, after, value, interval, count, gained=gained, lost=lost)


def _reach(gained: int, lost: int, count: int) -> float:
    """How far the difference may lie below its estimate: fewer gained, more lost."""
    fewer = gained / count - _exact_interval(gained, count)[0]
    more = _exact_interval(lost, count)[1] - lost / count
    kept = (count - gained) * (count - lost)
    correlation = math.sqrt(gained * lost / kept) if kept else 0.0
    return math.sqrt(fewer**2 + more**2 + 2 * correlation * fewer * more)


def _exact_interval(successes: int, count: int) -> tuple[float, float]:
    """The Clopper-Pearson interval of a share; 0 to 1 of no items."""
    failures = count - successes
    return (
        _smallest_share(successes, count) if successes else 0.0,
        1 - _smallest_share(failures, count) if failures else 1.0,
    )


def _smallest_share(successes: int, count: int) -> float:
    """The share under which `successes` or more of `count` have a probability of 2.5 %."""
    low, high = 0.0, 1.0
    for _ in range(60):
        middle = (low + high) / 2
        too_likely = _tail(successes, count, middle) > _TAIL
        low, high = (low, middle) if too_likely else (middle, high)
    return (low + high) / 2


def _tail(successes: int, count: int, share: float) -> float:
    """Probability of at least `successes` of `count`. Logarithms keep large counts from overflowing."""
    constant, log, other = math.lgamma(count + 1), math.log(share), math.log1p(-share)
    return math.fsum(
        math.exp(constant - math.lgamma(k + 1) - math.lgamma(count - k + 1) + k * log + (count - k) * other)
        for k in range(successes, count + 1)
    )
