"""Skewed populations of conversations, questions and scores with known truth, to measure how often intervals cover it.

Each kind of interval has four populations. A population draws one test set of `n` clusters and returns the interval
that tinsmith gives for it, the truth, and what the percentile bootstrap of earlier versions gives. Means of shares and
scores are drawn anew for each set from a stated range, because the coverage of an interval for counts swings with them.
"""

import json
import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import NamedTuple

import numpy as np

from tinsmith.core.intervals import bootstrap, bounded_mean, clustered_wilson, exponential, resampled_sums, wilson
from tinsmith.core.paired import mean_change, perplexity_change, score_change, share_change

RESAMPLES_OF_OLD = 2000
_TRUTH_SIZE = 1_000_000
_MAX_ITEMS = 4


@dataclass(frozen=True, slots=True)
class Draw:
    """One simulated test set."""

    interval: dict[str, float]
    truth: float
    old: dict[str, float]
    """Percentile bootstrap of the same set; empty for shares, which had no bootstrap."""


@dataclass(frozen=True, slots=True)
class Conversations:
    """Likelihoods of two models on the same conversations."""

    old_nats: np.ndarray
    new_nats: np.ndarray
    tokens: np.ndarray
    bytes: np.ndarray


class Totals(NamedTuple):
    """Sums over all conversations of a population."""

    old_nats: float
    new_nats: float
    tokens: float
    bytes: float


def lognormal(rng: np.random.Generator, n: int) -> Conversations:
    """Long conversations are hard (correlation 0.5), and gain more. Skew of a conversation's part in the loss: 2.7."""
    length = rng.normal(size=n)
    hardness = 0.5 * length + math.sqrt(0.75) * rng.normal(size=n)
    gain = 0.8 * np.exp(0.4 * (0.5 * hardness + math.sqrt(0.75) * rng.normal(size=n)))
    return _conversations(rng, 60 * np.exp(0.4 * length), 3 * np.exp(0.25 * hardness), gain)


def rare_long(rng: np.random.Generator, n: int) -> Conversations:
    """One conversation in 20 is three times as long, a quarter harder, and gains a quarter more. Skew 3.5."""
    rare = rng.random(n) < 0.05
    length = 60 * np.exp(0.3 * rng.normal(size=n)) * np.where(rare, 3, 1)
    loss = 3 * np.exp(0.2 * rng.normal(size=n)) * np.where(rare, 1.25, 1)
    gain = 0.8 * np.exp(0.3 * rng.normal(size=n)) * np.where(rare, 1.25, 1)
    return _conversations(rng, length, loss, gain)


def two_topics(rng: np.random.Generator, n: int) -> Conversations:
    """One conversation in five is of a hard topic, which gains more. Skew 1.7 of the loss, 2.3 of the gain."""
    hard = rng.random(n) < 0.2
    loss = np.where(hard, 4.5, 2.5) * np.exp(0.12 * rng.normal(size=n))
    gain = np.where(hard, 1.6, 0.6) * np.exp(0.3 * rng.normal(size=n))
    return _conversations(rng, 60 * np.exp(0.35 * rng.normal(size=n)), loss, gain)


def short_hard(rng: np.random.Generator, n: int) -> Conversations:
    """Fitted to the demo: short conversations are hard (-0.5), sizes vary by 0.35, few gain little. Skew: -0.5."""
    length = rng.normal(size=n)
    hardness = -0.5 * length + math.sqrt(0.75) * rng.normal(size=n)
    gain = 0.8 * (2.2 - 1.2 * np.exp(0.35 * rng.normal(size=n)))
    return _conversations(rng, 60 * np.exp(0.35 * length), 3 * np.exp(0.2 * hardness), gain)


def _conversations(rng: np.random.Generator, length: np.ndarray, loss: np.ndarray, gain: np.ndarray) -> Conversations:
    tokens = np.maximum(5.0, np.round(length))
    characters = np.round(tokens * 4.2 * np.exp(0.15 * rng.normal(size=len(tokens))))
    return Conversations(loss * tokens, (loss - gain) * tokens, tokens, characters)


