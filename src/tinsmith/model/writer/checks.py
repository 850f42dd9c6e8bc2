"""What a written question must be before it counts: a question, one, in the data's language, and no giveaway."""

import re
from collections import Counter
from collections.abc import Sequence

from tinsmith.model.answers.questions import MAX_CHARACTERS
from tinsmith.model.answers.rules import figures, frequent_words, is_ambiguous, words
from tinsmith.model.answers.statements import normalized, states_as_words
from tinsmith.model.passages import Passage

_THOUGHTS = re.compile(r".*</think>", re.DOTALL)
_LABEL = re.compile(r"\A(?:question|q|fråga)\s*:\s*", re.IGNORECASE)
_QUOTES = "\"'\u201c\u201d\u2018\u2019\u00ab\u00bb`*"
_MARKS = re.compile("[?\uff1f\u061f]")
_MAX_CHARACTERS = min(MAX_CHARACTERS, 300)
_STATEMENT_ENDS = (".", "!", ":", ";", "\u3002")
"""Many visitors leave the question mark out, but hardly one ends a question like a statement."""
_SHORT_WORD_LETTERS = 4
"""Words of so few letters are mostly grammar, by which a language is known."""
_MIN_SHORT_WORDS = 3
"""A question with fewer short words may be in any language."""
_MIN_FAMILIAR_WORDS = 0.4
"""Least share of a question's short words that occur in the owner's texts."""
_MIN_VOCABULARY = 400
"""Words that the owner's texts must have before a missing one says anything."""
_MIN_FAMILIAR_LETTERS = 0.9
"""Least share of letters that occur in the owner's texts."""


def cleaned(reply: str) -> str:
    """A reply without thoughts, label and quotation marks."""
    return _LABEL.sub("", _THOUGHTS.sub("", reply).strip()).strip().strip(_QUOTES).strip()


def listed_reasons(dropped: Counter[str]) -> str:
    """Why questions were dropped and how many, the most frequent reason first."""
    return ", ".join(f"{reason} ({number})" for reason, number in dropped.most_common())


class Checks:
    """Checks of written questions against the owner's passages.

    Args:
        passages: All of them.
    """

    def __init__(self, passages: Sequence[Passage]) -> None:
        self._titles = [frozenset(words(passage.title)) for passage in passages]
        self._frequent = frequent_words(passages)
        self._vocabulary = {word for passage in passages for word in words(f"{passage.title} {passage.text}")}
        self._letters = {letter for passage in passages for letter in f"{passage.title}{passage.text}".casefold()}

    def problem(self, question: str, passage: Passage) -> str:
        """Why a question about a passage is dropped, in a few words; empty if it is not."""
        asked = self._telling(question)
        marks = len(_MARKS.findall(question))
        checks = (
            (not words(question), "empty"),
            ("\n" in question or marks > 1, "several questions"),
            (len(question) > _MAX_CHARACTERS, "too long"),
            (not marks and question.endswith(_STATEMENT_ENDS), "not a question"),
            (not self._is_familiar(question), "in another language"),
            (asked <= self._telling(passage.title), "repeats the title"),
            (normalized(question) in map(normalized, passage.wordings), "repeats a wording"),
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
        """Whether its letters and short words are those of the owner's language."""
        letters = [letter for letter in question.casefold() if letter.isalpha()]
        if sum(letter in self._letters for letter in letters) < _MIN_FAMILIAR_LETTERS * len(letters):
            return False
        short = [word for word in words(question) if len(word) <= _SHORT_WORD_LETTERS]
        if len(short) < _MIN_SHORT_WORDS or len(self._vocabulary) < _MIN_VOCABULARY:
            return True
        return sum(word in self._vocabulary for word in short) >= _MIN_FAMILIAR_WORDS * len(short)
