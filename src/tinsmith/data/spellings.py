"""Names that the data spell in two ways, such as `Kiyo` and `Kiyō`, or `GitHub` and `Github`."""

import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable
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
_ASCII_WORD = re.compile(r"[A-Za-z]{3,}")
"""The same for ASCII, in two thirds of the time."""
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


def find_spellings(conversations: Iterable[Conversation], language: str) -> tuple[Spelling, ...]:
    """Names of which at least two forms are frequent, the most frequent name first, at most `_MOST`.

    Forms differ in accents, or in capitals after the first letter. A word counts as a name if it is nearly always
    written with a capital.

    Args:
        conversations: In the order of the data, at most about `SAMPLE`.
        language: ISO 639-1 code of most of them, or empty.
    """
    counts: Counter[str] = Counter()
    first: dict[str, Conversation] = {}
    for conversation in conversations:
        texts = (message.content for message in conversation.messages if message.role != "system")
        words = {word for text in texts for word in (_ASCII_WORD if text.isascii() else _WORD).findall(text)}
        counts.update(words)
        for word in words:
            first.setdefault(word, conversation)
    variants = defaultdict(list)
    for word in counts:
        if word[0].isupper() and not word.isupper():
            variants[_key(word, language)].append(word)
    found = []
    for words in variants.values():
        forms = [word for word in words if counts[word] >= _FEWEST and _is_name(word, counts)]
        most = max((counts[word] for word in forms), default=0)
        forms = [word for word in forms if counts[word] >= _SHARE * (most + counts[word])]
        forms.sort(key=lambda word: (-counts[word], word))
        if len(forms) > 1:
            found.append(Spelling(tuple(_form(word, counts[word], first[word]) for word in forms)))
    return tuple(sorted(found, key=lambda one: (-one.forms[0].count, one.forms[0].text))[:_MOST])


def _key(word: str, language: str) -> str:
    """The word without accents and capitals."""
    ignored = {_DIAERESIS} if language in _UMLAUT_PLURALS else set()
    decomposed = unicodedata.normalize("NFD", word)
    kept = "".join(c for c in decomposed if c in ignored or not unicodedata.combining(c))
    return kept.casefold()


def _is_name(word: str, counts: Counter[str]) -> bool:
    return counts[word.lower()] <= _MOST_LOWER * counts[word]


def _form(text: str, count: int, conversation: Conversation) -> Form:
    return Form(text, count, conversation.source["file"], conversation.source["position"])
