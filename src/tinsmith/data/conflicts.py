"""Whether two answers contradict each other: by values that are bound to the same thing, or by yes and no."""

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

from tinsmith.data.questions import (
    EMPTY_STEMS,
    are_opposite,
    asks_for_duty,
    is_restricted,
    negations,
    sides,
    specific_words,
    topic_words,
)
from tinsmith.data.rivals import are_designations, are_rivals
from tinsmith.data.statements import person, polarity, system_prompt, turns
from tinsmith.model.conversations import Conversation
from tinsmith.model.facts.binding import is_among
from tinsmith.model.facts.mentions import Mention, value_mentions
from tinsmith.model.facts.quantities import find_values
from tinsmith.model.facts.sentences import sentence_at, sentences_of
from tinsmith.model.facts.values import Value, are_comparable, is_equal
from tinsmith.model.facts.words import is_typo, plain

_MIN_SHARED = 0.33
"""Least sum of the shares, by weight, of the words that two statements and the values in them have in common."""
_MIN_SHARED_MUTUAL = 0.2
"""The same if each question's topic is part of the other statement."""
_SURELY_SHARED = 1.2
"""The sum from which no words beside the topic's are needed."""
_MIN_STATEMENT_WORDS = 3
_MIN_SHARED_STATEMENT = 0.7
"""Words around two values, and the sum of shares, that make the same statement of both, whatever was asked."""
_MIN_TOPIC_WORDS = 2
_MIN_TOPIC_WEIGHT = 2.0
"""A topic that weighs less, such as `tea` in a tea shop, does not tell questions apart."""
_MIN_SLOT_WORDS = 2
_MIN_NAMED_WORDS = 3
_MIN_NAMED_WEIGHT = 9.0
"""Words and weight of a topic that a sentence names by itself."""
_INFLECTION = 2
"""Letters that may follow a stem of at least 4."""
_MIN_STEM = 4
_DERIVED = frozenset("atio ratio itio tio io ing ning ering ung".split())
"""What makes a noun of a verb's stem: `register` and `registration`."""
_DESIGNATION = re.compile(r"(\w[\w+-]*?)(?:\s(?:[Vv]ersion|v\.))?\s$")
"""The word before a number."""
_COUNTED = frozenset("step steg schritt no nr".split())
"""Words before the number of an item, which tells nothing."""
_ADDITIONAL = re.compile(
    r"\b(?:additional|another|further|ytterligare|weitere[nrs]?|adicional(?:es)?)\s\d", re.IGNORECASE
)
"""In such a sentence no value stands for the whole."""
_JUDGED = re.compile(
    r"\b(?:good|bad|poor|ideal|excellent|e\.g\.|example|bra|dålig\w*|exempel|gut\w{0,2}|schlecht\w*|beispiel)"
    r"(?:[^\w.;!?]+\w+){0,2}[^\w.;!?]*$",
    re.IGNORECASE,
)
"""Before a value that judges or illustrates, as `good value: below 75` does."""
_VAGUE = re.compile(r"\b(?:few|several|några|ett par|einige|mehrere)\b", re.IGNORECASE)
_LOOK_BACK = 40
"""Characters before a value in which such words are looked for."""

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
    def negations(self) -> frozenset[str]:
        """Words of the question that turn its meaning."""
        return negations(self.question)

    @cached_property
    def sides(self) -> frozenset[tuple[str, int]]:
        """Contrasts in which the question takes a side."""
        return sides(self.question)

    @cached_property
    def mentions(self) -> tuple[Mention, ...]:
        """Places that state values which the system prompt does not give."""
        given = find_values(plain(self.prompt))
        return tuple(
            mention
            for mention in value_mentions(self.plain)
            if mention.value
            and not any(is_equal(mention.value, value) for value in given)
            and not _VAGUE.search(self.plain, mention.start, mention.end)
            and not _ADDITIONAL.search(self.sentence(mention.start))
            and not _JUDGED.search(self.plain[max(0, mention.start - _LOOK_BACK) : mention.start])
        )

    @cached_property
    def values(self) -> list[Value]:
        """All values that the answer states, and those of its prompt and question."""
        texts = (self.plain, plain(self.prompt), plain(self.question))
        return [value for text in texts for value in find_values(text)]

    @cached_property
    def opening(self) -> frozenset[str]:
        """Words of the first sentence of the answer. Numbers are no words."""
        return frozenset(word for word in specific_words(self.sentence(0)) if not word[0].isdigit())

    @cached_property
    def polarity(self) -> str:
        """Yes, no, or empty."""
        return polarity(self.text)

    def is_only(self, mention: Mention) -> bool:
        """Whether a mention is the only one of its kind in the answer."""
        value = mention.value
        return (
            value is not None
            and sum(bool(one.value) and are_comparable(value, one.value) for one in self.mentions) == 1
        )

    def leading(self, mention: Mention) -> Mention:
        """The first mention of the same kind, which answers the question."""
        value = mention.value
        return next(one for one in self.mentions if value and one.value and are_comparable(value, one.value))

    def designation(self, mention: Mention) -> str:
        """The name before a number, such as `AFS` of AFS 2008:16; empty if there is none."""
        match = _DESIGNATION.search(self.plain, 0, mention.start)
        name = match[1] if match else ""
        return name.casefold() if name[:1].isupper() and name.casefold() not in _COUNTED else ""

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
    if are_opposite(one.sides, other.sides):
        return None
    is_same = _ask_the_same(one, other)
    best: tuple[float, Mention, Mention] | None = None
    for a in one.mentions:
        for b in other.mentions:
            likeness = _likeness(one, a, other, b, is_same, weight)
            if likeness is not None and (best is None or likeness > best[0]):
                best = (likeness, a, b)
    if best:
        _, a, b = best
        return _quote(one, a), _quote(other, b)
    names = [person(answer.question, answer.plain) for answer in (one, other)]
    if is_same and all(names) and frozenset(names[0].split()).isdisjoint(names[1].split()):
        return _quote_name(one, names[0]), _quote_name(other, names[1])
    if {one.polarity, other.polarity} == {"yes", "no"} and _ask_whether_the_same(one, other):
        return Quote(one.sentence(0), (one.polarity,)), Quote(other.sentence(0), (other.polarity,))
    return None


