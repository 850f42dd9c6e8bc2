"""Loss, perplexity, bits per byte and ratios from the sums of each conversation; see docs/measurements.md."""

import math
from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from typing import Any

import numpy as np

from tinsmith.core.intervals import Floats, bootstrap, exponential
from tinsmith.derive.files import Files
from tinsmith.derive.rules import Derived, Fields, Rule
from tinsmith.model.package_format import MEASURED_GRAPHS

FOLDER = "evaluate/nll"
NEIGHBOURS = "evaluate/neighbours.jsonl"
CLEAN = "test_clean"
"""The test conversations that have no close neighbour in the training data."""
RATIOS = (("tuned", "base"), *((model, "tuned") for model in MEASURED_GRAPHS))
"""Pairs of models; the ratio is the first one's perplexity over the second one's."""
MIN_CATEGORY = 3
"""A category with fewer test conversations gets no number."""

_COLUMNS = 3
Statistic = Callable[[np.ndarray], np.ndarray]


def loss_of(sums: np.ndarray) -> np.ndarray:
    """Nats per supervised token of each row. `sums` (N, 3): nll, tokens, bytes."""
    return sums[:, 0] / sums[:, 1]


def perplexity_of(sums: np.ndarray) -> np.ndarray:
    """exp(loss) of each row. Not comparable between tokenizers."""
    return np.exp(loss_of(sums))


def bits_per_byte_of(sums: np.ndarray) -> np.ndarray:
    """Bits per UTF-8 byte of assistant content of each row. Comparable between tokenizers."""
    return sums[:, 0] / math.log(2) / sums[:, 2]


def loss(files: Files, split: str, model: str) -> Derived:
    """Negative log-likelihood per supervised token, pooled over conversations."""
    return _pooled(files, _scores(files, split, model), loss_of, "nats/token")


def perplexity(files: Files, split: str, model: str) -> Derived:
    """exp(loss)."""
    return _pooled(files, _scores(files, split, model), perplexity_of, "perplexity")


def bits_per_byte(files: Files, split: str, model: str) -> Derived:
    """Negative log-likelihood in bits per byte of assistant content."""
    return _pooled(files, _scores(files, split, model), bits_per_byte_of, "bits/byte")


def category_loss(files: Files, model: str, category: str) -> Derived | None:
    """Loss of one category of the test split; None if it has fewer than `MIN_CATEGORY` conversations."""
    members = [score for score in _scores(files, "test", model) if score["category"] == category]
    return None if len(members) < MIN_CATEGORY else _pooled(files, members, loss_of, "nats/token")


def perplexity_ratio(files: Files, split: str, over: str, under: str) -> Derived:
    """Ratio of two perplexities on the same tokens, with an interval from paired resamples.

    Raises:
        ValueError: the two models scored different conversations or tokens.
    """
    above, below = (_scores(files, split, model) for model in (over, under))
    if [(score["id"], score["tokens"]) for score in above] != [(score["id"], score["tokens"]) for score in below]:
        raise ValueError(f"{over} and {under} were not scored on the same tokens")
    losses, tokens = ([score["nll"] for score in scores] for scores in (above, below)), _rows(above)[:, 1]
    value, interval = paired_ratio(*losses, tokens, files.seed)
    return Derived(value, "ratio", len(above), "conversations", interval)


def paired_ratio(losses: Floats, other_losses: Floats, tokens: Floats, seed: int) -> tuple[float, dict[str, float]]:
    """Ratio of one model's perplexity to another's, and its 95 % interval from a paired bootstrap over conversations.

    Args:
        losses: Summed negative log-likelihood of each conversation in nats.
        other_losses: The same for the other model.
        tokens: Supervised tokens of each conversation.
        seed: Draws the resamples.
    """
    # exp(a / n) / exp(b / n) = exp((a - b) / n), so a column of differences pairs the two models.
    rows = np.array([np.subtract(losses, other_losses), tokens, np.zeros(len(losses))]).T
    value = float(perplexity_of(rows.sum(axis=0, keepdims=True))[0])
    return value, dict(_bootstrap(rows.tobytes(), perplexity_of, seed))


def _pooled(files: Files, scores: Sequence[dict[str, Any]], statistic: Statistic, unit: str) -> Derived:
    return _interval(files, _rows(scores), statistic, unit)


def _interval(files: Files, rows: np.ndarray, statistic: Statistic, unit: str) -> Derived:
    value = statistic(rows.sum(axis=0, keepdims=True))[0]
    interval = dict(_bootstrap(rows.tobytes(), statistic, files.seed))
    return Derived(value, unit, len(rows), "conversations", interval)


@lru_cache(maxsize=1024)
def _bootstrap(content: bytes, statistic: Statistic, seed: int) -> dict[str, float]:
    """The interval of `statistic` for the rows in `content`. Checks ask for the same ones repeatedly.

    A perplexity's is the exponential of its loss's.
    """
    if statistic is perplexity_of:
        return exponential(_bootstrap(content, loss_of, seed))
    return bootstrap(np.frombuffer(content).reshape(-1, _COLUMNS), statistic, seed)


