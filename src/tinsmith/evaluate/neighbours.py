"""The nearest training conversation of each test conversation, by their first questions."""

import math
import re
from array import array
from collections import Counter, defaultdict
from collections.abc import Container, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tinsmith.evaluate.generate import first_turn
from tinsmith.model.answers.encoder import Encoder
from tinsmith.model.conversations import Conversation
from tinsmith.model.replies.asked import write_lines

FILE = "neighbours.jsonl"
_GRAM_CHARACTERS = 5
_BLOCK = 20_000
"""Training questions whose substrings are in memory at once."""
_COSINES = 2**25
"""Cosines of test and training questions in memory at once."""


@dataclass(frozen=True, slots=True)
class Similarity:
    """How two questions are compared."""

    name: str
    threshold: float
    """From here on, a test conversation has a close neighbour."""


COSINE = Similarity("cosine of the questions' vectors of the page's first encoder", 0.8)
GRAMS = Similarity("cosine of the questions' 5-character substrings, weighted by rarity (tf-idf)", 0.5)


@dataclass(frozen=True, slots=True)
class Neighbour:
    """The nearest training conversation of a test conversation."""

    id: str
    nearest: str
    similarity: float


def nearest_neighbours(
    test: Sequence[Conversation], train: Sequence[Conversation], encoder: Encoder | None
) -> list[Neighbour]:
    """The nearest training conversation of each test conversation, by encoder if there is one, else by substrings."""
    asked = [first_turn(one).question for one in test]
    nearest, similarity = _by_vectors(asked, train, encoder) if encoder else _by_grams(asked, train)
    return [
        Neighbour(one.id, train[int(index)].id, float(value))
        for one, index, value in zip(test, nearest, similarity, strict=True)
    ]


def write_neighbours(path: Path, neighbours: Sequence[Neighbour], similarity: Similarity) -> None:
    """Write one JSON line per test conversation, with whether its neighbour is close."""
    write_lines(
        path,
        (
            {
                "id": one.id,
                "nearest": one.nearest,
                "similarity": round(one.similarity, 4),
                "close": one.similarity >= similarity.threshold,
            }
            for one in neighbours
        ),
    )


class _Nearest:
    """The largest cosine of each test question so far, and where it is."""

    def __init__(self, count: int) -> None:
        self.rows = np.zeros(count, np.int64)
        self.cosines = np.full(count, -np.inf)

    def update(self, row: int, first: int, cosines: np.ndarray) -> None:
        """Compare with training questions `first` and following; an equal one that came earlier stays."""
        best = int(cosines.argmax())
        if cosines[best] > self.cosines[row]:
            self.rows[row], self.cosines[row] = first + best, cosines[best]


def _blocks(train: Sequence[Conversation], size: int) -> Iterator[tuple[int, list[str]]]:
    """The number of the first question of each block, and the block's questions."""
    for start in range(0, len(train), size):
        yield start, [first_turn(one).question for one in train[start : start + size]]


def _by_vectors(asked: Sequence[str], train: Sequence[Conversation], encoder: Encoder) -> tuple[np.ndarray, np.ndarray]:
    vectors, nearest = encoder.passages(asked), _Nearest(len(asked))
    for start, known in _blocks(train, max(1, _COSINES // len(asked))):
        cosines = vectors @ encoder.passages(known).T  # (test, block)
        for row, of_row in enumerate(cosines):
            nearest.update(row, start, of_row)
    return nearest.rows, nearest.cosines


def _by_grams(asked: Sequence[str], train: Sequence[Conversation]) -> tuple[np.ndarray, np.ndarray]:
    frequency: Counter[str] = Counter()
    for _, known in _blocks(train, _BLOCK):
        for text in known:
            frequency.update(set(_grams(text)))

    def weights(grams: Counter[str]) -> dict[str, float]:
        raw = {
            gram: (1 + math.log(count)) * math.log((len(train) + 1) / (frequency[gram] + 1) + 1)
            for gram, count in grams.items()
        }
        length = math.sqrt(math.fsum(weight**2 for weight in raw.values()))
        return {gram: weight / length for gram, weight in raw.items()}

    of_asked = [weights(Counter(_grams(text))) for text in asked]
    wanted = {gram for of_text in of_asked for gram in of_text}
    nearest = _Nearest(len(asked))
    for start, known in _blocks(train, _BLOCK):
        postings = _postings([weights(Counter(_grams(text))) for text in known], wanted)
        for row, of_text in enumerate(of_asked):
            cosines = np.zeros(len(known))
            for gram, weight in of_text.items():
                if gram in postings:
                    rows, others = postings[gram]
                    cosines[rows] += weight * others
            nearest.update(row, start, cosines)
    return nearest.rows, np.minimum(1.0, nearest.cosines)


def _postings(weighted: Sequence[dict[str, float]], wanted: Container[str]) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Texts that have a gram, and its weight in each."""
    rows: dict[str, array[int]] = defaultdict(lambda: array("q"))
    weights: dict[str, array[float]] = defaultdict(lambda: array("d"))
    for row, of_text in enumerate(weighted):
        for gram, weight in of_text.items():
            if gram in wanted:
                rows[gram].append(row)
                weights[gram].append(weight)
    return {gram: (np.array(rows[gram]), np.array(weights[gram])) for gram in rows}


def _grams(text: str) -> list[str]:
    """Substrings of the words in lower case, joined by spaces, with a space on either side."""
    words = " ".join(re.findall(r"[^\W_]+", text.casefold()))
    padded = f" {words} "
    return [padded[at : at + _GRAM_CHARACTERS] for at in range(max(1, len(padded) - _GRAM_CHARACTERS + 1))]