def _ask_the_same(one: Answer, other: Answer) -> bool:
    is_covered = _covers(one.topic, other.topic) and _covers(other.topic, one.topic)
    return is_covered and one.negations == other.negations


def _ask_whether_the_same(one: Answer, other: Answer) -> bool:
    """Whether two questions for yes or no are one; the answer to the wider may name what the narrower adds."""
    if one.negations != other.negations or asks_for_duty(one.question) != asks_for_duty(other.question):
        return False
    return all(
        not extra or (_covers(extra, wider.opening) and not is_restricted(wider.sentence(0)))
        for narrower, wider in ((one, other), (other, one))
        for extra in [frozenset(word for word in narrower.topic if not _is_word_of(word, wider.topic))]
    )


def _quote(answer: Answer, mention: Mention) -> Quote:
    """The sentence, and the value as it stands there."""
    value = " ".join(answer.plain[mention.start : mention.end].split())
    return Quote(answer.sentence(mention.start), (value,))


def _quote_name(answer: Answer, name: str) -> Quote:
    return Quote(answer.sentence(answer.plain.index(name.rsplit(maxsplit=1)[-1])), (name,))


def _likeness(one: Answer, a: Mention, other: Answer, b: Mention, is_same: bool, weight: Weight) -> float | None:
    """How surely two mentions are about the same thing; None if they do not contradict each other."""
    if not a.value or not b.value:
        return None
    is_rival = are_rivals(a.value, b.value, is_same) or (
        is_same and are_designations(a.value, b.value) and one.designation(a) == other.designation(b) != ""
    )
    if not is_rival or are_opposite(a.sides, b.sides):
        return None
    if any(is_equal(a.value, v) for v in other.values) or any(is_equal(b.value, v) for v in one.values):
        return None
    own = [_specific(mention.slot) for mention in (a, b)]
    shared = _shared(own[0], own[1])
    alike = _similarity(own[0], own[1], shared, weight)
    if is_same:
        # `It costs $60` has no words of its own; the question says what it is about.
        outside = [_specific(mention.own) - answer.topic for answer, mention in ((one, a), (other, b))]
        is_only = one.is_only(a) and other.is_only(b)
        is_bound = is_only or not all(outside) or any(is_among(word, outside[1]) for word in outside[0])
        return 1 + alike if is_bound else None
    around = [_around(answer, mention) for answer, mention in ((one, a), (other, b))]
    covered = [_covers(one.topic, around[1]), _covers(other.topic, around[0])]
    alike += _similarity(around[0], around[1], _shared(around[0], around[1]), weight)
    if all(covered):
        return alike if shared and alike >= _MIN_SHARED_MUTUAL else None
    if len(shared) >= _MIN_STATEMENT_WORDS and alike >= _MIN_SHARED_STATEMENT:
        return alike
    if a.bound != b.bound:
        return None
    if _restates(one, a, other, b, weight) or _restates(other, b, one, a, weight):
        return alike
    topic = one.topic if covered[0] else other.topic if covered[1] else frozenset()
    beyond = [word for word in shared if not _is_word_of(word, topic)]
    if len(topic) < _MIN_TOPIC_WORDS or len(shared) < _MIN_SLOT_WORDS or alike < _MIN_SHARED:
        return None
    return alike if len(beyond) >= _MIN_SLOT_WORDS or alike >= _SURELY_SHARED else None


