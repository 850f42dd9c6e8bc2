"""95 % intervals for pooled ratios, shares and means of scores, by whole conversations or other clusters.

Tokens of a conversation, facts of a reference and questions about one passage are not independent, so the cluster is
the unit everywhere. Comparisons of models are paired: a row holds both models' sums for one cluster.

`make bench-intervals` measures how often each interval covers the truth; see docs/measurements.md.
"""

import math
from collections import defaultdict
from collections.abc import Callable, Hashable, Sequence

import numpy as np

Floats = Sequence[float] | np.ndarray
"""Numbers in order; an array has one dimension."""

RESAMPLES = 10_000
MIN_CLUSTERS = 10
"""Fewer conversations or answers get no interval: simulated ones cover the truth too rarely."""

Z95 = 1.959963984540054
"""97.5 % quantile of the normal distribution."""
Z80 = 0.8416212335729143
"""80 % quantile of the normal distribution."""
# Row indices drawn at a time. Their counts take 8 MB, whatever the size of the data set.
_POSITIONS_AT_ONCE = 2**20
# Step of a derivative, as a share of a column's root sum of squares.
_STEP = 1e-4
# A squared standard error below this share of the column's own is rounding.
_ROUNDING = 1e-20


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
    sums = []
    for start in range(0, resamples, at_once):
        draws = rng.integers(count, size=(min(at_once, resamples - start), count))
        # How often each row was drawn, so that a product with the columns sums them.
        offsets = np.arange(len(draws))[:, None] * count
        drawn = np.bincount((draws + offsets).ravel(), minlength=draws.size).reshape(draws.shape)
        sums.append(drawn @ columns)
    return np.concatenate(sums)


def bootstrap(
    columns: np.ndarray, statistic: Callable[[np.ndarray], np.ndarray], seed: int, resamples: int = RESAMPLES
) -> dict[str, float]:
    """The 95 % interval of a smooth statistic of column sums, as `ci95_low` and `ci95_high`.

    A bootstrap-t: each resample's deviation is divided by its own standard error, which follows skewed data better than
    percentiles of the statistic do. The percentiles are those of Student's quantile under the normal distribution, a
    little further out than 2.5 and 97.5, because a small sample shows less skew than its population has.

    Args:
        columns: `(clusters, columns)`, one row per conversation.
        statistic: `(resamples, columns)` sums -> `(resamples,)` values, such as `lambda s: s[:, 0] / s[:, 1]`.
        seed: Seed of the draws.
        resamples: Number of draws.

    Returns:
        Empty for fewer than `MIN_CLUSTERS` rows, or if so many resamples lack variation that an end is infinite.

    Sources: Efron and Tibshirani, An Introduction to the Bootstrap (1993), section 12.5 (bootstrap-t); Hesterberg, The
    American Statistician 69 (2015) 371-386, section 5.3 (expanded percentiles).
    """
    columns = np.asarray(columns, dtype=np.float64)
    count = len(columns)
    if count < MIN_CLUSTERS:
        return {}
    sums = columns.sum(axis=0, keepdims=True)
    value, error = float(statistic(sums)[0]), float(standard_errors(columns, statistic, sums)[0])
    if error == 0:
        return {"ci95_low": value, "ci95_high": value}
    centred = columns - columns.mean(axis=0)
    products = _products(centred)
    drawn = resampled_sums(np.hstack([centred, products]), resamples, seed)
    shifts, moments = drawn[:, : columns.shape[1]], drawn[:, columns.shape[1] :]
    deviations = statistic(sums + shifts) - value
    errors = _errors(columns, statistic, sums + shifts, shifts, moments)
    with np.errstate(divide="ignore", invalid="ignore"):
        studentized = np.where(deviations == 0, 0.0, deviations / errors)
    tail = 50 * math.erfc(t95(count - 1) / math.sqrt(2))
    low, high = np.percentile(studentized, [tail, 100 - tail], method="nearest")
    ends = value - error * float(high), value - error * float(low)
    return {"ci95_low": ends[0], "ci95_high": ends[1]} if all(map(math.isfinite, ends)) else {}