def of_run(run: Path, old: str, new: str) -> Callable[[np.random.Generator, int], Conversations]:
    """Conversations drawn with replacement from all that a run scored with two models."""
    read = [
        [json.loads(line) for line in (run / "evaluate" / "nll" / f"{split}.{model}.jsonl").read_text().splitlines()]
        for model in (old, new)
        for split in ("train", "val", "test")
    ]
    before, after = ([line for lines in part for line in lines] for part in (read[:3], read[3:]))
    columns = (
        np.array([line["nll"] for line in before]),
        np.array([line["nll"] for line in after]),
        *(np.array([line[name] for line in before], dtype=np.float64) for name in ("tokens", "bytes")),
    )

    def draw(rng: np.random.Generator, n: int) -> Conversations:
        rows = rng.integers(len(before), size=n)
        return Conversations(*(column[rows] for column in columns))

    return draw


CONVERSATIONS: dict[str, Callable[[np.random.Generator, int], Conversations]] = {
    "lognormal": lognormal,
    "rare long": rare_long,
    "two topics": two_topics,
    "short are hard": short_hard,
}

LIKELIHOODS = tuple(CONVERSATIONS)


def loss_draw(population: str, rng: np.random.Generator, n: int) -> Draw:
    """A loss; a perplexity's interval is its exponential."""
    drawn, truth = CONVERSATIONS[population](rng, n), _truth(population)
    rows = np.column_stack([drawn.old_nats, drawn.tokens])
    return Draw(bootstrap(rows, _ratio, _seed(rng)), truth.old_nats / truth.tokens, _percentile(rows, _ratio, rng))


def bytes_draw(population: str, rng: np.random.Generator, n: int) -> Draw:
    """Bits per byte."""
    drawn, truth = CONVERSATIONS[population](rng, n), _truth(population)
    rows = np.column_stack([drawn.old_nats / math.log(2), drawn.bytes])
    value = truth.old_nats / math.log(2) / truth.bytes
    return Draw(bootstrap(rows, _ratio, _seed(rng)), value, _percentile(rows, _ratio, rng))


def perplexities_draw(population: str, rng: np.random.Generator, n: int) -> Draw:
    """A paired ratio of perplexities, as `tinsmith compare` and the card's ratios give it."""
    drawn, truth = CONVERSATIONS[population](rng, n), _truth(population)
    change = perplexity_change(drawn.old_nats, drawn.new_nats, drawn.tokens)
    rows = np.column_stack([drawn.new_nats - drawn.old_nats, drawn.tokens])
    value = math.exp((truth.new_nats - truth.old_nats) / truth.tokens)
    return Draw(change.interval, value, exponential(_percentile(rows, _ratio, rng)))


def mean_bytes_draw(population: str, rng: np.random.Generator, n: int) -> Draw:
    """A paired difference of bits per byte."""
    drawn, truth = CONVERSATIONS[population](rng, n), _truth(population)
    change = mean_change(drawn.old_nats, drawn.new_nats, drawn.bytes, drawn.bytes)
    rows = np.column_stack([drawn.new_nats - drawn.old_nats, drawn.bytes])
    return Draw(change.interval, (truth.new_nats - truth.old_nats) / truth.bytes, _percentile(rows, _ratio, rng))


SHARES = {"near zero": (0.02, 0.15), "near one": (0.85, 0.98), "one in four": (0.15, 0.4), "any": (0.05, 0.95)}
"""Range that the truth of each simulated set is drawn from."""


def share_draw(population: str, rng: np.random.Generator, n: int) -> Draw:
    """A share of independent questions."""
    truth = rng.uniform(*SHARES[population])
    successes = rng.random(n) < truth
    return Draw(wilson(int(successes.sum()), n), truth, {})


