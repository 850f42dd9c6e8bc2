"""Names that the data spell in two ways, such as `Kiyo` and `Kiyō`, or `GitHub` and `Github`."""

import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass

from tinsmith.model.conversations import Conversation

SAMPLE = 10_000
"""Conversations that are enough to look at."""
_FEWEST = 5
"""Conversations that have each of the two forms."""
_SHARE = 0.1
"""Least share of the rarer form among both."""
_MOST_LOWER = 0.1
"""A word that is written in lower case more often is no name."""
_MOST = 20
_WORD = re.compile(r"[^\W\d_]{3,}")
_ASCII_CAPITALIZED = re.compile(r"(?<![A-Za-z])[A-Z][A-Za-z]{2,}")
"""Words with a capital in ASCII text, in a third of the time."""
_DIAERESIS = "\u0308"
_UMLAUT_PLURALS = frozenset(("de", "lb"))
"""Languages in which an umlaut makes another word of a noun: Vater, Väter."""


@dataclass(frozen=True, slots=True)
class Form:
    """One way to spell a name."""

    text: str
    count: int
    """Conversations that have it."""
    file: str
    position: str


@dataclass(frozen=True, slots=True)
class Spelling:
    """A name and its forms, the most frequent first."""

    forms: tuple[Form, ...]


def find_spellings(read: Callable[[], Iterable[Conversation]], language: str) -> tuple[Spelling, ...]:
    """Names of which at least two forms are frequent, the most frequent name first, at most `_MOST`.

    Forms differ in accents, or in capitals after the first letter. A word counts as a name if it is nearly always
    written with a capital.

    Args:
        read: Reads the conversations in the order of the data, at most about `SAMPLE`. Called again if words have other
            forms.
        language: ISO 639-1 code of most of them, or empty.
    """
    counts: Counter[str] = Counter()
    first: dict[str, Conversation] = {}
    for conversation in read():
        words = {word for text in _texts(conversation) for word in _capitalized(text)}
        counts.update(words)
        for word in words:
            first.setdefault(word, conversation)
    variants = defaultdict(list)
    for word, count in counts.items():
        if count >= _FEWEST:
            variants[_key(word, language)].append(word)
    several = [words for words in variants.values() if len(words) > 1]
    lower = _conversations_with({word.lower() for words in several for word in words}, read() if several else ())
    spellings = []
    for words in several:
        names = [word for word in words if lower[word.lower()] <= _MOST_LOWER * counts[word]]
        most = max((counts[word] for word in names), default=0)
        forms = [word for word in names if counts[word] >= _SHARE * (most + counts[word])]
        forms.sort(key=lambda word: (-counts[word], word))
        if len(forms) > 1:
            spellings.append(Spelling(tuple(_form(word, counts[word], first[word]) for word in forms)))
    return tuple(sorted(spellings, key=lambda one: (-one.forms[0].count, one.forms[0].text))[:_MOST])


def _texts(conversation: Conversation) -> Iterator[str]:
    return (message.content for message in conversation.messages if message.role != "system")


def _capitalized(text: str) -> list[str]:
    """Words that begin with a capital and are not all capitals."""
    words = _ASCII_CAPITALIZED.findall(text) if text.isascii() else _WORD.findall(text)
    return [word for word in words if word[0].isupper() and not word.isupper()]


def _conversations_with(words: Collection[str], conversations: Iterable[Conversation]) -> Counter[str]:
    """How many conversations have each of some words."""
    counts: Counter[str] = Counter()
    for conversation in conversations:
        counts.update({word for text in _texts(conversation) for word in _WORD.findall(text) if word in words})
    return counts


def _key(word: str, language: str) -> str:
    """The word without accents and capitals."""
    ignored = {_DIAERESIS} if language in _UMLAUT_PLURALS else set()
    decomposed = unicodedata.normalize("NFD", word)
    kept = "".join(c for c in decomposed if c in ignored or not unicodedata.combining(c))
    return kept.casefold()


def _form(text: str, count: int, conversation: Conversation) -> Form:
    return Form(text, count, conversation.source["file"], conversation.source["position"])
