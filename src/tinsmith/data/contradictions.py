"""Find answers to the same question that state different values, or yes and no, for the owner to settle.

It is a warning, and nothing is dropped because of it, so it would rather miss a contradiction than cry wolf. Candidates
come from small columns (`data/statements.py`) by shared keys: the same topic and unit, the same cluster of near-
duplicate questions, or a pair of rare words. Each row is compared with a bounded number of others under a key, so work
grows with the data and not with its pairs. The texts of the candidates alone are read again, and
`model/facts` decides which values are comparable, what each belongs to, and on which side of a contrast it is.
"""

import math
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from tinsmith.data.conflicts import Answer, Conflict, conflict_between
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
    word_hash,
)
from tinsmith.model.conversations import Conversation

MAX_PAIRS = 1000
"""Pairs that are listed at most."""
_MAX_READ = 2000
"""Pairs of answers whose texts are compared at most, the most alike first."""
_MAX_PER_ANSWER = 3
"""Pairs in which one answer is listed at most."""
_WINDOW = 12
"""Rows on either side that a row is compared with under one key."""
_RARE_WORDS = 12
"""Rarest words of a row, whose pairs are keys if they are the two rarest of some topic."""
_TOPIC_WORDS_TO_SPARE = 3
"""Words of a topic from which one may be missing, since `model/facts` also knows inflections and typing errors."""
_MIN_ROWS = 1000
"""Words of smaller data weigh as if it had so many rows, of which most are about something else."""
_CHUNK_PAIRS = 1 << 16
_CHUNK_ROWS = 1 << 17
_QUOTE_CHARACTERS = 160


@dataclass(frozen=True, slots=True)
class Side:
    """One of two answers that contradict each other."""

    file: str
    position: str
    question: str
    statement: str
    """The sentence of the answer, cut to a readable length."""
    values: tuple[str, ...]
    """What it states and the other does not, as written, such as `5,000 SEK`; or `yes` or `no`."""


@dataclass(frozen=True, slots=True)
class Contradiction:
    """Two answers to one question, the first in the data first."""

    first: Side
    second: Side


def find_contradictions(
    rows: np.ndarray, owners: np.ndarray, clusters: np.ndarray, conversation: Callable[[int], Conversation]
) -> tuple[Contradiction, ...]:
    """Pairs of answers that contradict each other, at most `MAX_PAIRS`, in the order of the data.

    Args:
        rows: From `statements` of all conversations, (n, 27) uint32.
        owners: The index of the conversation of each row, (n,), ascending.
        clusters: The first conversation of each one's cluster of near-duplicates, by index.
        conversation: The conversation at an index. It is asked for candidates only.
    """
    if not len(rows):
        return ()
    rows, owners = _distinct(rows, owners)
    words, counts = np.unique(rows[:, TOPIC.start : WORDS.stop], return_counts=True)
    read = _Reader(conversation, words, counts, len(rows))
    listed: dict[tuple[int, int], Contradiction] = {}
    times: Counter[tuple[int, int]] = Counter()
    for one, other in _candidates(rows, owners, clusters, words, counts):
        pair = (one[0], other[0])
        if pair in listed or max(times[one], times[other]) >= _MAX_PER_ANSWER:
            continue
        sides = conflict_between(read(one), read(other), read.weight)
        if sides:
            listed[pair] = _contradiction(read, one, other, sides)
            times.update((one, other))
            if len(listed) >= MAX_PAIRS:
                break
    return tuple(listed[pair] for pair in sorted(listed))


class _Reader:
    """Answers of candidates, taken apart, and how much a word tells."""

    def __init__(
        self, conversation: Callable[[int], Conversation], words: np.ndarray, counts: np.ndarray, total: int
    ) -> None:
        self.conversation = conversation
        self._words, self._counts, self._total = words, counts, max(total, _MIN_ROWS)
        self._answer = lru_cache(maxsize=4096)(lambda place: Answer.of(conversation(place[0]), place[1]))
        self.weight = lru_cache(maxsize=1 << 16)(self._weight)
        """How much a word tells."""

    def __call__(self, place: tuple[int, int]) -> Answer:
        """The answer at a conversation and turn."""
        return self._answer(place)

    def _weight(self, word: str) -> float:
        """Inverse document frequency of a word."""
        hashed = word_hash(word)
        place = int(np.searchsorted(self._words, hashed))
        is_known = place < len(self._words) and self._words[place] == hashed
        return math.log((self._total + 1) / ((self._counts[place] if is_known else 0) + 0.5))


