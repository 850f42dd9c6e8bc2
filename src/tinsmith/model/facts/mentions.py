"""Where a text states values and names, each with its bound, its denial and the words it belongs to."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from tinsmith.model.facts.quantities import find_values
from tinsmith.model.facts.sentences import (
    Sentence,
    bound_of,
    content_words,
    is_denied,
    names_in,
    segments,
    sentence_at,
    sentences_of,
    sides_of,
    subject_before,
)
from tinsmith.model.facts.values import Value, are_comparable, is_equal
from tinsmith.model.facts.words import Token

_PRONOUNS = frozenset("it they this that den det de detta".split())


@dataclass(frozen=True, slots=True)
class Mention:
    """One place of a text that states a value or a name."""

    start: int
    end: int
    bound: str
    denied: bool
    own: frozenset[str]
    """Stems of the words that belong to this place alone."""
    slot: frozenset[str]
    """`own`, or the stems of the sentence before if this one only points back."""
    sentence: frozenset[str]
    """Stems of the whole sentence."""
    subject: frozenset[str]
    """Stems of the words before the verb that leads to it."""
    names: frozenset[str]
    """Stems of capitalised words that lead to it, and of acronyms behind it."""
    target: frozenset[str]
    """Stems of the words after a `for` behind it."""
    sides: frozenset[tuple[str, int]]
    row: tuple[int, int]
    """Sentence and first place of the list that it is part of."""
    value: Value | None = None


@lru_cache(maxsize=4096)
def value_mentions(text: str) -> tuple[Mention, ...]:
    """All values of plain text, in order."""
    sentences = sentences_of(text)
    values = find_values(text)
    mentions = []
    for value in values:
        number = sentence_at(sentences, value.start)
        if not sentences:
            continue
        sentence = sentences[number]
        rivals = [
            other for other in values if sentence.start <= other.start < sentence.end and _are_rivals(value, other)
        ]
        spans = sorted({(other.start, other.end) for other in rivals})
        mentions.append(mention_at(sentences, number, (value.start, value.end), spans, value))
    return tuple(mentions)


def _are_rivals(one: Value, other: Value) -> bool:
    return are_comparable(one, other) or is_equal(one, other) or one.dimension == other.dimension


def mention_at(
    sentences: Sequence[Sentence],
    number: int,
    span: tuple[int, int],
    spans: Sequence[tuple[int, int]],
    value: Value | None = None,
) -> Mention:
    """The mention at `span` of sentence `number`, whose words end where those of the other `spans` begin.

    A name after `than` counts as denied: in `Giru is sweeter than Zeno`, the answer is not Zeno.
    """
    sentence = sentences[number]
    before = [token.lower for token in sentence.tokens if token.end <= span[0]][-1:]
    is_compared = value is None and before in (["than"], ["än"], ["als"])
    parts = segments(sentence, spans)
    index = spans.index(span)
    left, right = parts[index]
    own = content_words((*left, *right))
    everything = content_words([t for t in sentence.tokens if not any(a <= t.start < b for a, b in spans)])
    slot = own
    first = sentence.tokens[0].lower if sentence.tokens else ""
    if number and (first in _PRONOUNS or not everything):
        slot = own | content_words(sentences[number - 1].tokens)
    sides = sides_of((*left, *right))
    if value is not None and value.edge:
        # In `open 9-17`, the last is the closing time.
        sides = frozenset(side for side in sides if side[0] != "opening") | _edge(value)
    return Mention(
        *span,
        bound_of(sentence, *span),
        is_denied(sentence, *span, is_value=value is not None) != is_compared,
        own,
        slot,
        everything,
        subject_before(left),
        names_in(left, right, sentence),
        _target(right),
        frozenset(sides),
        (number, _row(parts, index, spans)),
        value,
    )


def _target(right: Sequence[Token]) -> frozenset[str]:
    places = [index for index, token in enumerate(right) if token.lower in ("for", "för")]
    return content_words(right[places[0] + 1 : places[0] + 4]) if places else frozenset()


def _edge(value: Value | None) -> set[tuple[str, int]]:
    if value is None or not value.edge:
        return set()
    return {("opening", 0 if value.edge == "start" else 1)}


def _row(
    parts: Sequence[tuple[tuple[Token, ...], tuple[Token, ...]]], index: int, spans: Sequence[tuple[int, int]]
) -> int:
    first = index
    while first and parts[first - 1] is parts[index]:
        first -= 1
    return spans[first][0]