def exponential(interval: dict[str, float]) -> dict[str, float]:
    """The interval of exp(x) from that of x, such as a perplexity's from a loss's."""
    return {name: math.exp(end) for name, end in interval.items()}


def standard_errors(columns: np.ndarray, statistic: Callable[[np.ndarray], np.ndarray], sums: np.ndarray) -> np.ndarray:
    """Standard error of a smooth statistic over clusters, by the delta method.

    Args:
        columns: `(clusters, columns)`.
        statistic: As in `bootstrap`.
        sums: `(1, columns)`, the sums of `columns`.

    Returns:
        `(1,)`.
    """
    centred = columns - columns.mean(axis=0)
    moments = _products(centred).sum(axis=0, keepdims=True)
    return _errors(columns, statistic, sums, np.zeros_like(sums), moments)


def minimum_detectable_effect(interval: dict[str, float], error: float) -> float | None:
    """Smallest true difference that 80 % of test sets like this one would tell apart from none.

    Args:
        interval: 95 % interval of the difference in this test set.
        error: Its standard error.

    Returns:
        Half of the interval's width and 0.84 standard errors; None without an interval, or if no items differ.

    Source: Bloom, Evaluation Review 19 (1995) 547-556, with the width of the interval in place of Student's quantile.
    """
    return (interval["ci95_high"] - interval["ci95_low"]) / 2 + Z80 * error if interval and error else None


def _products(centred: np.ndarray) -> np.ndarray:
    """`(rows, columns * columns)`: all products of two columns of each row."""
    return np.einsum("ri,rj->rij", centred, centred).reshape(len(centred), -1)


def _errors(
    columns: np.ndarray,
    statistic: Callable[[np.ndarray], np.ndarray],
    sums: np.ndarray,
    shifts: np.ndarray,
    moments: np.ndarray,
) -> np.ndarray:
    """Standard errors of `statistic` at each of `sums`, from sums and products of the rows drawn for each.

    Args:
        columns: `(clusters, columns)`.
        statistic: As in `bootstrap`.
        sums: `(resamples, columns)`, where the statistic is differentiated.
        shifts: `(resamples, columns)` sums of the drawn rows less the mean row.
        moments: `(resamples, columns * columns)` sums of `_products` of the same.
    """
    count, width = columns.shape
    steps = _STEP * np.sqrt((columns**2).sum(axis=0))
    slopes = np.zeros_like(sums)
    for index in np.flatnonzero(steps):
        step = np.zeros(width)
        step[index] = steps[index]
        slopes[:, index] = (statistic(sums + step) - statistic(sums - step)) / (2 * steps[index])
    covariance = moments.reshape(-1, width, width) - np.einsum("ri,rj->rij", shifts, shifts) / count
    variance = count / (count - 1) * np.einsum("ri,rij,rj->r", slopes, covariance, slopes)
    scale = np.einsum("ri,i->r", slopes**2, (columns**2).sum(axis=0))
    return np.sqrt(np.where(variance > _ROUNDING * scale, variance, 0.0))


