"""Checks that a written text is one question, in the data's language, and does not give its answer away."""

import re
import unicodedata
from collections import Counter
from collections.abc import Sequence

from tinsmith.model.answers.questions import MAX_CHARACTERS
from tinsmith.model.answers.rules import figures, frequent_words, is_ambiguous, words
from tinsmith.model.answers.statements import normalized, states_as_words
from tinsmith.model.passages import Passage

_THOUGHTS = re.compile(r"<think>.*?(?:</think>|\Z)|\A.*</think>", re.DOTALL)
"""Also without a beginning, which some servers leave out, or an end, which a model may not reach."""
_LABEL = re.compile(r"\A(?:question|q|fråga)\s*:\s*", re.IGNORECASE)
_QUOTES = "\"'\u201c\u201d\u2018\u2019\u00ab\u00bb`*"
_MARKS = re.compile("[?\uff1f\u061f]")
_MAX_CHARACTERS = min(MAX_CHARACTERS, 300)
_STATEMENT_ENDS = (".", "!", ":", ";", "\u3002")
"""Many visitors leave the question mark out, but hardly one ends a question like a statement."""
_SHORT_WORD_LETTERS = 4
"""Words up to this length are mostly grammar words, which identify a language."""
_MIN_SHORT_WORDS = 3
"""With fewer short words, a question's language cannot be told."""
_MIN_FAMILIAR_WORDS = 0.4
"""Minimum share of a question's short words that must occur in the owner's texts."""
_MIN_VOCABULARY = 400
"""In a smaller vocabulary of the owner's, a missing word proves nothing."""
_MIN_FAMILIAR_LETTERS = 0.9
"""Minimum share of a question's letters that must occur in the owner's texts."""


def cleaned(reply: str) -> str:
    """A reply without the model's thoughts, a label such as `Question:`, and quotation marks."""
    return _LABEL.sub("", _THOUGHTS.sub("", reply).strip()).strip().strip(_QUOTES).strip()


def reasons_text(dropped: Counter[str]) -> str:
    """Reasons for dropping questions, each with its count, the most frequent first."""
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
        """Why a question about a passage must be dropped; empty if it passes."""
        distinctive = self._distinctive(question)
        marks = len(_MARKS.findall(question))
        checks = (
            (not words(question), "empty"),
            (any(unicodedata.category(c) in ("Cc", "Cs") and c != "\n" for c in question), "not plain text"),
            ("\n" in question or marks > 1, "several questions"),
            (len(question) > _MAX_CHARACTERS, "too long"),
            (not marks and question.endswith(_STATEMENT_ENDS), "not a question"),
            (not self._is_familiar(question), "in another language"),
            (bool(distinctive) and distinctive <= self._distinctive(passage.title), "repeats the title"),
            (normalized(question) in map(normalized, passage.wordings), "repeats a wording"),
            (
                any(states_as_words(question, figure) for figure in figures(passage.text)),
                "states a figure of the answer",
            ),
            (is_ambiguous(question, self._titles), "fits several titles"),
        )
        return next((problem for is_wrong, problem in checks if is_wrong), "")

    def makes_sense_alone(self, question: str, passage: Passage, first: str) -> bool:
        """Whether a follow-up has a distinctive word of its passage's title, or all words of the first question."""
        names_topic = bool(self._distinctive(question) & self._distinctive(passage.title))
        return names_topic or set(words(first)) <= set(words(question))

    def _distinctive(self, text: str) -> set[str]:
        return set(words(text)) - self._frequent

    def _is_familiar(self, question: str) -> bool:
        """Whether most letters and short words of a question occur in the owner's texts."""
        letters = [letter for letter in question.casefold() if letter.isalpha()]
        if sum(letter in self._letters for letter in letters) < _MIN_FAMILIAR_LETTERS * len(letters):
            return False
        short = [word for word in words(question) if len(word) <= _SHORT_WORD_LETTERS]
        if len(short) < _MIN_SHORT_WORDS or len(self._vocabulary) < _MIN_VOCABULARY:
            return True
        return sum(word in self._vocabulary for word in short) >= _MIN_FAMILIAR_WORDS * len(short)
