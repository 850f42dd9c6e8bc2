"""Whether two answers contradict each other: by values that are bound to the same thing, or by yes and no."""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cached_property

from tinsmith.data.statements import UNIT_WORDS, polarity, specific_words, system_prompt, topic_words, turns
from tinsmith.model.conversations import Conversation
from tinsmith.model.facts.binding import is_among
from tinsmith.model.facts.lexicon import units_by_name, words
from tinsmith.model.facts.mentions import Mention, value_mentions
from tinsmith.model.facts.sentences import sentence_at, sentences_of
from tinsmith.model.facts.values import Value, are_comparable, is_equal
from tinsmith.model.facts.words import is_typo, plain, tokens_of

_MAX_FACTOR = 10
"""Greatest ratio of two values that are about the same thing."""
_MAX_FACTOR_SAME = 20
"""The same if the questions ask the same."""
_MIN_SHARED = 0.33
"""Least sum of the shares, by weight, of the words that two statements and the values in them have in common."""
_MIN_SHARED_MUTUAL = 0.2
"""The same if each question's topic is part of the other statement."""
_SURELY_SHARED = 1.2
"""The sum from which no words beside the topic's are needed."""
_MIN_TOPIC_WORDS = 2
_MIN_TOPIC_WEIGHT = 2.0
"""A topic that weighs less, such as `tea` in a tea shop, does not tell questions apart."""
_MIN_SLOT_WORDS = 2
_INFLECTION = 2
"""Letters that may follow a stem of at least 4."""
_MIN_STEM = 4
_YEARS = (1900, 2100)
_DAYS_PER_MONTH = 30.4
_ADDITIONAL = re.compile(
    r"\b(?:additional|another|further|ytterligare|weitere[nrs]?|adicional(?:es)?)\s\d", re.IGNORECASE
)
"""In such a sentence no value stands for the whole."""

Weight = Callable[[str], float]


@dataclass(frozen=True, slots=True)
class Quote:
    """A sentence of an answer, and what it states."""

    sentence: str
    values: tuple[str, ...]


Conflict = tuple[Quote, Quote]


@dataclass(frozen=True)
class Answer:
    """The answer of one turn, taken apart once."""

    question: str
    text: str
    prompt: str

    @classmethod
    def of(cls, conversation: Conversation, turn: int) -> "Answer":
        """The answer at a turn of a conversation, counted from 0."""
        _, question, text = next(one for one in turns(conversation) if one[0] == turn)
        return cls(question, text, system_prompt(conversation.messages))

    @cached_property
    def plain(self) -> str:
        """The text that mentions point into."""
        return plain(self.text)

    @cached_property
    def topic(self) -> frozenset[str]:
        """Words that tell what is asked about."""
        return topic_words(self.question)

    @cached_property
    def limits(self) -> frozenset[str]:
        """Words of the question that turn its meaning."""
        turning = words("negation", "none") | frozenset("not without no inte utan ej nicht ohne kein sin".split())
        return frozenset(token.lower for token in tokens_of(plain(self.question)) if token.lower in turning)

    @cached_property
    def mentions(self) -> tuple[Mention, ...]:
        """Places that state values which the system prompt does not give."""
        given = [mention.value for mention in value_mentions(plain(self.prompt)) if mention.value]
        return tuple(
            mention
            for mention in value_mentions(self.plain)
            if mention.value
            and not any(is_equal(mention.value, value) for value in given)
            and not _ADDITIONAL.search(self.sentence(mention.start))
        )

    @cached_property
    def values(self) -> list[Value]:
        """All values that the answer states, and those of its prompt and question."""
        texts = (self.plain, plain(self.prompt), plain(self.question))
        return [mention.value for text in texts for mention in value_mentions(text) if mention.value]

    @cached_property
    def polarity(self) -> str:
        """Yes, no, or empty."""
        return polarity(self.text)

    def sentence(self, place: int) -> str:
        """The sentence at a place of the plain text."""
        sentences = sentences_of(self.plain)
        sentence = sentences[sentence_at(sentences, place)]
        return self.plain[sentence.start : sentence.end]


def conflict_between(one: Answer, other: Answer, weight: Weight) -> Conflict | None:
    """What two answers state differently about the same thing; None if nothing.

    Args:
        one: An answer.
        other: Another one.
        weight: How much a word tells; rare words tell more.
    """
    if min(_sum(one.topic, weight), _sum(other.topic, weight)) < _MIN_TOPIC_WEIGHT:
        return None
    is_same = _covers(one.topic, other.topic) and _covers(other.topic, one.topic) and one.limits == other.limits
    best: tuple[float, Mention, Mention] | None = None
    for a in one.mentions:
        for b in other.mentions:
            likeness = _likeness(one, a, other, b, is_same, weight)
            if likeness is not None and (best is None or likeness > best[0]):
                best = (likeness, a, b)
    if best:
        _, a, b = best
        return _quote(one, a), _quote(other, b)
    if is_same and {one.polarity, other.polarity} == {"yes", "no"}:
        return Quote(one.sentence(0), (one.polarity,)), Quote(other.sentence(0), (other.polarity,))
    return None


def _quote(answer: Answer, mention: Mention) -> Quote:
    return Quote(answer.sentence(mention.start), (mention.value.text if mention.value else "",))