def t95(freedom: int) -> float:
    """97.5 % quantile of Student's distribution, to 3e-5 from 9 degrees of freedom on.

    Source: Abramowitz and Stegun, Handbook of Mathematical Functions, 26.7.5.
    """
    z = Z95
    terms = (
        (z**3 + z) / 4,
        (5 * z**5 + 16 * z**3 + 3 * z) / 96,
        (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384,
        (79 * z**9 + 776 * z**7 + 1482 * z**5 - 1920 * z**3 - 945 * z) / 92160,
    )
    return z + sum(term / freedom**power for power, term in enumerate(terms, start=1))


def ratio_error(totals: np.ndarray, counts: np.ndarray) -> float:
    """Standard error of `totals.sum() / counts.sum()` over clusters: how far it moves when one of them is left out.

    Args:
        totals: `(clusters,)` sums of values.
        counts: `(clusters,)` numbers of values.

    Source: Bell and McCaffrey, Survey Methodology 28 (2002) 169-181 (jackknife of clusters).
    """
    count = counts.sum()
    moves = (totals - totals.sum() / count * counts) / (count - counts)
    error = float(np.sqrt((moves**2).sum()))
    return error if error > _ROUNDING**0.5 else 0.0


def wilson(successes: float, count: float) -> dict[str, float]:
    """The 95 % Wilson score interval of a share of independent items, as `ci95_low` and `ci95_high`.

    Returns:
        Empty for fewer than `MIN_CLUSTERS` items.

    Source: Wilson, JASA 22 (1927) 209-212, without continuity correction.
    """
    return _wilson(successes / count, count, Z95) if count >= MIN_CLUSTERS else {}


def _wilson(share: float, count: float, quantile: float) -> dict[str, float]:
    z2 = quantile**2
    centre = (share + z2 / (2 * count)) / (1 + z2 / count)
    half = quantile / (1 + z2 / count) * math.sqrt(share * (1 - share) / count + z2 / (4 * count**2))
    # Rounding errors can move the ends past 0 or 1 by 1e-17.
    return {"ci95_low": max(0.0, centre - half), "ci95_high": min(1.0, centre + half)}


def clustered_wilson(successes: Sequence[bool], clusters: Sequence[Hashable]) -> dict[str, float]:
    """The 95 % interval of a share whose items come in clusters, as `ci95_low` and `ci95_high`; see `bounded_mean`.

    Args:
        successes: One per item.
        clusters: The cluster of each item.

    Returns:
        Empty for fewer than `MIN_CLUSTERS` clusters.
    """
    if len(set(clusters)) == len(successes):
        return wilson(sum(successes), len(successes)) if successes else {}
    return clustered_mean(successes, clusters)


def clustered_mean(
    values: Floats, clusters: Sequence[Hashable], low: float = 0.0, high: float = 1.0
) -> dict[str, float]:
    """The 95 % interval of a mean of scores between `low` and `high`; see `bounded_mean`.

    Args:
        values: One per score.
        clusters: The cluster of each score, such as the item that it is for.
        low: Least possible score.
        high: Greatest possible score.
    """
    members: dict[Hashable, list[float]] = defaultdict(list)
    for value, cluster in zip(values, clusters, strict=True):
        members[cluster].append(value)
    groups = members.values()
    return bounded_mean([sum(own) for own in groups], [len(own) for own in groups], low, high)


def bounded_mean(sums: Floats, sizes: Floats, low: float = 0.0, high: float = 1.0) -> dict[str, float]:
    """The 95 % interval of a mean of values with known bounds that come in clusters, as `ci95_low` and `ci95_high`.

    For shares of facts, whose clusters are questions, and means of scores, whose clusters are items: a Wilson interval
    with Student's quantile, for as many independent yes-or-no answers as would vary as much. Where all values are at
    one bound the variance says nothing, and each cluster counts once.

    Args:
        sums: Sum of the values of each cluster.
        sizes: Number of values of each cluster; clusters without any do not count.
        low: Least possible value.
        high: Greatest possible value.

    Returns:
        Empty for fewer than `MIN_CLUSTERS` clusters, or if all clusters have the same mean between the bounds.

    Sources: Dean and Pagano, Journal of Survey Statistics and Methodology 3 (2015) 484-503; Korn and Graubard, Survey
    Methodology 24 (1998) 193-201 (Student's quantile).
    """
    pairs = [(total, size) for total, size in zip(sums, sizes, strict=True) if size]
    clusters = len(pairs)
    if clusters < MIN_CLUSTERS:
        return {}
    totals, counts = np.array(pairs, dtype=np.float64).T
    totals = (totals - low * counts) / (high - low)
    count = counts.sum()
    share = float(totals.sum() / count)
    if share <= 0 or share >= 1:
        interval = _wilson(round(share), clusters, Z95)
    else:
        error = ratio_error(totals, counts)
        if error == 0:
            return {}
        interval = _wilson(share, share * (1 - share) / error**2, t95(clusters - 1))
    return {name: low + end * (high - low) for name, end in interval.items()}
