"""What the answers of a conversation state, as rows of numbers that can be compared over a whole data set."""

import re
import zlib
from collections.abc import Iterable, Iterator
from functools import lru_cache

import numpy as np

from tinsmith.data.questions import specific_words, topic_words
from tinsmith.model.conversations import Conversation, Message
from tinsmith.model.facts.words import plain
from tinsmith.model.numbers import Number, find_numbers

TURN, UNIT, TOPIC_SET = 0, 1, 2
VALUES = slice(3, 7)
TOPIC = slice(7, 15)
WORDS = slice(15, 27)
WIDTH = 27
"""Columns of a row: the turn from 0, hashes of the unit and of all topic words together, then of up to 4 values, 8
topic words and 12 other words of the sentence, 0 for none. Of more, those with the lowest hashes, so that similar
sentences keep the same ones."""
NO_UNIT = "no unit"
POLARITY = "yes or no"
PERSON = "person"
_WHO = re.compile(r"\s*(?:who|vem|vilka|wer)\b", re.IGNORECASE)
_NAME = re.compile(r"(?<![\w.])[A-ZÅÄÖÜÉ]\w+(?:-[A-Z]\w+)?(?: (?:(?:von|van|de|af) )?[A-ZÅÄÖÜÉ]\w+(?:-[A-Z]\w+)?)+")
_TITLES = frozenset("Dr Prof Mr Mrs Ms Doctor Professor Doktor Herr Frau Fru".split())
_SENTENCE_END = re.compile(r"\s(?:(?<=[.!?;]\s)\s*|(?<=\n)\n*)")
"""Space after a full stop, or line ends. It starts with a space, which the search can jump to."""
_DIGIT = re.compile(r"\d")
_SPELLED = re.compile(r"\d|\b(?:two|three|four|five|six|seven|eight|nine|ten|eleven|twelve)\b", re.IGNORECASE)
_SPELLED_WORDS = "two three four five six seven eight nine ten eleven twelve".split()
_POLARITY = re.compile(
    r"\W*(?:(?:unfortunately|sorry|tyvärr|leider|lamentablemente|malheureusement)\W+)?"
    r"(?:(?P<yes>yes|yep|yeah|ja|jo|sí|si|oui|sim)|(?P<no>no|nope|not|nej|inte|nein|nicht|non|não))\b",
    re.IGNORECASE,
)
"""Yes or no as the first word; what other words say between the lines is not read."""
_KEY_LETTERS = 5
"""Letters of a stem that count when rows are compared, so that most inflections are one word."""
_DIMENSIONS = {
    **dict.fromkeys("second minute hour day week month year".split(), "duration"),
    **dict.fromkeys("km cm mm m".split(), "length"),
    **dict.fromkeys("kg mg g".split(), "mass"),
    **dict.fromkeys("ml l".split(), "volume"),
}


def turns(conversation: Conversation) -> Iterator[tuple[int, str, str]]:
    """Number, question and answer of each turn."""
    messages = conversation.messages[conversation.messages[0].role == "system" :]
    for turn in range(len(messages) // 2):
        yield turn, messages[2 * turn].content, messages[2 * turn + 1].content


def system_prompt(messages: tuple[Message, ...]) -> str:
    """The system prompt; empty for none."""
    return messages[0].content if messages[0].role == "system" else ""


def polarity(answer: str) -> str:
    """`yes` or `no`, if an answer starts with it; else empty."""
    match = _POLARITY.match(answer)
    return str(match.lastgroup) if match else ""


def person(question: str, text: str) -> str:
    """The one name in a plain answer to a question for a person, without titles; empty if there is none or several."""
    if not _WHO.match(question):
        return ""
    names = {" ".join(word for word in match.split() if word not in _TITLES) for match in _NAME.findall(text)}
    return names.pop() if len(names) == 1 else ""


def statements(conversation: Conversation) -> np.ndarray:
    """A row for each sentence and unit, for each yes or no, and for each person asked for: (n, 27) uint32."""
    given = _prompt_numbers(system_prompt(conversation.messages))
    rows = []
    for turn, question, answer in turns(conversation):
        topic = topic_words(question)
        if not topic:
            continue
        stated = polarity(answer)
        if stated:
            rows.append(_row(turn, POLARITY, topic, [stated], ()))
        text = plain(answer)
        if name := person(question, text):
            rows.append(_row(turn, PERSON, topic, [name], ()))
        for sentence in _sentences_with_numbers(text):
            by_unit: dict[str, list[str]] = {}
            for number in find_numbers(sentence):
                if number not in given:
                    unit = _DIMENSIONS.get(number.unit, number.unit or NO_UNIT)
                    by_unit.setdefault(unit, []).append(number.text)
            if by_unit:
                words = specific_words(sentence) - topic
                rows += [_row(turn, unit, topic, values, words) for unit, values in by_unit.items()]
    return np.array(rows, np.uint32).reshape(-1, WIDTH)


def _sentences_with_numbers(text: str) -> list[str]:
    """Sentences of plain text that have a digit or a spelled-out number."""
    lower = text.lower()
    pattern = _SPELLED if any(word in lower for word in _SPELLED_WORDS) else _DIGIT
    if not pattern.search(text):
        return []
    return [sentence for sentence in _SENTENCE_END.split(text) if pattern.search(sentence)]


@lru_cache(maxsize=100_000)
def word_hash(word: str) -> int:
    """A number above 0, the same for most inflections of a word."""
    key = word if word[0].isdigit() else word[:_KEY_LETTERS]
    return _text_hash(key)


def _text_hash(text: str) -> int:
    return zlib.crc32(text.encode("utf-8", "surrogatepass")) or 1


def _row(turn: int, unit: str, topic: frozenset[str], values: Iterable[str], words: Iterable[str]) -> list[int]:
    about = sorted(map(word_hash, topic))
    whole = _text_hash(str(about))
    parts = ((map(_text_hash, values), VALUES), (about, TOPIC), (map(word_hash, words), WORDS))
    return [turn, unit_hash(unit), whole, *(cell for some, place in parts for cell in _cells(some, place))]


def unit_hash(unit: str) -> int:
    """What stands for a unit in a row."""
    return _text_hash(unit)


def _cells(hashes: Iterable[int], place: slice) -> list[int]:
    size = place.stop - place.start
    lowest = sorted(set(hashes))[:size]
    return lowest + [0] * (size - len(lowest))


@lru_cache(maxsize=64)
def _prompt_numbers(prompt: str) -> frozenset[Number]:
    return frozenset(find_numbers(prompt))
