"""Loss, perplexity, bits per byte and paired ratios with intervals, from raw sums; see docs/measurements.md."""

import math
from collections.abc import Sequence

import numpy as np

from tinsmith.core.intervals import bootstrap
from tinsmith.core.measure import Recorder
from tinsmith.evaluate.nll import Score

_METHOD = "tinsmith.evaluate.losses"
_MIN_CATEGORY = 3
"""A category with fewer test conversations gets no number."""


def loss(sums: np.ndarray) -> np.ndarray:
    """Nats per supervised token of each row. `sums` (N, 3): nll, tokens, bytes."""
    return sums[:, 0] / sums[:, 1]


def perplexity(sums: np.ndarray) -> np.ndarray:
    """exp(loss) of each row. Not comparable between tokenizers."""
    return np.exp(loss(sums))


def bits_per_byte(sums: np.ndarray) -> np.ndarray:
    """Bits per UTF-8 byte of assistant content of each row. Comparable between tokenizers."""
    return sums[:, 0] / math.log(2) / sums[:, 2]


def record_losses(recorder: Recorder, scores: Sequence[Score], split: str, model: str, raw: str, seed: int) -> None:
    """Record loss, perplexity and bits per byte of one model on one split."""
    rows = _rows(scores)
    totals = rows.sum(axis=0, keepdims=True)
    for name, unit, definition in (
        ("loss", "nats/token", loss),
        ("perplexity", "perplexity", perplexity),
        ("bits_per_byte", "bits/byte", bits_per_byte),
    ):
        recorder.add(
            f"evaluate.{name}.{split}.{model}",
            definition(totals)[0],
            unit,
            len(scores),
            "conversations",
            f"{_METHOD}.{name}",
            spread=bootstrap(rows, definition, seed),
            raw=raw,
        )


def record_ratio(
    recorder: Recorder, over: Sequence[Score], under: Sequence[Score], id: str, raw: str, seed: int
) -> float:
    """Record and return the ratio of two perplexities on the same tokens, with an interval from paired resamples.

    Raises:
        ValueError: the two models scored different conversations or tokens.
    """
    if [(score.id, score.tokens) for score in over] != [(score.id, score.tokens) for score in under]:
        raise ValueError(f"{id}: the two models were not scored on the same tokens")
    rows = _rows(over)
    # exp(a / n) / exp(b / n) = exp((a - b) / n), so a column of differences pairs the two models.
    rows[:, 0] -= _rows(under)[:, 0]
    ratio = float(perplexity(rows.sum(axis=0, keepdims=True))[0])
    spread = bootstrap(rows, perplexity, seed)
    recorder.add(id, ratio, "ratio", len(over), "conversations", f"{_METHOD}.record_ratio", spread=spread, raw=raw)
    return ratio


def record_categories(
    recorder: Recorder, scores: Sequence[Score], split: str, model: str, raw: str, seed: int
) -> list[str]:
    """Record the loss of each category with at least 3 conversations, and return the names of the other categories."""
    groups: dict[str, list[Score]] = {}
    for score in scores:
        groups.setdefault(score.category, []).append(score)
    too_small = []
    for category, members in sorted(groups.items()):
        if len(members) < _MIN_CATEGORY:
            too_small.append(category)
            continue
        rows = _rows(members)
        recorder.add(
            f"evaluate.loss.{split}.{model}.category.{category}",
            loss(rows.sum(axis=0, keepdims=True))[0],
            "nats/token",
            len(members),
            "conversations",
            f"{_METHOD}.loss",
            spread=bootstrap(rows, loss, seed),
            raw=raw,
        )
    return too_small


def _rows(scores: Sequence[Score]) -> np.ndarray:
    """The sums as (conversations, 3) float64: nll, tokens, bytes."""
    return np.array([(score.nll, score.tokens, score.bytes) for score in scores], dtype=np.float64)
