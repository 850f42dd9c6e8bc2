"""Rank passages for a question: closeness of vectors, then overlap of letters for the closest ones."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tinsmith.model.answers.grams import Overlap

TITLE_ROW, TEXT_ROW, FIRST_SENTENCE_ROW = 0, 1, 2
"""Rows of a passage in an index: title with text, text alone, then sentences of the text, then questions."""


@dataclass(frozen=True, slots=True)
class RowCounts:
    """Rows of one passage in every index."""

    rows: int
    """All of them, at least two."""
    questions: int
    """The last ones, which are vectors of questions that the passage answers, or of its title."""


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
    question_margin: float
    """How much closer a passage's own question must be than its text to count in its place."""


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
        row_counts: Rows of each passage.
        indexes: One for each encoder.
        overlap: Counts of the passages' grams.
        settings: How scores are combined.
    """

    def __init__(
        self, row_counts: Sequence[RowCounts], indexes: Sequence[Index], overlap: Overlap, settings: Settings
    ) -> None:
        self._starts = np.concatenate([[0], np.cumsum([counts.rows for counts in row_counts])])
        self._question_counts = np.array([counts.questions for counts in row_counts])
        ends = self._starts[1:]
        self._question_rows = np.concatenate(
            [np.arange(end - count, end) for end, count in zip(ends, self._question_counts, strict=True)]
        ).astype(np.int64)
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
        closeness = self.closeness(vectors)
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
        """Cosine of each passage's text by encoder (E, N), whose usual values are `Index.mean` and `deviation`."""
        return np.stack(
            [self._mean_cosine(index, vector) for index, vector in zip(self._indexes, vectors, strict=True)]
        )

    def closeness(self, vectors: Sequence[np.ndarray]) -> np.ndarray:
        """How close each passage is (N,), in standard deviations: its text, or the closest of its own questions."""
        text = self._scaled(list(self.cosines(vectors)))
        pairs = zip(self._indexes, vectors, strict=True)
        by_question = self._scaled([index.rows[self._question_rows] @ vector for index, vector in pairs])
        asked = np.flatnonzero(self._question_counts)
        first_rows = np.concatenate([[0], np.cumsum(self._question_counts)[:-1]])[asked]
        closest = np.full(len(text), -np.inf)
        if len(asked):
            closest[asked] = np.maximum.reduceat(by_question, first_rows)
        return np.maximum(text, closest - self._settings.question_margin)

    def prominence(self, vectors: Sequence[np.ndarray], passage: int) -> float:
        """How much closer a passage is than the average one, in standard deviations."""
        closeness = self.closeness(vectors)
        return float(closeness[passage] - closeness.mean())

    def _scaled(self, cosines: Sequence[np.ndarray]) -> np.ndarray:
        """The mean over encoders of cosines in standard deviations from the mean of their index."""
        scaled = [(row - index.mean) / index.deviation for row, index in zip(cosines, self._indexes, strict=True)]
        return np.asarray(np.mean(scaled, axis=0, dtype=np.float64))

    def _mean_cosine(self, index: Index, vector: np.ndarray) -> np.ndarray:
        starts = self._starts[:-1]
        first = (index.rows[starts] @ vector + index.rows[starts + TEXT_ROW] @ vector).astype(np.float64) / 2
        mean = first.copy()
        for passage in np.argsort(-first, kind="stable")[: self._settings.sentence_candidates].tolist():
            start = self._starts[passage] + FIRST_SENTENCE_ROW
            end = self._starts[passage + 1] - self._question_counts[passage]
            if start < end:
                best = float((index.rows[start:end] @ vector).max())
                mean[passage] = (2 * first[passage] + best) / 3
        return mean
