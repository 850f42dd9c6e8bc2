"""Find answers that may contradict each other, from small columns of all conversations, without reading their texts.

Statements are compared if they share a key: the same topic and unit, the same cluster of near-duplicate questions, or a
pair of rare words. Each row is compared with a bounded number of others under a key, so work grows with the data and
not with its pairs.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from tinsmith.data.statements import (
    PERSON,
    POLARITY,
    TOPIC,
    TOPIC_SET,
    TURN,
    UNIT,
    VALUES,
    WORDS,
    unit_hash,
)

_MAX_READ = 2000
"""Pairs of answers whose texts are compared at most, the most alike first."""
_WINDOW = 12
"""Rows on either side that a row is compared with under one key."""
_RARE_WORDS = 12
"""Rarest words of a row, whose pairs are keys if they are the two rarest of some topic."""
_TOPIC_WORDS_TO_SPARE = 3
"""Words of a topic from which one may be missing, since `model/facts` also knows inflections and typing errors."""
_CHUNK_PAIRS = 1 << 16
_CHUNK_ROWS = 1 << 17
_BUCKET_BITS = 3
"""Leading bits of a key that say in which part it is sorted."""

Place = tuple[int, int]
"""Index of a conversation, and turn."""
_Keyed = tuple[np.ndarray, np.ndarray]
"""Keys, and the row of each. Rows with the same key are together."""


@dataclass(frozen=True, slots=True)
class Candidates:
    """Answers to compare."""

    pairs: tuple[tuple[Place, Place], ...]
    """Those to the same question and the most alike first."""
    words: np.ndarray
    """Hashes of all words of all statements, ascending."""
    counts: np.ndarray
    """How often each occurs."""
    total: int
    """Number of distinct statements."""


def find_candidates(rows: np.ndarray, owners: np.ndarray, clusters: np.ndarray) -> Candidates:
    """Pairs of answers that share words and state different values.

    Args:
        rows: From `statements` of all conversations, (n, 27) uint32.
        owners: The index of the conversation of each row, (n,), ascending.
        clusters: The first conversation of each one's cluster of near-duplicates, by index.
    """
    rows, owners = _distinct(rows, owners)
    words, counts = _word_counts(rows[:, TOPIC.start : WORDS.stop])
    pairs = tuple(_candidates(rows, owners, clusters, words, counts)) if len(rows) else ()
    return Candidates(pairs, words, counts, len(rows))


def _distinct(rows: np.ndarray, owners: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Each distinct row of a first turn or later once, with its first owner, in an order that follows from content."""
    names = _hashed(rows)
    _, first = np.unique(names, return_index=True)
    return rows[first], owners[first]


