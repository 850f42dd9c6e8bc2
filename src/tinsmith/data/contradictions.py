"""Find answers to the same question that state different numbers, or yes and no, for the owner to settle.

Words decide alone, so the list has mistakes both ways: it is a warning, and nothing is dropped because of it.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from tinsmith.model.conversations import Conversation
from tinsmith.model.numbers import Number, find_numbers

MAX_PAIRS = 1000
"""Pairs that are listed at most."""
_MIN_SHARED_WORDS = 3
"""Words of content that two statements share at least."""
_SHARED_TENTHS = 4
"""Share of the shorter statement's words that both have at least, in tenths so that comparisons are exact."""
_MAX_HOLDERS = 30
"""A word that more statements of a kind hold tells too little to look at all of their pairs."""
_SENTENCE_END = re.compile(r"(?<=[.!?;])\s+|\n+")
_WORD = re.compile(r"[^\W_]+")
_QUOTE_CHARACTERS = 160
_GRAMMAR = frozenset(
    "a an the is are was be of to in on for and or at by with from as do does did can could may must should will would"
    " i my me you your we it its if there per than under need needed get have has s t"
    " en ett den det de är var och eller i på för av till med om kan ska måste får gör jag min mitt mina du din man"
    " har behöver som vid att".split()
)
_KINDS = frozenset(
    "what how which when where who why much many long large high work mean vad hur vilken vilket vilka när"
    " var vem varför mycket många lång långt stor stort innebär".split()
)
"""Words that tell which kind of thing is asked, but not about what."""
_YES = frozenset("yes yep ja jo sí si oui".split())
_NO = frozenset("no nope nej nein non".split())


@dataclass(frozen=True, slots=True)
class Side:
    """One of two answers that contradict each other."""

    file: str
    position: str
    question: str
    statement: str
    """The sentence of the answer, cut to a readable length."""
    values: tuple[str, ...]
    """Numbers that the other answer does not state, such as `5000 SEK`; or `yes` or `no`."""


@dataclass(frozen=True, slots=True)
class Contradiction:
    """Two answers to one question, the first in the data first."""

    first: Side
    second: Side


@dataclass(frozen=True, slots=True)
class _Statement:
    """A sentence with numbers."""

    text: str
    words: frozenset[str]
    numbers: frozenset[Number]


@dataclass(frozen=True, slots=True)
class _Answer:
    """The first question and answer of a conversation."""

    conversation: Conversation
    question: str
    text: str
    kind: frozenset[str]
    """Words of the question, with those that tell its kind."""
    topic: frozenset[str]
    """Words of the question that tell what it is about."""
    statements: tuple[_Statement, ...]
    numbers: frozenset[Number]


def find_contradictions(conversations: Sequence[Conversation]) -> tuple[Contradiction, ...]:
    """Pairs of conversations whose first answers contradict each other, at most `MAX_PAIRS`.

    Two questions with the same words ask the same: their answers contradict each other if each states a number that
    the other lacks, both in one unit, or one says yes and the other no. If all that a question is about is also in
    another question, two of their statements contradict each other if they share enough words and, in one unit, each
    has a number that the other answer lacks. Numbers that stand in a conversation's own system prompt do not count.
    """
    answers = [_answer(conversation) for conversation in conversations]
    pairs = {(min(a, b), max(a, b)): sides for a, b, sides in _same_questions(answers)}
    for a, b, sides in _same_statements(answers):
        pairs.setdefault((min(a, b), max(a, b)), sides)
        if len(pairs) >= MAX_PAIRS:
            break
    ordered = (sides if a < b else sides[::-1] for (a, b), sides in list(pairs.items())[:MAX_PAIRS])
    return tuple(Contradiction(*sides) for sides in ordered)


def _answer(conversation: Conversation) -> _Answer:
    messages = conversation.messages
    system = messages[0].content if messages[0].role == "system" else ""
    question, text = (message.content for message in (messages[1:] if system else messages)[:2])
    from_prompt = frozenset(find_numbers(system))
    statements = []
    for sentence in _SENTENCE_END.split(text):
        numbers = frozenset(find_numbers(sentence)) - from_prompt
        if numbers:
            statements.append(_Statement(sentence.strip(), _statement_words(sentence), numbers))
    kind = _words(question)
    everything = frozenset[Number]().union(*(statement.numbers for statement in statements))
    return _Answer(conversation, question, text, kind, kind - _KINDS, tuple(statements), everything)


def _words(text: str) -> frozenset[str]:
    """Words that carry meaning, without case and English plurals."""
    words = (word for word in _WORD.findall(text.casefold()) if word not in _GRAMMAR)
    return frozenset(word[:-1] if len(word) > 3 and word.endswith("s") else word for word in words)


