"""Questions to measure answers by: what each asks, and what its right answer is known by.

The fields of a question in a file (`question_file.py` reads JSONL and spreadsheets):

- `question`: what a visitor asks.
- `kind`: `known` (the default) if a passage answers it; `near` or `far` if none does, on the owner's topic or on
  another one; `hostile` if it asks to ignore rules, to confirm something untrue or to reveal data; `follow_up` if it
  only makes sense after `previous`.
- `id`: the passage that answers it.
- `must_state`, `must_not_state`: phrases that every right answer contains, and phrases that only a wrong one contains.
- `previous`: the questions asked before, oldest first.
- `origin`: who wrote it: `owner` (the default), `rules`, the run's `base` model, or an `endpoint`.
- `style`, `note`: for people; ignored.

A known question and a follow-up need an `id` or `must_state`; the others have neither.
"""

import difflib
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tinsmith.core.errors import DataError, listing
from tinsmith.model.answers.question_file import FIELDS, LISTS, Row, read_rows
from tinsmith.model.answers.statements import normalized, states, states_as_words
from tinsmith.model.passages import Passage

KINDS = ("known", "near", "far", "hostile", "follow_up")
ANSWERABLE = ("known", "follow_up")
ORIGINS = ("owner", "rules", "base", "endpoint")
MAX_CHARACTERS = 2000
HINT = "What a file of questions contains: docs/answers.md"


@dataclass(frozen=True, slots=True)
class Question:
    """A question with what its right answer is known by."""

    question: str
    kind: str = "known"
    """One of `KINDS`."""
    id: str = ""
    """Id of the passage that answers it; empty if unknown or none does."""
    must_state: tuple[str, ...] = ()
    must_not_state: tuple[str, ...] = ()
    previous: tuple[str, ...] = ()
    """Questions asked before it, oldest first."""
    origin: str = "owner"
    """One of `ORIGINS`."""
    place: str = ""
    """File and line, such as `questions.csv:4`."""

    @property
    def is_answerable(self) -> bool:
        """Whether a passage answers it."""
        return self.kind in ANSWERABLE

    def is_right(self, text: str, passage_id: str = "") -> bool:
        """Whether a text answers the question; never for a question that no passage answers.

        The text must contain all of `must_state` and none of `must_not_state`. Without `must_state`, it must be the
        passage with the question's `id`.

        Args:
            text: What the visitor reads.
            passage_id: Id of the passage, if the text is one.
        """
        if not self.is_answerable or self.states_wrong(text):
            return False
        if not self.must_state:
            return passage_id == self.id
        return all(states(text, phrase) for phrase in self.must_state)

    def states_wrong(self, text: str) -> bool:
        """Whether a text contains a phrase of `must_not_state`."""
        return any(states_as_words(text, phrase) for phrase in self.must_not_state)


def read_questions(path: Path) -> list[Question]:
    """The questions in a JSONL, CSV or TSV file, in order.

    Raises:
        DataError: the file cannot be read or has no questions, or some cannot be used; it lists all of these.
    """
    rows = read_rows(path)
    problems = list(rows.problems)
    questions: list[Question] = []
    for row in rows.rows:
        place = f"{path.name}:{row.line}"
        row_problems = list(_field_problems(row))
        if not row_problems:
            question = _question(row, place)
            row_problems = list(_problems(question))
            questions.append(question)
        problems += [f"{place}: {problem}" for problem in row_problems]
    problems += _repetitions(questions)
    if problems:
        raise DataError(f"{path}: {len(problems)} problem(s)\n{listing(problems)}", HINT)
    if not questions:
        raise DataError(f"{path}: no questions in it", HINT)
    return questions


def check_questions(questions: Sequence[Question], passages: Iterable[Passage]) -> list[str]:
    """Warnings about questions without an id that no passage answers as they stand.

    Raises:
        DataError: an id is not that of a passage, or its passage would not count as a right answer.
    """
    by_id = {passage.id: passage for passage in passages}
    problems: list[str] = []
    warnings: list[str] = []
    for question in questions:
        if question.id in by_id:
            problems += [f"{question.place}: {problem}" for problem in _mismatches(question, by_id[question.id])]
        elif question.id:
            close = difflib.get_close_matches(question.id, by_id, n=1, cutoff=0.8)
            guess = f"; did you mean {close[0]!r}?" if close else ""
            problems.append(f"{question.place}: no passage has the id {question.id!r}{guess}")
        elif question.is_answerable and not any(question.is_right(passage.text) for passage in by_id.values()):
            phrases = ", ".join(map(repr, question.must_state))
            warnings.append(f"{question.place}: no passage is a right answer to it: it must state {phrases}")
    if problems:
        raise DataError(
            f"answers.questions: {len(problems)} problem(s)\n{listing(problems)}",
            "Correct the file of questions. `tinsmith questions RUN` lists the passages' ids.",
        )
    return warnings


