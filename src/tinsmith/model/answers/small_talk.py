"""Recognise greetings, thanks, goodbyes and questions about the page itself, in eleven languages.

A message is small talk only if listed phrases cover all of its words, so a question about anything else never is.
`web/small_talk.js` does the same with the same file.
"""

import re
import unicodedata
from collections.abc import Iterable, Sequence
from functools import cache
from pathlib import Path
from typing import Literal, get_args

from tinsmith.core.run_dir import read_json

SmallTalk = Literal["about", "goodbye", "thanks", "hello"]
SMALL_TALK: tuple[SmallTalk, ...] = get_args(SmallTalk)
"""All kinds. A message with phrases of several kinds has the first of these."""

SMALL_TALK_FILE = Path(__file__).with_name("small_talk.json")
"""Kind -> language -> phrases. The site has a copy."""
_FILLER = "filler"
"""Phrases that may stand beside others, such as "so much"."""
_NO_QUESTIONS = ("goodbye", "thanks")
"""Kinds that a message with a question mark never has: "OK, and again?" is a follow-up."""
_APOSTROPHES = re.compile("['’‘`´]")
_WORDS = re.compile(r"[^\W_]+")
_REPEATED = re.compile(r"(.)\1{2,}")


@cache
def small_talk_phrases() -> dict[str, list[str]]:
    """Phrases of each kind, and fillers, of all languages."""
    file: dict[str, dict[str, list[str]]] = read_json(SMALL_TALK_FILE)
    return {kind: [phrase for phrases in file[kind].values() for phrase in phrases] for kind in (*SMALL_TALK, _FILLER)}


def small_talk_of(message: str) -> SmallTalk | None:
    """The kind of small talk that a message is, or None if it is anything else."""
    kinds, longest = _kinds()
    words = _words_of(message)
    present: set[str] = set()
    start = 0
    while start < len(words):
        ends = range(min(len(words), start + longest), start, -1)
        end = next((end for end in ends if " ".join(words[start:end]) in kinds), None)
        if end is None:
            return None
        present.add(kinds[" ".join(words[start:end])])
        start = end
    kind = next((kind for kind in SMALL_TALK if kind in present), None)
    return None if "?" in message and kind in _NO_QUESTIONS else kind


def asked_texts(kind: str, title: str, wordings: Sequence[str]) -> Sequence[str]:
    """What visitors may ask to see a passage: its wordings, and the title of an answer, which is a question."""
    return (title, *wordings) if kind == "answer" else wordings


def answered_small_talk(questions: Iterable[str]) -> list[SmallTalk]:
    """Kinds of small talk among the owner's own questions, whose answers come before the set replies."""
    kinds = {small_talk_of(question) for question in questions}
    return [kind for kind in SMALL_TALK if kind in kinds]


@cache
def _kinds() -> tuple[dict[str, str], int]:
    """Words of each phrase -> its kind, and the number of words of the longest."""
    kinds: dict[str, str] = {}
    for kind, phrases in small_talk_phrases().items():
        for phrase in phrases:
            kinds.setdefault(" ".join(_words_of(phrase)), kind)
    return kinds, max(len(words.split()) for words in kinds)


def _words_of(text: str) -> list[str]:
    """Words in lower case, without accents and apostrophes; a letter three or more times in a row counts once."""
    decomposed = unicodedata.normalize("NFKD", _APOSTROPHES.sub("", text))
    letters = "".join(letter for letter in decomposed if not unicodedata.category(letter).startswith("M"))
    return _WORDS.findall(_REPEATED.sub(r"\1", letters.lower()))
