"""Exact duplicates, and clusters of near-duplicate questions that must stay in one split.

Two conversations are near-duplicates if their first questions are equal apart from case and punctuation, or if their
sets of 5-character shingles have a Jaccard similarity of at least 0.7. Clusters are connected components.

The search is near-linear. Questions are compared only if they share a key, and under each key a question is compared
with a bounded number of others on either side. Keys are bands of MinHash signatures, which nearly all similar questions
share, and for questions in crowded bands also their rarest shingles: among a million questions of one template, those
that are alike share the unusual part. Results follow from the texts alone, not from their order or the machine.

Sources:
    Broder, "On the resemblance and containment of documents" (1997): MinHash.
    Bayardo, Ma and Srikant, "Scaling Up All Pairs Similarity Search" (2007): two sets with a similarity of at least t
        share one of their |x| - ceil(t |x|) + 1 rarest members.
"""

import re
from collections.abc import Callable, Iterator, Sequence

import numpy as np

from tinsmith.core.run_dir import combined_sha256
from tinsmith.model.conversations import Conversation

SHINGLE_CHARACTERS = 5
NEAR_DUPLICATE_TENTHS = 7
"""Minimum Jaccard similarity of near-duplicates. In tenths, so that comparisons are exact."""
SIGNATURE_SIZE = 128
_BAND_ROWS = 4
"""Pairs at the threshold share none of the 32 bands in 1 of 6,500 cases."""
_BAND_WINDOW = 4
"""Questions on either side that a question is compared with in one band."""
_RARE_WINDOW = 32
"""The same for a rare shingle."""
_MIN_AGREEING = 76
"""Values that two signatures share before their texts are compared: 0.59, 2.6 standard errors below 0.7."""
_MAX_RARE_SHINGLES = 24
_FREQUENCY_SLOTS = 1 << 22
_CHUNK_CHARACTERS = 1 << 20
"""Characters that are hashed at once; bounds memory."""
_CHUNK_PAIRS = 1 << 14
_CACHED_SHINGLES = 1 << 27
"""Half a gigabyte, enough for a million questions of 130 characters. Beyond it, texts are read again and again."""
_WORD = re.compile(r"\w+")


def content_hash(conversation: Conversation) -> bytes:
    """SHA-256 of roles and texts, 32 bytes. Exact duplicates have the same, whatever their ids and files."""
    return bytes.fromhex(combined_sha256([[message.role, message.content] for message in conversation.messages]))


def signatures(questions: Sequence[str]) -> np.ndarray:
    """MinHash signatures of questions, (n, 128) uint32. Case and punctuation do not matter."""
    chance = _mixed(np.arange(2 * SIGNATURE_SIZE, dtype=np.uint64) + np.uint64(1)).astype(np.uint32)
    multipliers, offsets = chance[:SIGNATURE_SIZE] | np.uint32(1), chance[SIGNATURE_SIZE:]
    result = np.empty((len(questions), SIGNATURE_SIZE), np.uint32)
    for start, hashes, starts in _hashed(questions):
        for column in range(SIGNATURE_SIZE):
            permuted = hashes * multipliers[column] + offsets[column]
            result[start : start + len(starts), column] = np.minimum.reduceat(permuted, starts)
    return result


