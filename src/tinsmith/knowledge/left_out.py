"""Near questions made from the owner's known ones, by leaving out the passages that answer them."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from tinsmith.model.answers.questions import Question
from tinsmith.model.answers.rates import is_right
from tinsmith.model.passages import Passage


@dataclass(frozen=True, slots=True)
class MeasuringQuestion:
    """A question to measure by, and the passages that are left out when it is asked."""

    question: Question
    left_out: frozenset[int] = frozenset()
    """Indices of passages."""


def near_by_leaving_out(questions: Sequence[Question], passages: Sequence[Passage]) -> list[MeasuringQuestion]:
    """Known questions turned into near ones of origin `rules`, each without the passages that answer it.

    Only questions with `must_state` are used: an `id` alone does not tell which other passages answer them too.
    """
    longest = max(len(passage.text) for passage in passages)
    near = []
    for question in questions:
        if question.kind == "known" and question.must_state:
            answering = [at for at, passage in enumerate(passages) if is_right(question, passage, longest)]
            if len(answering) < len(passages):
                unanswered = replace(question, kind="near", id="", must_state=(), must_not_state=(), origin="rules")
                near.append(MeasuringQuestion(unanswered, frozenset(answering)))
    return near