def _restates(asked: Answer, a: Mention, other: Answer, b: Mention, weight: Weight) -> bool:
    """Whether one sentence names all that the other answer was asked for, next to a value of its own."""
    topic = asked.topic
    if len(topic) < _MIN_NAMED_WORDS or _sum(topic, weight) < _MIN_NAMED_WEIGHT or a is not asked.leading(a):
        return False
    is_bound = any(is_among(word, topic) for word in _specific(b.slot))
    return is_bound and _covers(topic, specific_words(other.sentence(b.start)))


def _around(answer: Answer, mention: Mention) -> frozenset[str]:
    """Words of the question and of the sentence around a mention."""
    return answer.topic | specific_words(answer.sentence(mention.start)) | _specific(mention.slot)


def _specific(stems: frozenset[str]) -> frozenset[str]:
    return stems - EMPTY_STEMS


def _covers(topic: frozenset[str], others: frozenset[str]) -> bool:
    return bool(topic) and all(_is_word_of(word, others) for word in topic)


def _is_word_of(word: str, others: frozenset[str]) -> bool:
    """Whether a word is one of the others, but for an ending or a typing error. A compound is another word."""
    first = word[:1]
    return word in others or any(
        other[:1] == first and (is_typo(word, other) or _is_inflected(word, other)) for other in others
    )


def _is_inflected(word: str, other: str) -> bool:
    shorter, longer = sorted((word, other), key=len)
    if len(shorter) < _MIN_STEM or not longer.startswith(shorter):
        return False
    ending = longer[len(shorter) :]
    return len(ending) <= _INFLECTION or ending in _DERIVED


def _shared(one: frozenset[str], other: frozenset[str]) -> list[str]:
    """Words of one set that are among those of the other."""
    return [word for word in one if is_among(word, other)]


def _similarity(one: frozenset[str], other: frozenset[str], shared: Sequence[str], weight: Weight) -> float:
    """Jaccard similarity of two sets with `shared` words, by weight."""
    both = _sum(shared, weight)
    union = _sum(one, weight) + _sum(other, weight) - both
    return both / union if union else 0.0


def _sum(stems: Iterable[str], weight: Weight) -> float:
    return sum(weight(word) for word in sorted(stems))