def near_duplicates(signatures: np.ndarray, question: Callable[[int], str]) -> np.ndarray:
    """For each conversation the first one of its cluster of near-duplicates, (n,) int64.

    Args:
        signatures: From `signatures` of all first questions, (n, 128).
        question: The first question of the conversation at an index. It is asked for candidates only.
    """
    names = _row_hashes(signatures)
    _, first, distinct = np.unique(names, return_index=True, return_inverse=True)
    # Equal signatures have equal shingles: at a similarity of 0.9, they differ in all but one of a million cases.
    search = _Search(signatures, first, question)
    crowded = np.zeros(len(first), bool)
    for band in range(SIGNATURE_SIZE // _BAND_ROWS):
        rows = signatures[first, band * _BAND_ROWS : (band + 1) * _BAND_ROWS]
        keys = _row_hashes(rows)
        order = np.argsort(keys, kind="stable")
        crowded[order] |= _is_crowded(keys[order])
        search.compare(keys[order], order, _BAND_WINDOW)
    members = np.flatnonzero(crowded)
    if len(members):
        search.compare(*search.rare_shingles(members), _RARE_WINDOW)
    smallest = np.full(len(first), len(signatures), np.int64)
    np.minimum.at(smallest, search.parents, first)
    return smallest[search.parents][distinct]


def normalised(question: str) -> str:
    """The words of a question in lower case. A question without words stays as it is."""
    return " ".join(_WORD.findall(question.casefold())) or question


def _hashed(texts: Sequence[str]) -> Iterator[tuple[int, np.ndarray, np.ndarray]]:
    """Hashes of all shingles by chunk: index of the first text, hashes (uint32), and where each text's begin."""
    waiting: list[str] = []
    size = start = 0
    for index, text in enumerate(texts):
        waiting.append(normalised(text).ljust(SHINGLE_CHARACTERS, "\0"))
        size += len(waiting[-1])
        if size >= _CHUNK_CHARACTERS or index == len(texts) - 1:
            yield start, *_shingle_hashes(waiting)
            start, size, waiting = index + 1, 0, []


def _shingle_hashes(texts: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    overlap = SHINGLE_CHARACTERS - 1
    codes = np.frombuffer("".join(texts).encode("utf-32-le", "surrogatepass"), "<u4").astype(np.uint64)
    hashes = codes[: len(codes) - overlap].copy()
    for offset in range(1, SHINGLE_CHARACTERS):
        hashes *= np.uint64(0x9E3779B97F4A7C15)
        hashes += codes[offset : len(codes) - overlap + offset]
    ends = np.cumsum([len(text) for text in texts])
    is_within = np.ones(len(codes), bool)
    for offset in range(1, overlap + 1):
        is_within[ends - offset] = False
    starts = np.concatenate(([0], ends[:-1])) - overlap * np.arange(len(texts))
    return _mixed(hashes[is_within[: len(hashes)]]).astype(np.uint32), starts


def _mixed(values: np.ndarray) -> np.ndarray:
    """Well distributed bits of uint64 values: the finalizer of SplitMix64 (Steele, Lea and Flood, 2014)."""
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))


def _row_hashes(rows: np.ndarray) -> np.ndarray:
    """One uint64 for each row."""
    result = np.zeros(len(rows), np.uint64)
    for column in range(rows.shape[1]):
        result = _mixed((result + rows[:, column]) * np.uint64(0x9E3779B97F4A7C15))
    return result


def _is_crowded(keys: np.ndarray) -> np.ndarray:
    """Whether more questions share a key than are compared with each other; `keys` are sorted."""
    _, counts = np.unique(keys, return_counts=True)
    return np.repeat(counts > _BAND_WINDOW + 1, counts)


def _distinct(pairs: np.ndarray) -> np.ndarray:
    """Each pair once, (2, n): questions that share a rare word share several shingles of it, at the same distance."""
    low, high = np.minimum(*pairs), np.maximum(*pairs)
    both = np.sort(low.astype(np.uint64) << np.uint64(32) | high.astype(np.uint64))
    # Sorting millions of numbers takes a tenth of the time of `np.unique`, which puts them into a hash table.
    both = both[np.concatenate(([True], both[1:] != both[:-1]))] if len(both) else both
    return np.stack((both >> np.uint64(32), both & np.uint64(0xFFFFFFFF))).astype(np.int64)