def _statement_words(sentence: str) -> frozenset[str]:
    return frozenset(word for word in _words(sentence) - _KINDS if len(word) > 2 and not word[0].isdigit())


_Sides = tuple[Side, Side]


def _same_questions(answers: Sequence[_Answer]) -> Iterator[tuple[int, int, _Sides]]:
    """Contradictions between answers to questions of the same words. Each is compared with the first such answer."""
    first: dict[frozenset[str], int] = {}
    for number, answer in enumerate(answers):
        if not answer.topic:
            continue
        original = first.setdefault(answer.kind, number)
        if original == number:
            continue
        sides = _different_numbers(answers[original], answer) or _yes_and_no(answers[original], answer)
        if sides:
            yield original, number, sides


def _different_numbers(one: _Answer, other: _Answer) -> _Sides | None:
    only_one, only_other = one.numbers - other.numbers, other.numbers - one.numbers
    units = {number.unit for number in only_one} & {number.unit for number in only_other}
    if not units:
        return None
    return _side(one, only_one, units), _side(other, only_other, units)


def _yes_and_no(one: _Answer, other: _Answer) -> _Sides | None:
    said = [next(iter(_WORD.findall(answer.text.casefold())), "") for answer in (one, other)]
    if not ((said[0] in _YES and said[1] in _NO) or (said[0] in _NO and said[1] in _YES)):
        return None
    sides = [
        _quoted(answer, _SENTENCE_END.split(answer.text)[0], ("yes" if word in _YES else "no",))
        for answer, word in zip((one, other), said, strict=True)
    ]
    return sides[0], sides[1]


def _same_statements(answers: Sequence[_Answer]) -> Iterator[tuple[int, int, _Sides]]:
    """Contradictions between statements of the same words, if one question's topic is part of the other's.

    Statements are looked up by topic word, unit and word. Words that many statements hold are skipped, so the work
    grows with the number of statements and not with that of pairs.
    """
    frequency = Counter(word for answer in answers for word in answer.topic)
    index: dict[tuple[str, str, str], list[tuple[int, _Statement]]] = defaultdict(list)
    for number, answer in enumerate(answers):
        if answer.topic:
            rarest = min(answer.topic, key=lambda word: (frequency[word], word))
            for key, statement in _keys(answer, (rarest,)):
                index[key].append((number, statement))
    seen: set[tuple[int, int]] = set()
    for number, answer in enumerate(answers):
        for key, statement in _keys(answer, answer.topic):
            holders = index.get(key, ())
            if len(holders) > _MAX_HOLDERS:
                continue
            for other, other_statement in holders:
                pair = (min(number, other), max(number, other))
                if pair[0] == pair[1] or pair in seen or not answers[other].topic <= answer.topic:
                    continue
                sides = _contradicting(answers[other], other_statement, answer, statement)
                if sides:
                    seen.add(pair)
                    yield other, number, sides


def _keys(answer: _Answer, topic: Iterable[str]) -> Iterator[tuple[tuple[str, str, str], _Statement]]:
    topics = sorted(topic)
    for statement in answer.statements:
        units = sorted({number.unit for number in statement.numbers} - {""})
        for word in sorted(statement.words):
            yield from (((about, unit, word), statement) for about in topics for unit in units)


def _contradicting(one: _Answer, statement: _Statement, other: _Answer, other_statement: _Statement) -> _Sides | None:
    shared = len(statement.words & other_statement.words)
    shorter = min(len(statement.words), len(other_statement.words))
    if shared < _MIN_SHARED_WORDS or 10 * shared < _SHARED_TENTHS * shorter:
        return None
    only_one, only_other = statement.numbers - other.numbers, other_statement.numbers - one.numbers
    units = ({number.unit for number in only_one} & {number.unit for number in only_other}) - {""}
    if not units:
        return None
    return (
        _quoted(one, statement.text, _texts(only_one, units)),
        _quoted(other, other_statement.text, _texts(only_other, units)),
    )


def _side(answer: _Answer, numbers: frozenset[Number], units: set[str]) -> Side:
    values = {number for number in numbers if number.unit in units}
    statement = next(statement for statement in answer.statements if statement.numbers & values)
    return _quoted(answer, statement.text, _texts(numbers, units))


def _texts(numbers: frozenset[Number], units: set[str]) -> tuple[str, ...]:
    return tuple(sorted(number.text for number in numbers if number.unit in units))


def _quoted(answer: _Answer, statement: str, values: tuple[str, ...]) -> Side:
    source = answer.conversation.source
    return Side(source["file"], source["position"], _cut(answer.question), _cut(statement), values)


def _cut(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= _QUOTE_CHARACTERS else text[: _QUOTE_CHARACTERS - 3].rstrip() + "..."