def clustered_share_draw(population: str, rng: np.random.Generator, n: int) -> Draw:
    """A share of questions, one to four of which have the same passage as their answer and fare alike."""
    truth = rng.uniform(*SHARES[population])
    sizes = rng.integers(1, _MAX_ITEMS + 1, size=n)
    # A beta of this sum gives questions about one passage a correlation of one half.
    chances = np.repeat(rng.beta(truth, 1 - truth, size=n), sizes)
    clusters = np.repeat(np.arange(n), sizes)
    successes = rng.random(len(chances)) < chances
    rows = np.column_stack([np.bincount(clusters, successes), sizes])
    return Draw(clustered_wilson(successes.tolist(), clusters.tolist()), truth, _percentile(rows, _ratio, rng))


def recall_draw(population: str, rng: np.random.Generator, n: int) -> Draw:
    """Stated facts of all facts, by question."""
    facts, (chances, truth) = _facts(rng, n), _chances(population, rng, n)
    stated = rng.binomial(facts, chances)
    return Draw(bounded_mean(stated, facts), truth, _percentile(np.column_stack([stated, facts]), _ratio, rng))


def recall_change_draw(population: str, rng: np.random.Generator, n: int) -> Draw:
    """A paired difference of stated facts: a third of the questions were learned since."""
    facts, (chances, truth) = _facts(rng, n), _chances(population, rng, n)
    learned = rng.random(n) < 1 / 3
    old, new = rng.binomial(facts, chances), rng.binomial(facts, np.where(learned, 0.9, chances))
    rows = np.column_stack([new - old, facts])
    return Draw(score_change(old, new, facts).interval, (0.9 - truth) / 3, _percentile(rows, _ratio, rng))


def _facts(rng: np.random.Generator, n: int) -> np.ndarray:
    return 1 + rng.poisson(2, size=n)


def _chances(population: str, rng: np.random.Generator, n: int) -> tuple[np.ndarray, float]:
    """Chance of each question's facts, and their mean. Questions are nearly all or nothing."""
    truth = rng.uniform(*SHARES[population])
    return rng.beta(0.7 * truth, 0.7 * (1 - truth), size=n), truth


SCORES = {"ceiling": 1.5, "floor": -1.5, "right skew": -0.8, "split": 0.3}
"""Where the mean of a latent quality lies; scores are cut from it. `split` is wide: most scores are extreme."""


def score_draw(population: str, rng: np.random.Generator, n: int) -> Draw:
    """Mean of five grades, worth 0 to 10 points, of one to four raters for each item."""
    grades, sizes = _grades(population, rng, n, 0.0)
    rows = np.column_stack([grades, sizes])
    interval = bounded_mean(grades, sizes, high=10)
    return Draw(interval, _score_truth(population, 0.0), _percentile(rows, _ratio, rng))


def score_change_draw(population: str, rng: np.random.Generator, n: int) -> Draw:
    """A paired difference of the same grades for two models, one per item."""
    quality = rng.normal(size=n)
    old, new = (_cut(population, quality, rng.normal(size=n), shift) for shift in (0.0, 0.6))
    ones = np.ones(n)
    truth = _score_truth(population, 0.6) - _score_truth(population, 0.0)
    rows = np.column_stack([new - old, ones])
    return Draw(score_change(old, new, ones).interval, truth, _percentile(rows, _ratio, rng))


def _grades(population: str, rng: np.random.Generator, n: int, shift: float) -> tuple[np.ndarray, np.ndarray]:
    sizes = rng.integers(1, _MAX_ITEMS + 1, size=n)
    quality = np.repeat(rng.normal(size=n), sizes)
    grades = _cut(population, quality, rng.normal(size=len(quality)), shift)
    return np.bincount(np.repeat(np.arange(n), sizes), grades), sizes


def _cut(population: str, quality: np.ndarray, noise: np.ndarray, shift: float) -> np.ndarray:
    width = 3.0 if population == "split" else 1.0
    latent = SCORES[population] + shift + width * (0.8 * quality + 0.6 * noise)
    return 2.5 * np.clip(np.round(2 + 1.2 * latent), 0, 4)


