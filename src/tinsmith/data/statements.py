"""What the answers of a conversation state, as rows of numbers that can be compared over a whole data set."""

import re
import zlib
from collections.abc import Iterable, Iterator
from functools import lru_cache

import numpy as np

from tinsmith.model.conversations import Conversation, Message
from tinsmith.model.facts.sentences import content_words
from tinsmith.model.facts.words import plain, stem, tokens_of
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
_SENTENCE_END = re.compile(r"(?<=[.!?;])\s+|\n+")
_MAY_STATE_NUMBERS = re.compile(r"\d|\b(?:two|three|four|five|six|seven|eight|nine|ten|eleven|twelve)\b", re.IGNORECASE)
_GLOSS = re.compile(r"\([^)]*\)")
_KIND = re.compile(
    r"\b(?:how (?:long|much|many|often|tall|high|large|big|old|far|wide|deep|late|early|fast|hot|heavy|expensive)"
    r"|hur (?:långt?|länge|dags|mycket|många|ofta|högt?|stora?|gamla?|djupt?|sent|tidigt|snabbt)"
    r"|wie (?:lange?|viele?|oft|hoch|groß|alt|weit|tief|spät|früh|schnell|heiß|schwer|teuer)"
    r"|what|which|how|when|where|why|who|mean|time|year|much|take|takes?|cost|costs|price|charge|pay|average"
    r"|vad|hur|vilken|vilket|vilka|när|var|vem|varför|innebär|betyder|tid|år|tar|kostar?|kostnad(?:en)?|pris(?:et)?|betala"
    r"|was|wie|wann|wo|wer|warum|welche[nrms]?|ab|uhr|jahr|zeit|dauert|kostet|kosten|preis|zahlen|beträgt)\b",
    re.IGNORECASE,
)
"""Words that tell which kind of thing is asked, but not about what."""
_POLARITY = re.compile(
    r"\W*(?:(?:unfortunately|sorry|tyvärr|leider|lamentablemente|malheureusement)\W+)?"
    r"(?:(?P<yes>yes|yep|yeah|ja|jo|sí|si|oui|sim)|(?P<no>no|nope|not|nej|inte|nein|nicht|non|não))\b",
    re.IGNORECASE,
)
"""Yes or no as the first word; what other words say between the lines is not read."""
_GERMAN = frozenset(
    "der die das den dem des ein eine einen einem einer eines und oder in im an am auf für von vom zu zum zur mit bei"
    " beim ist sind war wird werden wurde hat haben kann man ich wir sie es mein meine ihr ihre nach aus über unter bis"
    " gibt muss darf soll dauert gilt kein keine nicht auch nur sich".split()
)
"""German words without content, which `model/facts` does not know."""
_KEY_LETTERS = 5
"""Letters of a stem that count when rows are compared, so that most inflections are one word."""
_DIMENSIONS = {
    **dict.fromkeys("second minute hour day week month year".split(), "duration"),
    **dict.fromkeys("km cm mm m".split(), "length"),
    **dict.fromkeys("kg mg g".split(), "mass"),
    **dict.fromkeys("ml l".split(), "volume"),
}
UNIT_WORDS = frozenset(
    stem(word)
    for word in "sek kr kronor eur euro usd dollar gbp m2 percent procent year month week day hour minute år månad"
    " vecka veckor dag dagar timme timmar minut jahr jahre monat monate woche wochen tag tage stunde stunden".split()
)


def turns(conversation: Conversation) -> Iterator[tuple[int, str, str]]:
    """Number, question and answer of each turn."""
    messages = conversation.messages[conversation.messages[0].role == "system" :]
    for turn in range(len(messages) // 2):
        yield turn, messages[2 * turn].content, messages[2 * turn + 1].content


def system_prompt(messages: tuple[Message, ...]) -> str:
    """The system prompt; empty for none."""
    return messages[0].content if messages[0].role == "system" else ""


def topic_words(question: str) -> frozenset[str]:
    """Stems and numbers of a question that tell what it is about."""
    return specific_words(_KIND.sub(" ", _GLOSS.sub(" ", plain(question))))


def specific_words(text: str) -> frozenset[str]:
    """Stems and numbers of plain text, without words of grammar and units. Parts of a compound with hyphens count."""
    tokens = [token for token in tokens_of(text.replace("-", " ")) if token.lower not in _GERMAN]
    return (content_words(tokens) | {token.text for token in tokens if token.kind == "number"}) - UNIT_WORDS


def polarity(answer: str) -> str:
    """`yes` or `no`, if an answer starts with it; else empty."""
    match = _POLARITY.match(answer)
    return str(match.lastgroup) if match else ""


def statements(conversation: Conversation) -> np.ndarray:
    """A row for each sentence and unit, and for each yes or no: (n, 27) uint32."""
    given = _prompt_numbers(system_prompt(conversation.messages))
    rows = []
    for turn, question, answer in turns(conversation):
        topic = topic_words(question)
        if not topic:
            continue
        stated = polarity(answer)
        if stated:
            rows.append(_row(turn, POLARITY, topic, [stated], ()))
        for sentence in _SENTENCE_END.split(plain(answer)):
            if not _MAY_STATE_NUMBERS.search(sentence):
                continue
            by_unit: dict[str, list[str]] = {}
            for number in find_numbers(sentence):
                if number not in given:
                    unit = _DIMENSIONS.get(number.unit, number.unit or NO_UNIT)
                    by_unit.setdefault(unit, []).append(number.text)
            if by_unit:
                words = specific_words(sentence) - topic
                rows += [_row(turn, unit, topic, values, words) for unit, values in by_unit.items()]
    return np.array(rows, np.uint32).reshape(-1, WIDTH)


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
