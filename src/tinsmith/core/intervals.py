"""95 % intervals: percentile bootstrap over conversations for pooled ratios, Wilson intervals for shares.

Tokens of one conversation are not independent, so whole conversations are resampled. Comparisons of models are paired:
a resample picks the same conversations for both.
"""

import math
from collections import defaultdict
from collections.abc import Callable, Hashable, Sequence

import numpy as np

RESAMPLES = 10_000
MIN_CLUSTERS = 5
"""Fewer conversations or answers get no interval, because a bootstrap of so few would be far too narrow."""

# Row indices drawn at a time. They take 32 MB, whatever the size of the data set.
_POSITIONS_AT_ONCE = 2**22
_Z95 = 1.959963984540054


def resampled_sums(columns: np.ndarray, resamples: int, seed: int) -> np.ndarray:
    """Draw as many rows as `columns` has, with replacement, and sum each column. Repeat `resamples` times.

    Args:
        columns: `(clusters, columns)`, one row per conversation.
        resamples: Number of draws.
        seed: The same seed and number of rows give the same draws.

    Returns:
        `(resamples, columns)` float64.
    """
    columns = np.asarray(columns, dtype=np.float64)
    count = len(columns)
    rng = np.random.default_rng(seed)
    at_once = max(1, _POSITIONS_AT_ONCE // count)
    sums = [
        columns[rng.integers(count, size=(min(at_once, resamples - start), count))].sum(axis=1)
        for start in range(0, resamples, at_once)
    ]
    return np.concatenate(sums)


def bootstrap(
    columns: np.ndarray, statistic: Callable[[np.ndarray], np.ndarray], seed: int, resamples: int = RESAMPLES
) -> dict[str, float]:
    """The 95 % percentile interval of a statistic of column sums, as `ci95_low` and `ci95_high`.

    Args:
        columns: `(clusters, columns)`, one row per conversation.
        statistic: `(resamples, columns)` sums -> `(resamples,)` values, such as `lambda s: s[:, 0] / s[:, 1]`.
        seed: Seed of the draws.
        resamples: Number of draws.

    Returns:
        Empty for fewer than `MIN_CLUSTERS` rows.

    Source: Efron and Tibshirani, An Introduction to the Bootstrap, section 13.3 (percentile interval).
    """
    if len(columns) < MIN_CLUSTERS:
        return {}
    values = statistic(resampled_sums(columns, resamples, seed))
    low, high = np.percentile(values, [2.5, 97.5])
    return {"ci95_low": float(low), "ci95_high": float(high)}


def wilson(successes: float, count: float) -> dict[str, float]:
    """The 95 % Wilson score interval of a share, as `ci95_low` and `ci95_high`.

    Returns:
        Empty for fewer than `MIN_CLUSTERS` items.

    Source: Wilson, JASA 22 (1927) 209-212, without continuity correction.
    """
    if count < MIN_CLUSTERS:
        return {}
    share, z2 = successes / count, _Z95**2
    centre = (share + z2 / (2 * count)) / (1 + z2 / count)
    half = _Z95 / (1 + z2 / count) * math.sqrt(share * (1 - share) / count + z2 / (4 * count**2))
    # Rounding errors can move the ends past 0 or 1 by 1e-17.
    return {"ci95_low": max(0.0, centre - half), "ci95_high": min(1.0, centre + half)}


def clustered_wilson(successes: Sequence[bool], clusters: Sequence[Hashable]) -> dict[str, float]:
    """The 95 % Wilson interval of a share whose items come in clusters, as `ci95_low` and `ci95_high`.

    Items of a cluster succeed and fail together, so they count for less than as many independent ones. The number of
    items is divided by the design effect: the variance between clusters over that of a simple random sample. Where all
    items are equal the variance says nothing, and each cluster counts once.

    Args:
        successes: One per item.
        clusters: The cluster of each item.

    Returns:
        Empty for fewer than `MIN_CLUSTERS` clusters.

    Source: Dean and Pagano, Journal of Survey Statistics and Methodology 3 (2015) 484-503 (Wilson with effective size).
    """
    count = len(successes)
    members: dict[Hashable, list[bool]] = defaultdict(list)
    for success, cluster in zip(successes, clusters, strict=True):
        members[cluster].append(success)
    if len(members) < MIN_CLUSTERS:
        return {}
    share = sum(successes) / count
    if share in (0, 1):
        effective = float(len(members))
    else:
        residuals = math.fsum((sum(items) - share * len(items)) ** 2 for items in members.values())
        between = len(members) / (len(members) - 1) * residuals / count**2
        effective = count / max(1.0, between / (share * (1 - share) / (count - 1)))
    return wilson(share * effective, effective)