@cache
def _score_truth(population: str, shift: float) -> float:
    rng = np.random.default_rng(0)
    return float(_cut(population, rng.normal(size=_TRUTH_SIZE), rng.normal(size=_TRUTH_SIZE), shift).mean())


CHANGES = {
    "few": ((0.04, 0.12), (0.04, 0.12), (0.3, 0.6)),
    "gained": ((0.15, 0.4), (0.0, 0.04), (0.2, 0.5)),
    "both ways": ((0.15, 0.35), (0.1, 0.3), (0.1, 0.3)),
    "near one": ((0.06, 0.12), (0.01, 0.05), (0.8, 0.83)),
}
"""Ranges of the shares of questions gained, lost and right both times."""


def share_change_draw(population: str, rng: np.random.Generator, n: int) -> Draw:
    """A paired difference of two shares of independent questions."""
    return _share_change(population, rng, np.ones(n, dtype=int))


def clustered_share_change_draw(population: str, rng: np.random.Generator, n: int) -> Draw:
    """The same for questions of which one to four share a passage; half of them fare as the first of theirs."""
    return _share_change(population, rng, rng.integers(1, _MAX_ITEMS + 1, size=n))


def _share_change(population: str, rng: np.random.Generator, sizes: np.ndarray) -> Draw:
    gained, lost, both = (rng.uniform(*bounds) for bounds in CHANGES[population])
    clusters = np.repeat(np.arange(len(sizes)), sizes)
    first = np.cumsum(sizes) - sizes
    drawn = rng.random(len(clusters))
    drawn = np.where(rng.random(len(clusters)) < 0.5, drawn[first[clusters]], drawn)
    new = drawn < gained + both
    old = (drawn >= gained) & (drawn < gained + both + lost)
    change = share_change(old.tolist(), new.tolist(), clusters.tolist())
    rows = np.column_stack([np.bincount(clusters, new.astype(float) - old), sizes])
    return Draw(change.interval, gained - lost, _percentile(rows, _ratio, rng))


KINDS: dict[str, tuple[Callable[[str, np.random.Generator, int], Draw], tuple[str, ...]]] = {
    "loss and perplexity": (loss_draw, LIKELIHOODS),
    "bits per byte": (bytes_draw, LIKELIHOODS),
    "ratio of perplexities": (perplexities_draw, LIKELIHOODS),
    "difference of bits per byte": (mean_bytes_draw, LIKELIHOODS),
    "share": (share_draw, tuple(SHARES)),
    "share of clustered questions": (clustered_share_draw, tuple(SHARES)),
    "difference of shares": (share_change_draw, tuple(CHANGES)),
    "difference of clustered shares": (clustered_share_change_draw, tuple(CHANGES)),
    "facts stated": (recall_draw, tuple(SHARES)),
    "difference of facts stated": (recall_change_draw, tuple(SHARES)),
    "score out of 10": (score_draw, tuple(SCORES)),
    "difference of scores": (score_change_draw, tuple(SCORES)),
}
"""Kind of interval -> how to draw one, and its four populations."""


@cache
def _truth(population: str) -> Totals:
    """Sums over a million conversations."""
    drawn = CONVERSATIONS[population](np.random.default_rng(0), _TRUTH_SIZE)
    return Totals(*(float(column.sum()) for column in (drawn.old_nats, drawn.new_nats, drawn.tokens, drawn.bytes)))


def _seed(rng: np.random.Generator) -> int:
    return int(rng.integers(2**31))


def _ratio(sums: np.ndarray) -> np.ndarray:
    return sums[:, 0] / sums[:, 1]


def _percentile(
    rows: np.ndarray, statistic: Callable[[np.ndarray], np.ndarray], rng: np.random.Generator
) -> dict[str, float]:
    low, high = np.percentile(statistic(resampled_sums(rows, RESAMPLES_OF_OLD, _seed(rng))), [2.5, 97.5])
    return {"ci95_low": float(low), "ci95_high": float(high)}
