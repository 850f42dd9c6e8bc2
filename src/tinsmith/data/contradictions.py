"""Find answers to the same question that state different values, or yes and no, for the owner to settle.

It is a warning, and nothing is dropped because of it, so it would rather miss a contradiction than cry wolf. The texts
of candidates (`data/candidates.py`) alone are read again, and `model/facts` decides which values are comparable, what
each belongs to, and on which side of a contrast it is. Several processes compare them if there are many.
"""

import math
from collections import Counter
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from itertools import chain

import numpy as np

from tinsmith.data.candidates import Candidates, Place
from tinsmith.data.conflicts import Answer, Conflict, Quote, conflict_between
from tinsmith.data.statements import word_hash
from tinsmith.data.workers import in_background, process_count
from tinsmith.model.conversations import Conversation

MAX_PAIRS = 1000
"""Pairs that are listed at most."""
_MAX_PER_ANSWER = 3
"""Pairs in which one answer is listed at most."""
_MIN_ROWS = 1000
"""Words of smaller data weigh as if it had so many rows, of which most are about something else."""
_PAIRS_AT_ONCE = 125
_PAIRS_PER_PROCESS = 500
"""Comparing so many takes longer than starting a process."""
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


@dataclass(frozen=True, slots=True)
class _Weights:
    """How much words tell."""

    words: np.ndarray
    counts: np.ndarray
    total: int

    def of(self, word: str) -> float:
        """Inverse document frequency of a word."""
        hashed = word_hash(word)
        place = int(np.searchsorted(self.words, hashed))
        is_known = place < len(self.words) and self.words[place] == hashed
        return math.log((self.total + 1) / ((self.counts[place] if is_known else 0) + 0.5))


@dataclass(frozen=True, slots=True)
class _Work:
    """Pairs of answers for one process."""

    pairs: tuple[tuple[Answer, Answer], ...]
    weights: _Weights


@contextmanager
def comparing(
    candidates: Candidates, conversation: Callable[[int], Conversation]
) -> Generator[Iterator[Conflict | None]]:
    """What the answers of each candidate state differently; None for nothing. Large work runs beside the block.

    Args:
        candidates: Pairs of answers.
        conversation: The conversation at an index.

    Raises:
        DataError: a process was killed.
    """
    answer = lru_cache(maxsize=None)(lambda place: Answer.of(conversation(place[0]), place[1]))
    weights = _Weights(candidates.words, candidates.counts, max(candidates.total, _MIN_ROWS))
    pairs = [(answer(one), answer(other)) for one, other in candidates.pairs]
    work = [_Work(tuple(pairs[at : at + _PAIRS_AT_ONCE]), weights) for at in range(0, len(pairs), _PAIRS_AT_ONCE)]
    with in_background(_conflicts, work, process_count(len(pairs) // _PAIRS_PER_PROCESS)) as results:
        yield chain.from_iterable(results)


def _conflicts(work: _Work) -> list[Conflict | None]:
    weight = lru_cache(maxsize=None)(work.weights.of)
    return [conflict_between(one, other, weight) for one, other in work.pairs]


def contradictions_of(
    candidates: Candidates, conflicts: Iterable[Conflict | None], conversation: Callable[[int], Conversation]
) -> tuple[Contradiction, ...]:
    """The contradictions to list, at most `MAX_PAIRS`, in the order of the data.

    Args:
        candidates: Pairs of answers.
        conflicts: From `comparing`, in the same order.
        conversation: The conversation at an index.
    """
    listed: dict[tuple[int, int], Contradiction] = {}
    times: Counter[Place] = Counter()
    for (one, other), conflict in zip(candidates.pairs, conflicts, strict=True):
        pair = (one[0], other[0])
        if conflict and pair not in listed and max(times[one], times[other]) < _MAX_PER_ANSWER:
            sides = zip((one, other), conflict, strict=True)
            listed[pair] = Contradiction(*(_side(conversation(place[0]), place[1], quote) for place, quote in sides))
            times.update((one, other))
            if len(listed) == MAX_PAIRS:
                break
    return tuple(listed[pair] for pair in sorted(listed))


def _side(conversation: Conversation, turn: int, quote: Quote) -> Side:
    question = Answer.of(conversation, turn).question
    return Side(**conversation.source, question=_cut(question), statement=_cut(quote.sentence), values=quote.values)


def _cut(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= _QUOTE_CHARACTERS else text[: _QUOTE_CHARACTERS - 3].rstrip() + "..."
