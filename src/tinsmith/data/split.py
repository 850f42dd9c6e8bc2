"""Split conversations into train, val and test: reproducibly, by category, near-duplicates together."""

import hashlib
import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tinsmith.core.errors import DataError
from tinsmith.data.dedup import content_hash
from tinsmith.model.conversations import Conversation

SPLITS = ("train", "val", "test")


@dataclass(frozen=True, slots=True)
class _Cluster:
    members: tuple[int, ...]
    category: str
    rank: str
    """Hash of seed and contents. Clusters are drawn in order of rank, so the order of files does not matter."""


def split_conversations(
    conversations: Sequence[Conversation], clusters: Sequence[Sequence[int]], fractions: Mapping[str, float], seed: int
) -> dict[str, list[Conversation]]:
    """The conversations of `train`, `val` and `test`, each shuffled by a hash of `seed` and contents.

    `fractions` holds the shares of `val` and `test`. Each category gets its share of the total by largest remainder, so
    rounding in many small categories does not change the total. A cluster is never divided, so splits of a
    data set with few large clusters differ from their shares. Because of the shuffle, the first n are a fair sample.

    Raises:
        DataError: fewer than 3 clusters, or nothing left to train on.
    """
    total = len(conversations)
    if len(clusters) < len(SPLITS):
        raise DataError(
            f"the {total} conversations ask only {len(clusters)} different question(s), at least {len(SPLITS)} are "
            "needed",
            "Near-duplicate first questions must stay in one split. Add conversations with other questions.",
        )
    hashes = [content_hash(conversation) for conversation in conversations]
    waiting = sorted((_cluster(members, conversations, hashes, seed) for members in clusters), key=lambda c: c.rank)
    drawn: dict[str, list[_Cluster]] = {}
    for split in ("test", "val"):
        target = round(total * fractions[split])
        drawn[split], waiting = _draw(waiting, target, seed, split)
    drawn["train"] = waiting
    if not waiting:
        raise DataError(
            f"data.val_fraction and data.test_fraction leave none of the {total} conversations to train on",
            "Make them smaller.",
        )
    return {split: [conversations[index] for index in _shuffled(drawn[split], hashes, seed)] for split in SPLITS}


def _cluster(members: Sequence[int], conversations: Sequence, hashes: Sequence[str], seed: int) -> _Cluster:
    """The cluster, with its most common category."""
    counts: dict[str, int] = defaultdict(int)
    for index in members:
        counts[conversations[index].category] += 1
    category = min(counts, key=lambda name: (-counts[name], name))
    return _Cluster(tuple(members), category, _rank(seed, *sorted(hashes[index] for index in members)))


def _draw(waiting: list[_Cluster], target: int, seed: int, split: str) -> tuple[list[_Cluster], list[_Cluster]]:
    """Draw whole clusters with about `target` conversations, by category; returns `(drawn, remaining)`."""
    sizes: dict[str, int] = defaultdict(int)
    for cluster in waiting:
        sizes[cluster.category] += len(cluster.members)
    room = _quotas(sizes, target, seed, split)
    drawn, remaining = [], []
    for cluster in waiting:
        fits = len(cluster.members) <= room[cluster.category]
        (drawn if fits else remaining).append(cluster)
        room[cluster.category] -= len(cluster.members) * fits
    missing = target - sum(len(cluster.members) for cluster in drawn)
    # If a category's clusters are too large for its share, other categories make up the number.
    for cluster in list(remaining):
        if len(cluster.members) <= missing:
            remaining.remove(cluster)
            drawn.append(cluster)
            missing -= len(cluster.members)
    if not drawn:  # every cluster is too large, or the fraction too small: draw one anyway
        smallest = min(remaining, key=lambda cluster: len(cluster.members))
        remaining.remove(smallest)
        drawn.append(smallest)
    return drawn, remaining


def _quotas(sizes: Mapping[str, int], target: int, seed: int, split: str) -> dict[str, int]:
    """Number of conversations from each category: its share of `target`, and `target` in total if there are enough.

    Every category leaves one conversation for training, unless that would miss `target`.
    """
    total = sum(sizes.values())
    shares = {name: target * size / total for name, size in sizes.items()}
    quotas = {name: min(math.floor(share), sizes[name] - 1) for name, share in shares.items()}
    order = sorted(sizes, key=lambda name: (quotas[name] - shares[name], _rank(seed, split, name)))
    while (missing := target - sum(quotas.values())) > 0:
        able = [name for name in order if quotas[name] < sizes[name] - 1] or [
            name for name in order if quotas[name] < sizes[name]
        ]
        for name in able[:missing]:
            quotas[name] += 1
    return quotas


def _shuffled(clusters: Sequence[_Cluster], hashes: Sequence[str], seed: int) -> list[int]:
    """Indexes of all members, ordered by a hash of seed and content."""
    return sorted((index for cluster in clusters for index in cluster.members), key=lambda i: _rank(seed, hashes[i]))


def _rank(seed: int, *parts: str) -> str:
    return hashlib.sha256("\n".join((str(seed), *parts)).encode()).hexdigest()
