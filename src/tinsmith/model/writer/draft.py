"""Questions to measure by, made from passages by rules or written by a model, each one checked."""

import random
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from tinsmith.model.answers.questions import Question
from tinsmith.model.answers.rules import general_questions, questions_by_rules
from tinsmith.model.answers.statements import normalized
from tinsmith.model.conversations import Message
from tinsmith.model.passages import Passage
from tinsmith.model.writer.base import BaseWriter
from tinsmith.model.writer.checks import Checks, cleaned, reasons_text
from tinsmith.model.writer.confirm import are_answered, are_specific
from tinsmith.model.writer.endpoint import Endpoint
from tinsmith.model.writer.prompts import STYLES, follow_up_prompt, known_prompt, near_prompt
from tinsmith.model.writer.writer import Writer

Search = Callable[[str], Sequence[Passage]]
"""Finds the passages closest to a question, best first."""

QUESTION_TOKENS = 48
_KNOWN_PER_OTHER = 3
"""Known questions for each near one and each follow-up."""
_MIN_KNOWN = 20
"""If fewer known questions are left, and less than half of those requested, rules make them instead."""
_NEAR_PASSAGES = 5
"""Passages that must not answer a near question."""

_SAME_MODEL = (
    "warning: an endpoint wrote these questions, and the search uses answers.wordings; if the same model wrote both, "
    "the numbers are too good"
)


@dataclass(slots=True)
class Draft:
    """Questions, and counts of those that a model wrote."""

    questions: list[Question] = field(default_factory=list)
    written: int = 0
    """Number of questions requested from a model."""
    dropped: Counter[str] = field(default_factory=Counter)
    """Reason -> number of written questions dropped for it."""
    notes: list[str] = field(default_factory=list)
    """Lines for the owner."""


def draft_questions(
    passages: Sequence[Passage],
    count: int,
    seed: int,
    language: str = "",
    writer: Endpoint | BaseWriter | None = None,
    search: Search | None = None,
) -> Draft:
    """Questions about a sample of the passages, and others that no passage answers.

    An endpoint writes known and near questions and follow-ups. A base model writes known ones only, because a small one
    cannot check the others; rules add follow-ups. Far and hostile questions are the same for all data.

    Args:
        passages: The owner's.
        count: Known questions to make, fewer if there are fewer passages.
        seed: Selects the passages.
        language: ISO 639-1 code of the data.
        writer: Writes them; None lets rules make them.
        search: Finds the passages that a near question is checked against. Without it, there are no near questions.

    Raises:
        EndpointError: the endpoint failed.
    """
    wordings = {normalized(wording) for passage in passages for wording in passage.wordings}
    by_rules = questions_by_rules(passages, count, seed, language)
    by_rules = [question for question in by_rules if normalized(question.question) not in wordings]
    if writer is None:
        return Draft(by_rules)
    draft = Draft()
    _write(draft, passages, count, seed, writer, search)
    known = [question for question in draft.questions if question.kind == "known"]
    if len(known) < _MIN_KNOWN and 2 * len(known) < min(count, len(passages)):
        draft.questions = [question for question in draft.questions if question.kind != "known"]
        draft.questions += [question for question in by_rules if question.kind == "known"]
        draft.notes.append(f"only {len(known)} written questions passed the checks, so rules made the known ones")
    if not isinstance(writer, Endpoint):
        draft.questions += [question for question in by_rules if question.kind == "follow_up"]
    draft.questions += general_questions(language)
    if isinstance(writer, Endpoint) and any(passage.wordings for passage in passages):
        draft.notes.append(_SAME_MODEL)
    if draft.dropped:
        reasons = reasons_text(draft.dropped)
        draft.notes.append(f"{draft.dropped.total()} of {draft.written} written questions were dropped: {reasons}")
    return draft


@dataclass(frozen=True, slots=True)
class _Candidate:
    """A written question that may be dropped."""

    text: str
    passage: Passage
    first: str = ""
    """The question before a follow-up."""


