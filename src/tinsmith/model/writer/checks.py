"""What a written question must be before it counts: a question, one, in the data's language, and no giveaway."""

import re
from collections.abc import Sequence

from tinsmith.model.answers.questions import MAX_CHARACTERS
from tinsmith.model.answers.rules import figures, frequent_words, is_ambiguous, words
from tinsmith.model.answers.statements import states_as_words
from tinsmith.model.passages import Passage

_THOUGHTS = re.compile(r".*</think>", re.DOTALL)
_LABEL = re.compile(r"\A(?:question|q|fråga)\s*:\s*", re.IGNORECASE)
_QUOTES = "\"'\u201c\u201d\u2018\u2019\u00ab\u00bb`*"
_MARKS = re.compile("[?\uff1f\u061f]")
_MAX_CHARACTERS = min(MAX_CHARACTERS, 300)
_MAX_QUERY_WORDS = 10
"""A text without a question mark is a question if it is as short as what one types into a search box."""
_MIN_LANGUAGE_WORDS = 6
"""Shorter questions may have no word by which their language is known."""
_MIN_FAMILIAR_LETTERS = 0.9
"""Least share of letters that occur in the owner's texts."""


def cleaned(reply: str) -> str:
    """A reply without thoughts, label and quotation marks."""
    return _LABEL.sub("", _THOUGHTS.sub("", reply).strip()).strip().strip(_QUOTES).strip()


class Checks:
    """Checks of written questions against the owner's passages.

    Args:
        passages: All of them.
    """

    def __init__(self, passages: Sequence[Passage]) -> None:
        self._titles = [frozenset(words(passage.title)) for passage in passages]
        self._frequent = frequent_words(passages)
        self._letters = {letter for passage in passages for letter in f"{passage.title}{passage.text}".casefold()}

    def problem(self, question: str, passage: Passage) -> str:
        """Why a question about a passage is dropped, in a few words; empty if it is not."""
        asked = self._telling(question)
        has_mark = bool(_MARKS.search(question))
        checks = (
            (not words(question), "empty"),
            ("\n" in question or len(_MARKS.findall(question)) > 1, "several questions"),
            (len(question) > _MAX_CHARACTERS, "too long"),
            (not has_mark and len(words(question)) > _MAX_QUERY_WORDS, "not a question"),
            (not self._is_familiar(question), "in another language"),
            (asked <= self._telling(passage.title), "repeats the title"),
            (
                any(states_as_words(question, figure) for figure in figures(passage.text)),
                "states a figure of the answer",
            ),
            (is_ambiguous(question, self._titles), "fits several titles"),
        )
        return next((problem for is_wrong, problem in checks if is_wrong), "")

    def names_topic(self, question: str, passage: Passage, first: str) -> bool:
        """Whether a follow-up has a telling word of its passage's title, or all words of the question before it."""
        return bool(self._telling(question) & self._telling(passage.title)) or set(words(first)) <= set(words(question))

    def _telling(self, text: str) -> set[str]:
        return set(words(text)) - self._frequent

    def _is_familiar(self, question: str) -> bool:
        """Whether its letters, and at least one of its words, are those of the owner's language."""
        letters = [letter for letter in question.casefold() if letter.isalpha()]
        if sum(letter in self._letters for letter in letters) < _MIN_FAMILIAR_LETTERS * len(letters):
            return False
        asked = words(question)
        return len(asked) < _MIN_LANGUAGE_WORDS or not self._frequent or not self._frequent.isdisjoint(asked)