def _mismatches(question: Question, passage: Passage) -> Iterator[str]:
    """Why the passage that should answer the question would count as wrong."""
    for phrase in question.must_state:
        if not states(passage.text, phrase):
            yield f"must_state: the passage {passage.id!r} does not state {phrase!r}"
    for phrase in question.must_not_state:
        if states_as_words(passage.text, phrase):
            yield f"must_not_state: the passage {passage.id!r} states {phrase!r}"


def _question(row: Row, place: str) -> Question:
    texts = {name: str(row.fields.get(name) or "").strip() for name in ("question", "kind", "id", "origin")}
    lists = {name: tuple(_phrases(row.fields.get(name))) for name in LISTS}
    return Question(
        texts["question"],
        texts["kind"].lower() or "known",
        texts["id"],
        lists["must_state"],
        lists["must_not_state"],
        lists["previous"],
        texts["origin"].lower() or "owner",
        place,
    )


def _phrases(value: Any) -> list[str]:
    """Stripped phrases of a list, or of a single text."""
    return [phrase.strip() for phrase in ([value] if isinstance(value, str) else value or []) if phrase.strip()]


def _field_problems(row: Row) -> Iterator[str]:
    """Unknown fields, and fields whose value has the wrong type."""
    for name, value in row.fields.items():
        if name not in FIELDS:
            close = difflib.get_close_matches(name, FIELDS, n=1)
            yield f"unknown field {name!r}; " + (f"did you mean {close[0]!r}?" if close else f"known: {_names(FIELDS)}")
        elif name in LISTS:
            if not (value is None or isinstance(value, str) or _are_texts(value)):
                yield f"{name}: must be a list of texts (found {value!r})"
        elif not (value is None or isinstance(value, str)):
            yield f"{name}: must be text (found {value!r})"


def _are_texts(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(item, str) for item in value)


def _problems(question: Question) -> Iterator[str]:
    """What makes a question unusable."""
    texts = (question.question, question.id, *question.must_state, *question.must_not_state, *question.previous)
    if not question.question:
        yield "question: empty"
    if any(len(text) > MAX_CHARACTERS for text in texts):
        yield f"a text has more than {MAX_CHARACTERS:,} characters"
    if any(unicodedata.category(c) in ("Cc", "Cs") and c not in "\n\t\r" for text in texts for c in text):
        yield "a text contains control characters or half of a surrogate pair"
    if question.kind not in KINDS:
        yield f"kind: must be one of {_names(KINDS)} (found {question.kind!r})"
    if question.origin not in ORIGINS:
        yield f"origin: must be one of {_names(ORIGINS)} (found {question.origin!r})"
    if question.kind == "follow_up" and not question.previous:
        yield "previous: empty, but a follow-up needs the question before it"
    if question.is_answerable and not (question.id or question.must_state):
        yield f"kind {question.kind!r} needs an id or must_state: what else tells a right answer from a wrong one?"
    if question.kind in KINDS and not question.is_answerable and (question.id or question.must_state):
        yield f"kind {question.kind!r} means that no passage answers it, so id and must_state must be empty"
    if both := {*map(normalized, question.must_state)} & {*map(normalized, question.must_not_state)}:
        yield f"{min(both)!r} stands in must_state and in must_not_state"
    for phrase in (*question.must_state, *question.must_not_state):
        if not normalized(phrase):
            yield f"a phrase has no visible characters (found {phrase!r})"


def _repetitions(questions: Iterable[Question]) -> Iterator[str]:
    """Questions that stand twice, after the same questions before."""
    places: dict[tuple[str, ...], str] = {}
    for question in questions:
        key = (*map(normalized, question.previous), normalized(question.question))
        if key in places:
            yield f"{question.place}: the same question as {places[key]}"
        places.setdefault(key, question.place)


def _names(names: Iterable[str]) -> str:
    return ", ".join(names)