def _distinct(rows: np.ndarray, owners: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Each distinct row of a first turn or later once, with its first owner, in an order that follows from content."""
    names = _hashed(rows)
    _, first = np.unique(names, return_index=True)
    return rows[first], owners[first]


def _candidates(
    rows: np.ndarray, owners: np.ndarray, clusters: np.ndarray, words: np.ndarray, counts: np.ndarray
) -> Iterator[tuple[tuple[int, int], tuple[int, int]]]:
    """Places (conversation and turn) of answers to compare, those to the same question and the most alike first."""
    unit = rows[:, UNIT]
    first_turn = np.flatnonzero(rows[:, TURN] == 0)
    keyed: tuple[Callable[[], tuple[np.ndarray, np.ndarray]], ...] = (
        lambda: (_hashed(np.stack((unit, rows[:, TOPIC_SET]), axis=1)), np.arange(len(rows))),
        lambda: (_hashed(np.stack((unit[first_turn], clusters[owners[first_turn]]), axis=1)), first_turn),
        lambda: _topic_keys(rows, words, counts),
    )
    places = owners * (int(rows[:, TURN].max()) + 1) + rows[:, TURN]
    seen = set()
    for tier, keys_of_tier in enumerate(keyed):
        for pair in _pairs(*keys_of_tier(), rows, owners, places, is_same=not tier).T:
            sides = sorted((int(owners[row]), int(rows[row, TURN])) for row in pair)
            key = (sides[0], sides[1])
            if key not in seen:
                seen.add(key)
                yield key
                if len(seen) >= _MAX_READ:
                    return


def _topic_keys(rows: np.ndarray, words: np.ndarray, counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Pairs of rare words of rows with values as keys, if they are the two rarest of some topic, and whose they are."""
    # A million conversations have some thirty million keys, so four bytes for each count.
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
    return np.concatenate([keys for keys, _ in kept]), np.concatenate([some for _, some in kept])


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
    starts = range(0, max(1, len(cells)), _CHUNK_ROWS)
    return np.concatenate([function(cells[start : start + _CHUNK_ROWS]) for start in starts])


def _pairs(
    keys: np.ndarray, members: np.ndarray, rows: np.ndarray, owners: np.ndarray, places_of: np.ndarray, is_same: bool
) -> np.ndarray:
    """Pairs of rows that share a key and may contradict each other, (2, n), those that share the most words first."""
    order = np.lexsort((members, keys))
    keys, members = keys[order], members[order]
    masks, topic_masks = _masks(rows[:, TOPIC.start : WORDS.stop]), _masks(rows[:, TOPIC])
    spare = (rows[:, TOPIC] != 0).sum(axis=1) >= _TOPIC_WORDS_TO_SPARE
    best, scores = np.zeros((2, 0), np.int64), np.zeros(0, np.int64)
    for distance in range(1, _WINDOW + 1):
        places = np.flatnonzero(keys[:-distance] == keys[distance:])
        for start in range(0, len(places), _CHUNK_PAIRS):
            some = places[start : start + _CHUNK_PAIRS]
            pairs = np.stack((members[some], members[some + distance]))
            pairs = pairs[:, owners[pairs[0]] != owners[pairs[1]]]
            if not is_same:
                missing = np.bitwise_count(topic_masks[pairs] & ~masks[pairs[::-1]])
                pairs = pairs[:, (missing <= spare[pairs]).any(axis=0)]
            pairs = pairs[:, _may_differ(rows[pairs, VALUES])]
            covered, shared = _overlap(rows[pairs, TOPIC], rows[pairs, WORDS])
            is_near = covered | is_same
            best = np.concatenate((best, pairs[:, is_near]), axis=1)
            scores = np.concatenate((scores, shared[is_near]))
            if len(scores) > _CHUNK_PAIRS:
                best, scores = _first(best, scores, places_of)
    return _first(best, scores, places_of)[0]


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


def _contradiction(read: _Reader, one: tuple[int, int], other: tuple[int, int], conflict: Conflict) -> Contradiction:
    sides = []
    for place, quote in zip((one, other), conflict, strict=True):
        source = read.conversation(place[0]).source
        sides.append(
            Side(source["file"], source["position"], _cut(read(place).question), _cut(quote.sentence), quote.values)
        )
    return Contradiction(*sides)


def _cut(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= _QUOTE_CHARACTERS else text[: _QUOTE_CHARACTERS - 3].rstrip() + "..."