def _word_counts(cells: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """All distinct words, ascending, and how often each occurs."""
    words, counts = np.zeros(0, np.uint32), np.zeros(0, np.int64)
    for chunk in _chunks(cells):
        some, times = np.unique(chunk, return_counts=True)
        words, places = np.unique(np.concatenate((words, some)), return_inverse=True)
        # Sums of weights are floats, which hold integers up to 2^53 exactly.
        counts = np.bincount(places, np.concatenate((counts, times))).astype(np.int64)
    return words, counts


def _candidates(
    rows: np.ndarray, owners: np.ndarray, clusters: np.ndarray, words: np.ndarray, counts: np.ndarray
) -> Iterator[tuple[Place, Place]]:
    unit = rows[:, UNIT]
    first_turn = np.flatnonzero(rows[:, TURN] == 0)
    keyed: tuple[Callable[[], Iterable[_Keyed]], ...] = (
        lambda: [(_hashed(np.stack((unit, rows[:, TOPIC_SET]), axis=1)), np.arange(len(rows)))],
        lambda: [(_hashed(np.stack((unit[first_turn], clusters[owners[first_turn]]), axis=1)), first_turn)],
        lambda: _topic_keys(rows, words, counts),
    )
    places = owners * (int(rows[:, TURN].max()) + 1) + rows[:, TURN]
    seen = set()
    for tier, keys_of_tier in enumerate(keyed):
        for pair in _pairs(keys_of_tier(), rows, owners, places, is_same=not tier).T:
            sides = sorted((int(owners[row]), int(rows[row, TURN])) for row in pair)
            key = (sides[0], sides[1])
            if key not in seen:
                seen.add(key)
                yield key
                if len(seen) >= _MAX_READ:
                    return


def _topic_keys(rows: np.ndarray, words: np.ndarray, counts: np.ndarray) -> Iterator[_Keyed]:
    """Pairs of rare words of rows with values as keys, if they are the two rarest of some topic, and whose they are."""
    # A million conversations have some thirty million keys, so they are sorted in parts.
    members = np.flatnonzero(~np.isin(rows[:, UNIT], [unit_hash(POLARITY), unit_hash(PERSON)])).astype(np.int32)
    unit = rows[members, UNIT]
    topic = _rarest(rows[members, TOPIC], 2, words, counts)
    has_two = (topic != 0).all(axis=1)
    wanted = np.unique(_hashed(np.column_stack((unit[has_two], topic[has_two]))))
    rare = _rarest(rows[members, TOPIC.start : WORDS.stop], _RARE_WORDS, words, counts)
    kept = []
    for low in range(_RARE_WORDS):
        for high in range(low + 1, _RARE_WORDS):
            keys = _hashed(np.column_stack((unit, rare[:, low], rare[:, high])))
            is_wanted = np.isin(keys, wanted)
            kept.append((keys[is_wanted], members[is_wanted]))
    for bucket in range(1 << _BUCKET_BITS):
        parts = [(keys >> np.uint64(64 - _BUCKET_BITS) == bucket, keys, some) for keys, some in kept]
        yield (
            np.concatenate([keys[is_inside] for is_inside, keys, _ in parts]),
            np.concatenate([some[is_inside] for is_inside, _, some in parts]),
        )


def _rarest(cells: np.ndarray, size: int, words: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """The rarest words of each row, by ascending hash; 0 for none: (n, size)."""

    def rarest(some: np.ndarray) -> np.ndarray:
        frequency = counts[np.searchsorted(words, some)]
        frequency[some == 0] = np.iinfo(frequency.dtype).max
        order = np.lexsort((some, frequency))[:, :size]
        return np.sort(np.take_along_axis(some, order, axis=1), axis=1)

    return _in_chunks(rarest, cells)


def _in_chunks(function: Callable[[np.ndarray], np.ndarray], cells: np.ndarray) -> np.ndarray:
    """`function` of the rows, a part of them at a time: it needs several times the memory of its rows."""
    return np.concatenate([function(chunk) for chunk in _chunks(cells)])


def _chunks(cells: np.ndarray) -> Iterator[np.ndarray]:
    for start in range(0, max(1, len(cells)), _CHUNK_ROWS):
        yield cells[start : start + _CHUNK_ROWS]


def _pairs(
    keyed: Iterable[_Keyed], rows: np.ndarray, owners: np.ndarray, places: np.ndarray, is_same: bool
) -> np.ndarray:
    """Pairs of rows that share a key and may contradict each other, (2, n), those that share the most words first."""
    masks, topic_masks = _masks(rows[:, TOPIC.start : WORDS.stop]), _masks(rows[:, TOPIC])
    spare = (rows[:, TOPIC] != 0).sum(axis=1) >= _TOPIC_WORDS_TO_SPARE
    best, scores = np.zeros((2, 0), np.int64), np.zeros(0, np.int64)
    for neighbours in _neighbours(keyed):
        pairs = neighbours[:, owners[neighbours[0]] != owners[neighbours[1]]]
        if not is_same:
            missing = np.bitwise_count(topic_masks[pairs] & ~masks[pairs[::-1]])
            pairs = pairs[:, (missing <= spare[pairs]).any(axis=0)]
        pairs = pairs[:, _may_differ(rows[pairs, VALUES])]
        covered, shared = _overlap(rows[pairs, TOPIC], rows[pairs, WORDS])
        is_near = covered | is_same
        best = np.concatenate((best, pairs[:, is_near]), axis=1)
        scores = np.concatenate((scores, shared[is_near]))
        if len(scores) > _CHUNK_PAIRS:
            best, scores = _first(best, scores, places)
    return _first(best, scores, places)[0]


def _neighbours(keyed: Iterable[_Keyed]) -> Iterator[np.ndarray]:
    """Rows at most `_WINDOW` apart under one key, some pairs (2, n) at a time."""
    for unsorted_keys, unsorted_members in keyed:
        order = np.lexsort((unsorted_members, unsorted_keys))
        keys, members = unsorted_keys[order], unsorted_members[order]
        for distance in range(1, _WINDOW + 1):
            places = np.flatnonzero(keys[:-distance] == keys[distance:])
            for start in range(0, len(places), _CHUNK_PAIRS):
                some = places[start : start + _CHUNK_PAIRS]
                yield np.stack((members[some], members[some + distance]))


def _first(pairs: np.ndarray, scores: np.ndarray, places: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Pairs in order, up to the last that can be among the first `_MAX_READ` different pairs of places."""
    # Rows are in the order of their content, so ties do not depend on the order of the data either.
    order = np.lexsort((pairs[1], pairs[0], -scores))
    pairs, scores = pairs[:, order], scores[order]
    sides = np.sort(places[pairs], axis=0)
    _, first = np.unique(_hashed(sides.T), return_index=True)
    end = np.sort(first)[:_MAX_READ][-1:] + 1
    return (pairs[:, : end[0]], scores[: end[0]]) if len(end) else (pairs, scores)


def _masks(cells: np.ndarray) -> np.ndarray:
    """One bit of 64 for each word of a row, (n,) uint64. A word whose bit another row lacks is not in that row."""

    def masks(some: np.ndarray) -> np.ndarray:
        bits = np.where(some == 0, np.uint64(0), np.uint64(1) << (some.astype(np.uint64) & np.uint64(63)))
        return np.bitwise_or.reduce(bits, axis=1)

    return _in_chunks(masks, cells)


def _may_differ(values: np.ndarray) -> np.ndarray:
    """Whether each side of pairs, (2, n, 4), has a value that the other lacks."""
    one, other = values
    alike = one[:, :, None] == other[:, None, :]
    return ((one != 0) & ~alike.any(axis=2)).any(axis=1) & ((other != 0) & ~alike.any(axis=1)).any(axis=1)


def _overlap(topics: np.ndarray, words: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Whether one side's topic is among the other's words, but for one of three; and how many words both have."""
    sides = np.concatenate((topics, words), axis=2)
    alike = (sides[0][:, :, None] == sides[1][:, None, :]) & (sides[0] != 0)[:, :, None]
    in_other, in_one = alike.any(axis=2), alike.any(axis=1)
    size = topics.shape[2]
    covers = []
    for topic, found in zip(topics, (in_other, in_one), strict=True):
        count = (topic != 0).sum(axis=1)
        covers.append(found[:, :size].sum(axis=1) >= count - (count >= _TOPIC_WORDS_TO_SPARE))
    return covers[0] | covers[1], in_other.sum(axis=1)


def _hashed(rows: np.ndarray) -> np.ndarray:
    """One uint64 for each row of integers."""
    result = np.zeros(len(rows), np.uint64)
    for column in range(rows.shape[1]):
        result = (result + rows[:, column].astype(np.uint64)) * np.uint64(0x9E3779B97F4A7C15)
        result ^= result >> np.uint64(29)
    return result
