"""The nearest training conversation of each test conversation, by their first questions."""

import math
import re
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tinsmith.evaluate.generate import first_turn
from tinsmith.model.answers.encoder import Encoder
from tinsmith.model.conversations import Conversation
from tinsmith.model.replies.asked import write_lines

FILE = "neighbours.jsonl"
_GRAM_CHARACTERS = 5


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
    asked, known = ([first_turn(one).question for one in split] for split in (test, train))
    pairs = _by_vectors(asked, known, encoder) if encoder else _by_grams(asked, known)
    return [Neighbour(one.id, train[index].id, value) for one, (index, value) in zip(test, pairs, strict=True)]


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


def _by_vectors(asked: Sequence[str], known: Sequence[str], encoder: Encoder) -> list[tuple[int, float]]:
    cosines = encoder.passages(asked) @ encoder.passages(known).T  # (test, train)
    return [(int(row.argmax()), float(row.max())) for row in cosines]


def _by_grams(asked: Sequence[str], known: Sequence[str]) -> list[tuple[int, float]]:
    counts = [Counter(_grams(text)) for text in known]
    frequency = Counter(gram for grams in counts for gram in grams)

    def weights(grams: Counter[str]) -> dict[str, float]:
        raw = {
            gram: (1 + math.log(count)) * math.log((len(known) + 1) / (frequency[gram] + 1) + 1)
            for gram, count in grams.items()
        }
        length = math.sqrt(math.fsum(weight**2 for weight in raw.values()))
        return {gram: weight / length for gram, weight in raw.items()}

    postings: dict[str, list[tuple[int, float]]] = defaultdict(list)
    for index, grams in enumerate(counts):
        for gram, weight in weights(grams).items():
            postings[gram].append((index, weight))
    pairs = []
    for text in asked:
        cosines = [0.0] * len(known)
        for gram, weight in weights(Counter(_grams(text))).items():
            for index, other in postings[gram]:
                cosines[index] += weight * other
        best = max(range(len(known)), key=cosines.__getitem__)
        pairs.append((best, min(1.0, cosines[best])))
    return pairs


def _grams(text: str) -> list[str]:
    """Substrings of the words in lower case, joined by spaces, with a space on either side."""
    words = " ".join(re.findall(r"[^\W_]+", text.casefold()))
    padded = f" {words} "
    return [padded[at : at + _GRAM_CHARACTERS] for at in range(max(1, len(padded) - _GRAM_CHARACTERS + 1))]
