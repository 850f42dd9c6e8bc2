"""Decide what to do with the best passage: show it as the answer, show it as the closest, or say nothing is known."""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from tinsmith.model.answers.ranking import Scored

Rung = Literal["sure", "likely", "unsure"]

_FIVE = 5


@dataclass(frozen=True, slots=True)
class Weights:
    """Logistic regression of whether the best passage is right."""

    closeness: float
    """Weight of the best passage's closeness."""
    lead: float
    """Weight of the lead over the second passage's score."""
    lead_of_five: float
    """Weight of the lead over the fifth passage's score."""
    bias: float


@dataclass(frozen=True, slots=True)
class Ladder:
    """Weights and thresholds."""

    weights: Weights
    sure: float
    """Least confidence to show the passage as the answer."""
    likely: float
    """Least confidence to show it as the closest."""
    min_closeness: float
    """Minimum closeness of the best passage, and minimum prominence of a follow-up's; else `unsure`."""

    def as_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> "Ladder":
        return cls(Weights(**value["weights"]), value["sure"], value["likely"], value["min_closeness"])

    def confidence(self, ranked: Sequence[Scored]) -> float:
        """Estimated probability that the first of `ranked` answers the question; 0 if there is none."""
        if not ranked:
            return 0.0
        values = features(ranked)
        weights = self.weights
        factors = (weights.closeness, weights.lead, weights.lead_of_five)
        return 1 / (1 + math.exp(-(weights.bias + sum(f * v for f, v in zip(factors, values, strict=True)))))

    def is_far(self, ranked: Sequence[Scored]) -> bool:
        """Whether even the first of `ranked` has nothing to do with the question."""
        return bool(ranked) and ranked[0].closeness < self.min_closeness

    def rung(self, ranked: Sequence[Scored]) -> Rung:
        """What to do with the first of `ranked`."""
        if not ranked or self.is_far(ranked):
            return "unsure"
        confidence = self.confidence(ranked)
        if confidence >= self.sure:
            return "sure"
        return "likely" if confidence >= self.likely else "unsure"


def features(ranked: Sequence[Scored]) -> tuple[float, float, float]:
    """Closeness of the best passage, and its score's lead over the second and the fifth (0 if it is alone)."""
    best, others = ranked[0], ranked[1:]
    lead = best.score - others[0].score if others else 0.0
    lead_of_five = best.score - others[: _FIVE - 1][-1].score if others else 0.0
    return best.closeness, lead, lead_of_five