def _write(
    draft: Draft,
    passages: Sequence[Passage],
    count: int,
    seed: int,
    writer: Endpoint | BaseWriter,
    search: Search | None,
) -> None:
    """Add the writer's questions that pass the checks."""
    order = list(passages)
    random.Random(seed).shuffle(order)
    checks = Checks(passages)
    known = _known(draft, order[:count], checks, writer)
    draft.questions += [Question(one.text, "known", one.passage.id, origin=writer.origin) for one in known]
    few = count // _KNOWN_PER_OTHER
    if isinstance(writer, Endpoint) and few:
        follow_ups = _follow_ups(draft, known[:few], checks, writer)
        draft.questions += [
            Question(one.text, "follow_up", one.passage.id, previous=(one.first,), origin=writer.origin)
            for one in follow_ups
        ]
        # From the end, so that they are about other passages if there are enough.
        near = _near(draft, order[-few:], checks, writer, search) if search else []
        draft.questions += [Question(one.text, "near", origin=writer.origin) for one in near]


def _known(
    draft: Draft, passages: Sequence[Passage], checks: Checks, writer: Endpoint | BaseWriter
) -> list[_Candidate]:
    prompts = [known_prompt(passage, style % len(STYLES)) for style, passage in enumerate(passages)]
    replies = _replies(draft, writer, prompts, "questions")
    candidates = [_Candidate(text, passage) for text, passage in zip(replies, passages, strict=True)]
    candidates = _kept(draft, candidates, [checks.problem(one.text, one.passage) for one in candidates])
    if isinstance(writer, BaseWriter):
        specific = are_specific(writer, [one.text for one in candidates], [one.passage for one in candidates])
        return _kept(draft, candidates, ["" if is_own else "fits other passages too" for is_own in specific])
    return _answered(draft, candidates, writer)


def _follow_ups(draft: Draft, known: Sequence[_Candidate], checks: Checks, writer: Endpoint) -> list[_Candidate]:
    prompts = [follow_up_prompt(one.passage, one.text) for one in known]
    replies = _replies(draft, writer, prompts, "follow-ups")
    candidates = [_Candidate(text, one.passage, one.text) for text, one in zip(replies, known, strict=True)]
    problems = [
        checks.problem(one.text, one.passage)
        or ("makes sense alone" if checks.makes_sense_alone(one.text, one.passage, one.first) else "")
        for one in candidates
    ]
    return _answered(draft, _kept(draft, candidates, problems), writer)


def _answered(draft: Draft, candidates: Sequence[_Candidate], writer: Endpoint) -> list[_Candidate]:
    """The candidates whose passage holds an answer that the writer can quote."""
    dialogues = [[one.first, one.text] if one.first else [one.text] for one in candidates]
    answered = are_answered(writer, dialogues, [[one.passage] for one in candidates], "checking their answers")
    return _kept(draft, candidates, ["" if is_answered else "no answer in the passage" for is_answered in answered])


def _near(
    draft: Draft, passages: Sequence[Passage], checks: Checks, writer: Endpoint, search: Search
) -> list[_Candidate]:
    replies = _replies(draft, writer, [near_prompt(passage) for passage in passages], "near questions")
    candidates = [_Candidate(text, passage) for text, passage in zip(replies, passages, strict=True)]
    candidates = _kept(draft, candidates, [checks.problem(one.text, one.passage) for one in candidates])
    closest = [
        [one.passage, *(passage for passage in search(one.text) if passage != one.passage)][:_NEAR_PASSAGES]
        for one in candidates
    ]
    answered = are_answered(writer, [[one.text] for one in candidates], closest, "checking near questions")
    return _kept(draft, candidates, ["" if is_answered is False else "may have an answer" for is_answered in answered])


def _replies(draft: Draft, writer: Writer, prompts: Sequence[Sequence[Message]], what: str) -> list[str]:
    draft.written += len(prompts)
    return [cleaned(reply) for reply in writer.replies(prompts, QUESTION_TOKENS, f"{writer.origin} writes {what}")]


def _kept(draft: Draft, candidates: Sequence[_Candidate], problems: Sequence[str]) -> list[_Candidate]:
    """The candidates without a problem, each text once. The draft counts the others."""
    kept: dict[tuple[str, str], _Candidate] = {}
    for candidate, problem in zip(candidates, problems, strict=True):
        key = (normalized(candidate.first), normalized(candidate.text))
        if problem or key in kept:
            draft.dropped[problem or "repeats another one"] += 1
        else:
            kept[key] = candidate
    return list(kept.values())
