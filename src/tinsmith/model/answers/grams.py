"""Overlap of a question with a passage in 4-character substrings: it sees names, figures and parts of compounds.

Source: Robertson and Zaragoza 2009, The Probabilistic Relevance Framework: BM25 and Beyond, divided by the best score
that the question could reach.
"""

import math
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence

GRAM_CHARACTERS = 4
_SATURATION = 1.2
_LENGTH_SHARE = 0.5
_WORDS = re.compile(r"[^\W_]+")


def words_of(text: str) -> list[str]:
    """Runs of letters and digits, in lower case."""
    return _WORDS.findall(unicodedata.normalize("NFC", text).lower())


def grams_of(text: str) -> list[str]:
    """The 4-character substrings of each word with a space on either side."""
    grams = []
    for word in words_of(text):
        padded = f" {word} "
        grams += [padded[i : i + GRAM_CHARACTERS] for i in range(max(1, len(padded) - GRAM_CHARACTERS + 1))]
    return grams


class Overlap:
    """Counts of the grams of all passages.

    Args:
        texts: Title and text of each passage.
    """

    def __init__(self, texts: Sequence[str]) -> None:
        self._counts = [Counter(grams_of(text)) for text in texts]
        self._lengths = [sum(counts.values()) for counts in self._counts]
        self._mean_length = sum(self._lengths) / max(1, len(texts))
        self._passages_with = Counter(gram for counts in self._counts for gram in counts)

    def weights(self, question: str) -> dict[str, float]:
        """Inverse document frequency of each distinct gram of the question, in order."""
        return {gram: self._weight(gram) for gram in grams_of(question)}

    def _weight(self, gram: str) -> float:
        passages, count = len(self._counts), self._passages_with[gram]
        return math.log(1 + (passages - count + 0.5) / (count + 0.5))

    def of(self, weights: dict[str, float], passage: int) -> float:
        """Weighted share of the question in a passage: 0 if they have no gram in common; can pass 1 for short ones."""
        total = sum(weights.values())
        counts = self._counts[passage]
        if not total or not counts:
            return 0.0
        length = _SATURATION * (1 - _LENGTH_SHARE + _LENGTH_SHARE * self._lengths[passage] / self._mean_length)
        gained = sum(
            weight * counts[gram] * (_SATURATION + 1) / (counts[gram] + length)
            for gram, weight in weights.items()
            if gram in counts
        )
        return gained / total


def joined(texts: Iterable[str]) -> str:
    """Texts that are ranked as one, such as a title and its text."""
    return " ".join(text for text in texts if text)
