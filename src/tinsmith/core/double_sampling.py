"""Estimate the share of a yes-or-no verdict from many cheap verdicts and a few true ones.

A judge gives a verdict on every item, people on a random part of them. What people said where the judge said yes, and
where it said no, corrects the judge's share; the interval carries the sampling error of all three shares.
"""

from collections.abc import Sequence

import numpy as np

MIN_LABELS = 30
"""Fewer verdicts by people say too little of the judge's errors for a correction."""
_DRAWS = 20_000
_JEFFREYS = 0.5


def corrected_share(
    judged: Sequence[bool], people: Sequence[bool | None], seed: int, weight: float = 1.0
) -> tuple[float, dict[str, float]]:
    """The share of items that people would accept, and its 95 % interval as `ci95_low` and `ci95_high`.

    The share is `p * a + (1 - p) * b`: `p` is the share that the judge accepts, `a` and `b` are the shares that people
    accept of what the judge accepts and rejects. That is the maximum-likelihood estimate for double sampling. The
    interval takes quantiles of the same formula over draws of `p`, `a` and `b` from their posteriors under Jeffreys'
    prior, so it holds at shares near 0 and 1 and for a judge who is no better than chance.

    Args:
        judged: The judge's verdict on each item.
        people: The people's verdict on each item; None where nobody gave one. The items that have one must be drawn
            without regard to the reply.
        seed: Seed of the draws.
        weight: Independent items that each item counts for; less than 1 if items come in clusters.

    Raises:
        ValueError: fewer than `MIN_LABELS` items have both verdicts.

    Source: Tenenbein, JASA 65 (1970) 1350-1361 (double sampling with misclassification); Brown, Cai and DasGupta,
    Statistical Science 16 (2001) 101-133 (Jeffreys' prior).
    """
    both = [(judge, person) for judge, person in zip(judged, people, strict=True) if person is not None]
    if len(both) < MIN_LABELS:
        raise ValueError(f"{len(both)} items have both verdicts; a correction needs {MIN_LABELS}")
    accepted, rejected = [person for judge, person in both if judge], [person for judge, person in both if not judge]
    parts = (judged, accepted, rejected)
    p, a, b = (sum(part) / len(part) if part else 0.5 for part in parts)
    rng = np.random.default_rng(seed)
    draws = [
        rng.beta(weight * sum(part) + _JEFFREYS, weight * (len(part) - sum(part)) + _JEFFREYS, _DRAWS) for part in parts
    ]
    low, high = np.percentile(draws[0] * draws[1] + (1 - draws[0]) * draws[2], [2.5, 97.5])
    share = p * a + (1 - p) * b
    # The quantiles of few draws near 0 or 1 may exclude the estimate itself.
    return share, {"ci95_low": min(float(low), share), "ci95_high": max(float(high), share)}
