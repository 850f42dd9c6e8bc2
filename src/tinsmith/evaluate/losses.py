"""From raw sums to loss, perplexity, bits per byte and paired ratios, with intervals. Definitions: docs/measurements.md."""

import math
from collections.abc import Sequence

import numpy as np

from tinsmith.evaluate.intervals import bootstrap
from tinsmith.evaluate.nll import Score
from tinsmith.measure import Recorder

_METHOD = "tinsmith.evaluate.losses"
_MIN_CATEGORY = 3
"""A category with fewer test conversations gets no number."""


def record_losses(recorder: Recorder, scores: Sequence[Score], split: str, model: str, raw: str, seed: int) -> float:
    """Record loss, perplexity and bits per byte of one model on one split; returns the perplexity."""
    nll, tokens, sizes = columns = _columns(scores)
    rows = columns.T  # (conversations, 3)
    counted = {"count": len(scores), "count_of": "conversations", "raw": raw}
    loss = nll.sum() / tokens.sum()
    spread = bootstrap(rows, lambda sums: sums[:, 0] / sums[:, 1], seed)
    recorder.add(f"evaluate.loss.{split}.{model}", loss, "nats/token", spread=spread, method=f"{_METHOD}.loss", **counted)
    recorder.add(
        f"evaluate.perplexity.{split}.{model}", math.exp(loss), "perplexity", method=f"{_METHOD}.perplexity",
        spread={name: math.exp(end) for name, end in spread.items()}, **counted,
    )  # fmt: skip
    recorder.add(
        f"evaluate.bits_per_byte.{split}.{model}", nll.sum() / math.log(2) / sizes.sum(), "bits/byte",
        method=f"{_METHOD}.bits_per_byte",
        spread=bootstrap(rows, lambda sums: sums[:, 0] / math.log(2) / sums[:, 2], seed), **counted,
    )  # fmt: skip
    return math.exp(loss)


def record_ratio(
    recorder: Recorder, over: Sequence[Score], under: Sequence[Score], id: str, raw: str, seed: int
) -> float:
    """Record the ratio of two perplexities on the same tokens, resampled in pairs; returns the ratio.

    Raises:
        ValueError: the two did not score the same conversations and tokens.
    """
    if [(score.id, score.tokens) for score in over] != [(score.id, score.tokens) for score in under]:
        raise ValueError(f"{id}: the two models were not scored on the same tokens")
    (nll_over, tokens, _), (nll_under, _, _) = _columns(over), _columns(under)
    rows = np.stack([nll_over - nll_under, tokens], axis=1)
    ratio = math.exp((nll_over.sum() - nll_under.sum()) / tokens.sum())
    spread = bootstrap(rows, lambda sums: np.exp(sums[:, 0] / sums[:, 1]), seed)
    recorder.add(id, ratio, "ratio", len(over), "conversations", f"{_METHOD}.record_ratio", spread=spread, raw=raw)
    return ratio


def record_categories(recorder: Recorder, scores: Sequence[Score], split: str, model: str, raw: str, seed: int) -> list[str]:
    """Record the loss of each category of at least 3 conversations; returns the categories that were too small."""
    groups: dict[str, list[Score]] = {}
    for score in scores:
        groups.setdefault(score.category, []).append(score)
    too_small = []
    for category, members in sorted(groups.items()):
        if len(members) < _MIN_CATEGORY:
            too_small.append(category)
            continue
        nll, tokens, _ = columns = _columns(members)
        recorder.add(
            f"evaluate.loss.{split}.{model}.category.{category}", nll.sum() / tokens.sum(), "nats/token",
            len(members), "conversations", f"{_METHOD}.loss", raw=raw,
            spread=bootstrap(columns.T, lambda sums: sums[:, 0] / sums[:, 1], seed),
        )  # fmt: skip
    return too_small


def _columns(scores: Sequence[Score]) -> np.ndarray:
    """`(3, conversations)` float64: nll, tokens, bytes."""
    return np.array([(score.nll, score.tokens, score.bytes) for score in scores], dtype=np.float64).T
