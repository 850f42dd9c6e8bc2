"""Split conversations into train, val and test: reproducibly, by category, near-duplicates together."""

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from tinsmith.core.errors import DataError

SPLITS = ("train", "val", "test")


@dataclass(frozen=True, slots=True)
class Rows:
    """Conversations to split; all fields have one entry for each."""

    contents: np.ndarray
    """sha256 of the messages, shape (n, 32)."""
    categories: np.ndarray
    """Number of the category, in the order of the names."""
    clusters: np.ndarray
    """Label of the cluster of near-duplicates."""


@dataclass(frozen=True, slots=True)
class _Clusters:
    """Clusters in the order in which they are drawn."""

    sizes: list[int]
    categories: list[int]
    """The most common category of each; of several, the first name."""
    labels: np.ndarray
    """Cluster of each row, as an index into the other fields."""


def split_rows(
    rows: Rows, category_names: Sequence[str], fractions: Mapping[str, float], seed: int
) -> dict[str, np.ndarray]:
    """Numbers of the rows of `train`, `val` and `test`, each shuffled by a hash of `seed` and contents.

    `fractions` holds the shares of `val` and `test`. Each category gets its share of the total by largest remainder, so
    rounding in many small categories does not change the total. A cluster is never divided, so splits of a
    data set with few large clusters differ from their shares. Because of the shuffle, the first n are a fair sample.

    Raises:
        DataError: fewer than 3 clusters, or nothing left to train on.
    """
    total = len(rows.clusters)
    hexes = [content.tobytes().hex() for content in rows.contents]
    clusters = _ranked_clusters(rows, hexes, seed)
    if len(clusters.sizes) < len(SPLITS):
        raise DataError(
            f"the {total} conversations ask only {len(clusters.sizes)} different question(s), at least {len(SPLITS)} "
            "are needed",
            "Near-duplicate first questions must stay in one split. Add conversations with other questions.",
        )
    waiting = list(range(len(clusters.sizes)))
    split_of = np.zeros(len(clusters.sizes), np.int8)
    for split in ("test", "val"):
        drawn = _draw(waiting, clusters, category_names, round(total * fractions[split]), seed, split)
        split_of[sorted(drawn)] = SPLITS.index(split)
        waiting = [cluster for cluster in waiting if cluster not in drawn]
    if not waiting:
        raise DataError(
            f"data.val_fraction and data.test_fraction leave none of the {total} conversations to train on",
            "Make them smaller.",
        )
    shuffled = _order([_rank(seed, text) for text in hexes])
    split_of_shuffled = split_of[clusters.labels[shuffled]]
    return {split: shuffled[split_of_shuffled == number] for number, split in enumerate(SPLITS)}


def _ranked_clusters(rows: Rows, hexes: Sequence[str], seed: int) -> _Clusters:
    """Clusters in the order of a hash of seed and contents, so the order of files does not matter."""
    _, labels, sizes = np.unique(rows.clusters, return_inverse=True, return_counts=True)
    members = np.split(np.argsort(labels, kind="stable"), np.cumsum(sizes)[:-1])
    ranks = [_rank(seed, *sorted(hexes[row] for row in cluster)) for cluster in members]
    order = _order(ranks)
    place = np.empty(len(order), np.int64)
    place[order] = np.arange(len(order))
    categories = []
    for cluster in order:
        numbers, counts = np.unique(rows.categories[members[cluster]], return_counts=True)
        categories.append(int(numbers[np.argmax(counts)]))
    return _Clusters(sizes[order].tolist(), categories, place[labels])


def _draw(
    waiting: Sequence[int], clusters: _Clusters, names: Sequence[str], target: int, seed: int, split: str
) -> set[int]:
    """Whole clusters with about `target` conversations, by category."""
    sizes: dict[int, int] = {}
    for cluster in waiting:
        category = clusters.categories[cluster]
        sizes[category] = sizes.get(category, 0) + clusters.sizes[cluster]
    room = _quotas(sizes, names, target, seed, split)
    drawn: set[int] = set()
    for cluster in waiting:
        category = clusters.categories[cluster]
        if clusters.sizes[cluster] <= room[category]:
            drawn.add(cluster)
            room[category] -= clusters.sizes[cluster]
    missing = target - sum(clusters.sizes[cluster] for cluster in drawn)
    # If a category's clusters are too large for its share, other categories make up the number.
    for cluster in waiting:
        if missing and cluster not in drawn and clusters.sizes[cluster] <= missing:
            drawn.add(cluster)
            missing -= clusters.sizes[cluster]
    if not drawn:  # every cluster is too large, or the fraction too small: draw one anyway
        drawn.add(min(waiting, key=lambda cluster: clusters.sizes[cluster]))
    return drawn


def _quotas(sizes: Mapping[int, int], names: Sequence[str], target: int, seed: int, split: str) -> dict[int, int]:
    """Number of conversations from each category: its share of `target`, and `target` in total if there are enough.

    Every category leaves one conversation for training, unless that would miss `target`.
    """
    total = sum(sizes.values())
    shares = {category: target * size / total for category, size in sizes.items()}
    quotas = {category: min(math.floor(share), sizes[category] - 1) for category, share in shares.items()}
    order = sorted(
        sizes, key=lambda category: (quotas[category] - shares[category], _rank(seed, split, names[category]))
    )
    while (missing := target - sum(quotas.values())) > 0:
        able = [category for category in order if quotas[category] < sizes[category] - 1] or [
            category for category in order if quotas[category] < sizes[category]
        ]
        for category in able[:missing]:
            quotas[category] += 1
    return quotas


def _rank(seed: int, *parts: str) -> bytes:
    return hashlib.sha256("\n".join((str(seed), *parts)).encode()).digest()


def _order(ranks: Sequence[bytes]) -> np.ndarray:
    """Indexes that sort the hashes."""
    words = np.frombuffer(b"".join(ranks), ">u8").astype(np.uint64).reshape(-1, 4)
    return np.lexsort(words.T[::-1])
