"""Rank passages for a question: closeness of vectors, then overlap of letters for the closest ones."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tinsmith.model.answers.grams import Overlap

TITLE_ROW, TEXT_ROW, FIRST_SENTENCE_ROW = 0, 1, 2
"""Rows of a passage in an index: title with text, text alone, and the text's sentences from there on."""


@dataclass(frozen=True, slots=True)
class Index:
    """The passages' vectors of one encoder."""

    rows: np.ndarray
    """float32 (R, D), unit length, all rows of a passage in a run."""
    mean: float
    """Mean closeness of a question and a passage of this data, as a cosine."""
    deviation: float
    """Its standard deviation."""


@dataclass(frozen=True, slots=True)
class Settings:
    """How scores are combined."""

    candidates: int
    """Passages that get an overlap."""
    lexical: float
    """Weight of the overlap."""
    sentence_candidates: int
    """Passages whose sentences are compared; of the others, sentences count as the mean of the first two rows."""


@dataclass(frozen=True, slots=True)
class Scored:
    """A passage with its scores."""

    passage: int
    score: float
    closeness: float
    overlap: float


class Ranker:
    """Ranks the passages of a set.

    Args:
        row_counts: Rows of each passage in every index, at least two.
        indexes: One for each encoder.
        overlap: Counts of the passages' grams.
        settings: How scores are combined.
    """

    def __init__(
        self, row_counts: Sequence[int], indexes: Sequence[Index], overlap: Overlap, settings: Settings
    ) -> None:
        counts = np.array(row_counts, np.int64)
        self._starts = np.concatenate([[0], np.cumsum(counts)])
        self._indexes, self._overlap, self._settings = indexes, overlap, settings

    def rank(
        self, question: str, vectors: Sequence[np.ndarray], left_out: frozenset[int] = frozenset()
    ) -> list[Scored]:
        """The candidates, best first.

        Args:
            question: The visitor's words.
            vectors: The question's vector of each encoder.
            left_out: Passages to leave out, for measuring what happens without them.
        """
        closeness = self._closeness(vectors)
        closeness[list(left_out)] = -np.inf
        count = min(self._settings.candidates, len(closeness) - len(left_out))
        closest = np.argsort(-closeness, kind="stable")[:count]
        weights = self._overlap.weights(question)
        scored = []
        for passage in closest.tolist():
            overlap = self._overlap.of(weights, passage)
            close = float(closeness[passage])
            scored.append(Scored(passage, close + self._settings.lexical * overlap, close, overlap))
        return sorted(scored, key=lambda item: -item.score)

    def cosines(self, vectors: Sequence[np.ndarray]) -> np.ndarray:
        """Cosine closeness of each passage by encoder (E, N), as `Index.mean` and `deviation` describe it."""
        return np.stack(
            [self._mean_cosine(index, vector) for index, vector in zip(self._indexes, vectors, strict=True)]
        )

    def _closeness(self, vectors: Sequence[np.ndarray]) -> np.ndarray:
        cosines = self.cosines(vectors)
        scaled = [(row - index.mean) / index.deviation for row, index in zip(cosines, self._indexes, strict=True)]
        return np.asarray(np.mean(scaled, axis=0, dtype=np.float64))

    def _mean_cosine(self, index: Index, vector: np.ndarray) -> np.ndarray:
        starts = self._starts[:-1]
        first = (index.rows[starts] @ vector + index.rows[starts + TEXT_ROW] @ vector).astype(np.float64) / 2
        mean = first.copy()
        for passage in np.argsort(-first, kind="stable")[: self._settings.sentence_candidates].tolist():
            start, end = self._starts[passage] + FIRST_SENTENCE_ROW, self._starts[passage + 1]
            if start < end:
                best = float((index.rows[start:end] @ vector).max())
                mean[passage] = (2 * first[passage] + best) / 3
        return mean