def _likeness(one: Answer, a: Mention, other: Answer, b: Mention, is_same: bool, weight: Weight) -> float | None:
    """How surely two mentions are about the same thing; None if they do not contradict each other."""
    if not a.value or not b.value or not _are_rivals(a.value, b.value, is_same) or _are_on_other_sides(a, b):
        return None
    if any(is_equal(a.value, v) for v in other.values) or any(is_equal(b.value, v) for v in one.values):
        return None
    own = [_specific(mention.slot) for mention in (a, b)]
    shared = [word for word in own[0] if is_among(word, own[1])]
    alike = _share(own[0], own[1], weight)
    if is_same:
        # `It costs $60` has no words of its own; the question says what it is about.
        outside = [_specific(mention.own) - answer.topic for answer, mention in ((one, a), (other, b))]
        is_bound = not all(outside) or any(is_among(word, outside[1]) for word in outside[0])
        return 1 + alike if is_bound else None
    around = [_around(answer, mention) for answer, mention in ((one, a), (other, b))]
    covered = [_covers(one.topic, around[1]), _covers(other.topic, around[0])]
    alike += _share(around[0], around[1], weight)
    if all(covered):
        return alike if shared and alike >= _MIN_SHARED_MUTUAL else None
    topic = one.topic if covered[0] else other.topic if covered[1] else frozenset()
    beyond = [word for word in shared if not _is_word_of(word, topic)]
    if len(topic) < _MIN_TOPIC_WORDS or len(shared) < _MIN_SLOT_WORDS or alike < _MIN_SHARED:
        return None
    return alike if len(beyond) >= _MIN_SLOT_WORDS or alike >= _SURELY_SHARED else None


def _are_rivals(one: Value, other: Value, is_same: bool) -> bool:
    """Whether two values answer the same kind of question differently."""
    if one.kind != other.kind or not are_comparable(one, other) or is_equal(one, other):
        return False
    if one.kind != "number":
        return is_same or one.kind in ("time", "date", "weekday")
    if bool(one.per) != bool(other.per) or _is_within(one, other) or _is_within(other, one):
        return False
    if not one.unit or not other.unit:
        return is_same and _is_year(one) and _is_year(other)
    if is_same:
        return _ratio(one, other) <= _MAX_FACTOR_SAME
    return _ratio(one, other) <= _MAX_FACTOR and not _contains(one, other) and not _contains(other, one)


def _is_year(value: Value) -> bool:
    low, high = _ends(value)
    return low == high and not value.unit and _YEARS[0] <= low <= _YEARS[1]


def _ends(value: Value) -> tuple[float, float]:
    units = units_by_name()
    unit = units.get(value.unit)
    factor = float(unit.factor) if unit else 1.0
    if unit and unit.dimension == "months":
        factor *= _DAYS_PER_MONTH * float(units["day"].factor)
    ends = [float(part) * factor for part in value.parts if part is not None and not isinstance(part, str)]
    return min(ends), max(ends)


def _ratio(one: Value, other: Value) -> float:
    low, high = sorted(abs(sum(_ends(value))) for value in (one, other))
    return high / low if low else float("inf")


def _contains(one: Value, other: Value) -> bool:
    """Whether the range of one lies in that of the other, which may be of a wider thing."""
    (low, high), (least, most) = _ends(one), _ends(other)
    return least < most and least <= low and high <= most


def _is_within(one: Value, other: Value) -> bool:
    """Whether one value is a number in the range of the other, as an example or an average is."""
    low, high = _ends(one)
    return low == high and _contains(one, other)


def _are_on_other_sides(one: Mention, other: Mention) -> bool:
    """Whether the mentions are on different sides of a contrast, such as opening and closing."""
    names = {name for name, _ in one.sides} & {name for name, _ in other.sides}
    return any(
        not {side for side in one.sides if side[0] == name} & {side for side in other.sides if side[0] == name}
        for name in names
    )


def _around(answer: Answer, mention: Mention) -> frozenset[str]:
    """Words of the question and of the sentence around a mention."""
    return answer.topic | specific_words(answer.sentence(mention.start)) | _specific(mention.slot)


def _specific(stems: frozenset[str]) -> frozenset[str]:
    return stems - UNIT_WORDS


def _covers(topic: frozenset[str], others: frozenset[str]) -> bool:
    return bool(topic) and all(_is_word_of(word, others) for word in topic)


def _is_word_of(word: str, others: frozenset[str]) -> bool:
    """Whether a word is one of the others, but for an ending or a typing error. A compound is another word."""
    return word in others or any(is_typo(word, other) or _is_inflected(word, other) for other in others)


def _is_inflected(word: str, other: str) -> bool:
    shorter, longer = sorted((word, other), key=len)
    return len(shorter) >= _MIN_STEM and longer.startswith(shorter) and len(longer) - len(shorter) <= _INFLECTION


def _share(one: frozenset[str], other: frozenset[str], weight: Weight) -> float:
    """Jaccard similarity of two sets of words, by weight."""
    shared = _sum([word for word in one if is_among(word, other)], weight)
    union = _sum(one, weight) + _sum(other, weight) - shared
    return shared / union if union else 0.0


def _sum(stems: Iterable[str], weight: Weight) -> float:
    return sum(weight(word) for word in sorted(stems))
