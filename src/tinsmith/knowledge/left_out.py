"""Near questions without anybody writing them: the owner's known ones, with the passages that answer them left out."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from tinsmith.model.answers.questions import Question
from tinsmith.model.answers.rates import is_right
from tinsmith.model.passages import Passage


@dataclass(frozen=True, slots=True)
class Asked:
    """A question, and the passages that are left out when it is asked."""

    question: Question
    left_out: frozenset[int] = frozenset()
    """Indices of passages."""


def near_by_leaving_out(questions: Sequence[Question], passages: Sequence[Passage]) -> list[Asked]:
    """Known questions as near ones, of origin `rules`, each asked without the passages that are right for it.

    Only questions with `must_state` count: by an `id` alone, nobody knows which other passages answer them too.
    """
    longest = max(len(passage.text) for passage in passages)
    near = []
    for question in questions:
        if question.kind == "known" and question.must_state:
            answering = [at for at, passage in enumerate(passages) if is_right(question, passage, longest)]
            if len(answering) < len(passages):
                unanswered = replace(question, kind="near", id="", must_state=(), must_not_state=(), origin="rules")
                near.append(Asked(unanswered, frozenset(answering)))
    return near