class _Search:
    """Clusters of distinct questions, which are numbered in the order of their signatures' hashes."""

    def __init__(self, signatures: np.ndarray, rows: np.ndarray, question: Callable[[int], str]) -> None:
        self.parents = np.arange(len(rows))
        """For each question the smallest of those that it is joined with."""
        self._signatures = signatures
        self._rows = rows
        self._shingles = _Shingles(lambda number: question(int(rows[number])), len(rows))

    def compare(self, keys: np.ndarray, members: np.ndarray, window: int) -> None:
        """Join members that are alike, among those near each other with the same key; `keys` are sorted."""
        for distance in range(1, window + 1):
            places = np.flatnonzero(keys[:-distance] == keys[distance:])
            pairs = np.stack((members[places], members[places + distance]))
            pairs = _distinct(pairs[:, self.parents[pairs[0]] != self.parents[pairs[1]]])
            chunks = [pairs[:, at : at + _CHUNK_PAIRS] for at in range(0, pairs.shape[1], _CHUNK_PAIRS)]
            likely = [chunk[:, self._agreeing(chunk) >= _MIN_AGREEING] for chunk in chunks]
            self._join([chunk[:, self._shingles.are_similar(chunk)] for chunk in likely if chunk.size])

    def rare_shingles(self, members: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The rarest shingles of each member, as sorted keys, and whose they are."""
        frequency = np.zeros(_FREQUENCY_SLOTS, np.int32)
        for _, hashes, _ in self._shingles.sets(members):
            frequency += np.bincount(hashes % _FREQUENCY_SLOTS, minlength=_FREQUENCY_SLOTS).astype(np.int32)
        entries = []
        for some, hashes, counts in self._shingles.sets(members):
            owners = np.repeat(np.arange(len(some)), counts)
            order = np.lexsort((hashes, frequency[hashes % _FREQUENCY_SLOTS], owners))
            ranks = np.arange(len(hashes)) - np.repeat(np.cumsum(counts) - counts, counts)
            prefix = counts - -(-NEAR_DUPLICATE_TENTHS * counts // 10) + 1
            kept = order[ranks < np.repeat(np.minimum(prefix, _MAX_RARE_SHINGLES), counts)]
            entries.append(hashes[kept].astype(np.uint64) << np.uint64(32) | some[owners[kept]].astype(np.uint64))
        # A million questions have some twenty million entries, so no more copies than needed.
        ordered = np.concatenate(entries)
        entries.clear()
        ordered.sort()
        return ordered >> np.uint64(32), (ordered & np.uint64(0xFFFFFFFF)).astype(np.int32)

    def _agreeing(self, pairs: np.ndarray) -> np.ndarray:
        one, other = (self._signatures[self._rows[members]] for members in pairs)
        return np.count_nonzero(one == other, axis=1)

    def _join(self, accepted: Sequence[np.ndarray]) -> None:
        if not accepted:
            return
        one, other = np.concatenate(accepted, axis=1)
        while True:
            one, other = self.parents[one], self.parents[other]
            low, high = np.minimum(one, other), np.maximum(one, other)
            if not (low < high).any():
                return
            np.minimum.at(self.parents, high, low)
            while (self.parents != self.parents[self.parents]).any():
                self.parents = self.parents[self.parents]


class _Shingles:
    """Hashed shingle sets of questions, computed when needed and kept while there is room."""

    def __init__(self, question: Callable[[int], str], count: int) -> None:
        self._question = question
        self._starts = np.full(count, -1)
        self._counts = np.zeros(count, np.int64)
        self._flat = np.zeros(0, np.uint32)
        self._used = 0

    def are_similar(self, pairs: np.ndarray) -> np.ndarray:
        """Whether the Jaccard similarity of each pair, (2, n), reaches the threshold."""
        self._load(pairs.ravel())
        sizes = self._counts[pairs]
        owners = np.concatenate([np.repeat(np.arange(pairs.shape[1]), counts) for counts in sizes])
        hashes = self._flat[np.concatenate([self._places(members) for members in pairs])]
        # Two sorted rows of sets, which a stable sort merges.
        merged = np.sort(owners.astype(np.uint64) << np.uint64(32) | hashes, kind="stable")
        twice = (merged[1:][merged[1:] == merged[:-1]] >> np.uint64(32)).astype(np.int64)
        shared = np.bincount(twice, minlength=pairs.shape[1])
        return 10 * shared >= NEAR_DUPLICATE_TENTHS * (sizes.sum(axis=0) - shared)

    def sets(self, members: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
        """By chunk: some of the members, their hashes (uint32) one set after the other, and each set's size."""
        for at in range(0, len(members), _CHUNK_PAIRS):
            some = members[at : at + _CHUNK_PAIRS]
            self._load(some)
            yield some, self._flat[self._places(some)], self._counts[some]

    def _places(self, members: np.ndarray) -> np.ndarray:
        counts = self._counts[members]
        return np.repeat(self._starts[members] - np.cumsum(counts) + counts, counts) + np.arange(counts.sum())

    def _load(self, members: np.ndarray) -> None:
        missing = members[self._starts[members] < 0]
        if not len(missing):
            return
        if self._used > _CACHED_SHINGLES:
            self._starts[:] = -1
            self._used = 0
            missing = members
        missing = np.unique(missing)
        for start, hashes, starts in _hashed([self._question(int(number)) for number in missing]):
            sizes = np.diff(np.append(starts, len(hashes)))
            owners = np.repeat(np.arange(len(sizes)), sizes)
            distinct = np.unique(owners.astype(np.uint64) << np.uint64(32) | hashes)
            counts = np.bincount((distinct >> np.uint64(32)).astype(np.int64))
            some = missing[start : start + len(counts)]
            self._counts[some] = counts
            self._starts[some] = self._used + np.cumsum(counts) - counts
            self._append((distinct & np.uint64(0xFFFFFFFF)).astype(np.uint32))

    def _append(self, hashes: np.ndarray) -> None:
        needed = self._used + len(hashes)
        if needed > len(self._flat):
            grown = np.empty(needed + needed // 2, np.uint32)
            grown[: self._used] = self._flat[: self._used]
            self._flat = grown
        self._flat[self._used : needed] = hashes
        self._used = needed
