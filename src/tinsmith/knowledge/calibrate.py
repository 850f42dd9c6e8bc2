"""Thresholds of the ladder, and fitting its confidence to the owner's own questions.

The weights were fitted on 170 questions in visitors' words, each answered by one passage, and 130 that none answers,
about three data sets: construction in English and in Swedish, and an invented shop's documents. Weights fitted on some
of them tell right from wrong as well on another (docs/experiments/answers.md). The English ones are the half of the
demo's questions that also sets its bias. The half that measures the demo was not used.
"""

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from tinsmith.model.answers.ladder import Ladder, Weights, features
from tinsmith.model.answers.ranking import Scored

WEIGHTS = Weights(closeness=0.49, lead=1.07, lead_of_five=0.74, bias=-2.83)
MIN_CLOSENESS = 1.0
"""9 of those 170 questions are below it, and 26 of 40 on other topics."""

_WRONG_SHARES = (
    (0.25, 0.182),
    (0.30, 0.141),
    (0.35, 0.112),
    (0.40, 0.076),
    (0.45, 0.059),
    (0.50, 0.053),
    (0.55, 0.047),
    (0.60, 0.041),
    (0.70, 0.006),
    (0.80, 0.000),
)
"""Minimum confidence to answer -> share of those 170 questions that get a wrong answer. Confidences in each data set
come from weights fitted on the other two."""
_LIKELY_FACTOR = 1.5
"""Wrong answers that `likely` and `sure` may give together, as a multiple of those that `sure` may give."""
_MIN_QUESTIONS = 20
"""Fewer questions of the owner's leave the confidence as it is."""
_BIAS_DEVIATION = 0.5
"""How far the bias of one data set lies from another's, as a standard deviation in log-odds."""
_STEPS = 50


def default_ladder(max_wrong: float) -> Ladder:
    """The ladder that shows a wrong answer as sure for at most a share `max_wrong`, on data it was not fitted on."""
    return Ladder(WEIGHTS, threshold(max_wrong), threshold(_LIKELY_FACTOR * max_wrong), MIN_CLOSENESS)


def threshold(max_wrong: float) -> float:
    """Least confidence at which the share of wrong answers was at most `max_wrong`."""
    confidences, shares = zip(*_WRONG_SHARES, strict=True)
    return float(np.interp(max_wrong, shares[::-1], confidences[::-1]))


def fitted(ladder: Ladder, rankings: Sequence[Sequence[Scored]], is_right: Sequence[bool]) -> Ladder:
    """Shift the ladder's bias so that its confidence fits questions of the owner's.

    Only the bias changes, and it is held near its value: a few dozen questions say how well a data set can be searched
    in general, but not what weighs how much.

    Args:
        ladder: The ladder to fit.
        rankings: The candidates of each question.
        is_right: Whether each first candidate is right.
    """
    if len(rankings) < _MIN_QUESTIONS:
        return ladder
    weights = ladder.weights
    factors = np.array([weights.closeness, weights.lead, weights.lead_of_five])
    odds = np.array([np.dot(factors, features(ranked)) for ranked in rankings if ranked]) + weights.bias
    right = np.array([right for ranked, right in zip(rankings, is_right, strict=True) if ranked], np.float64)
    shift = 0.0
    for _ in range(_STEPS):
        probabilities = 1 / (1 + np.exp(-(odds + shift)))
        slope = (probabilities - right).sum() + shift / _BIAS_DEVIATION**2
        curvature = (probabilities * (1 - probabilities)).sum() + 1 / _BIAS_DEVIATION**2
        shift -= slope / curvature
        if math.isclose(slope, 0, abs_tol=1e-9):
            break
    return replace(ladder, weights=replace(weights, bias=weights.bias + float(shift)))