def _rows(scores: Sequence[dict[str, Any]]) -> np.ndarray:
    """The sums as (conversations, 3) float64: nll, tokens, bytes."""
    return np.array([(score["nll"], score["tokens"], score["bytes"]) for score in scores], dtype=np.float64)


def clean_conversations(files: Files) -> frozenset[str]:
    """Ids of the test conversations that have no close neighbour in the training data."""
    return frozenset(line["id"] for line in files.lines(NEIGHBOURS) if not line["close"])


def _scores(files: Files, split: str, model: str) -> list[dict[str, Any]]:
    if split == CLEAN:
        clean = clean_conversations(files)
        return [score for score in _scores(files, "test", model) if score["id"] in clean]
    return files.lines(f"{FOLDER}/{split}.{model}.jsonl")


def scored(files: Files) -> list[Fields]:
    """Split and model of every file of sums, train before val before test, base before tuned before int4."""
    order = {name: number for number, name in enumerate(("train", "val", "test", "base", "tuned", *MEASURED_GRAPHS))}
    pairs = [name.removesuffix(".jsonl").split(".") for name in files.names(FOLDER)]
    known = [pair for pair in pairs if all(part in order for part in pair)]
    return [
        {"split": split, "model": model} for split, model in sorted(known, key=lambda pair: [order[p] for p in pair])
    ]


def _compared(files: Files) -> Iterable[Fields]:
    models: dict[str, list[str]] = {}
    for fields in scored(files):
        models.setdefault(fields["split"], []).append(fields["model"])
    for split, of_split in models.items():
        for over, under in RATIOS:
            if over in of_split and under in of_split:
                yield {"split": split, "over": over, "under": under}


def clean_loss(files: Files, model: str) -> Derived:
    """Loss on the clean test conversations."""
    return loss(files, CLEAN, model)


def clean_perplexity(files: Files, model: str) -> Derived:
    """Perplexity on the clean test conversations."""
    return perplexity(files, CLEAN, model)


def clean_bits_per_byte(files: Files, model: str) -> Derived:
    """Bits per byte on the clean test conversations."""
    return bits_per_byte(files, CLEAN, model)


def clean_ratio(files: Files, over: str, under: str) -> Derived:
    """Ratio of two perplexities on the clean test conversations."""
    return perplexity_ratio(files, CLEAN, over, under)


def _only_clean(each: Callable[[Files], Iterable[Fields]]) -> Callable[[Files], Iterable[Fields]]:
    """The fields of the test split without the split; none if no test conversation is clean."""

    def clean(files: Files) -> Iterable[Fields]:
        if not files.has(NEIGHBOURS) or not clean_conversations(files):
            return []
        of_test = (fields for fields in each(files) if fields["split"] == "test")
        return [{name: text for name, text in fields.items() if name != "split"} for fields in of_test]

    return clean


def _categories(files: Files) -> Iterable[Fields]:
    for fields in scored(files):
        if fields["split"] == "test":
            names = {score["category"] for score in _scores(files, **fields)}
            yield from ({"model": fields["model"], "category": name} for name in sorted(names))


def small_categories(files: Files) -> list[str]:
    """Categories of the test split that are too small for a loss."""
    return sorted(
        {
            fields["category"]
            for fields in _categories(files)
            if category_loss(files, fields["model"], fields["category"]) is None
        }
    )


_RAW = FOLDER + "/{split}.{model}.jsonl"
_RAW_TEST = FOLDER + "/test.{model}.jsonl"
LOSS_RULES = (
    Rule("evaluate.loss.test_clean.{model}", _RAW_TEST, clean_loss, _only_clean(scored)),
    Rule("evaluate.perplexity.test_clean.{model}", _RAW_TEST, clean_perplexity, _only_clean(scored)),
    Rule("evaluate.bits_per_byte.test_clean.{model}", _RAW_TEST, clean_bits_per_byte, _only_clean(scored)),
    Rule(
        "evaluate.ratio.test_clean.{over}_over_{under}",
        FOLDER + "/test.{over}.jsonl",
        clean_ratio,
        _only_clean(_compared),
    ),
    Rule("evaluate.loss.{split}.{model}", _RAW, loss, scored),
    Rule("evaluate.perplexity.{split}.{model}", _RAW, perplexity, scored),
    Rule("evaluate.bits_per_byte.{split}.{model}", _RAW, bits_per_byte, scored),
    Rule("evaluate.loss.test.{model}.category.{category*}", _RAW_TEST, category_loss, _categories),
    Rule("evaluate.ratio.{split}.{over}_over_{under}", FOLDER + "/{split}.{over}.jsonl", perplexity_ratio, _compared),
)
