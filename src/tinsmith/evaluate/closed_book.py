"""The model alone on questions that the owner's words answer, beside what the page offers for the same questions.

Closed book: the model sees its system prompt and the question, and no passage.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tinsmith.core.run_dir import write_text
from tinsmith.evaluate.generate import Question
from tinsmith.evaluate.groups import draw
from tinsmith.model.answers.judge import is_right_text
from tinsmith.model.answers.rates import Outcome, passed_controls, rates, withheld_reason
from tinsmith.model.generation import Answer

FILE = "closed_book.jsonl"
QUESTIONS = 24
"""Known questions that the model is asked. Two cores answer one in about a second."""


def closed_book_sample(outcomes: Sequence[Outcome], seed: int) -> list[Outcome]:
    """Up to `QUESTIONS` known questions whose right answer can be told from its text, drawn by `seed`.

    Args:
        outcomes: Of the knowledge stage's measuring questions.
        seed: Of the sample.
    """
    known = [outcome for outcome in outcomes if outcome.question.kind == "known" and outcome.question.must_state]
    return draw(known, QUESTIONS, f"{seed} closed book")


def closed_book_questions(sample: Sequence[Outcome], system: str) -> list[Question]:
    """The sample's questions after a system message."""
    return [Question(str(number), "", one.question.question, system, "") for number, one in enumerate(sample)]


def write_closed_book(sample: Sequence[Outcome], answers: Sequence[Answer], out_dir: Path) -> dict[str, Any]:
    """Write `closed_book.jsonl`: whether the model alone and the page are right about the same questions.

    Returns:
        For the stage's record: `withheld`, which says why nothing was written; empty if it was.
    """
    if not sample:
        return {"withheld": "no known question says what its right answer must state"}
    passed = passed_controls({id: rate.share for id, rate in rates(sample).items()})
    if passed:
        return {"withheld": withheld_reason(passed)}
    lines = [
        _line(outcome) | {"text": answer.text, "right": _is_right(outcome, answer)}
        for outcome, answer in zip(sample, answers, strict=True)
    ]
    write_text(out_dir / FILE, "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines))
    return {"withheld": ""}


def _line(outcome: Outcome) -> dict[str, Any]:
    """A question with how it is judged, and whether the passage that the page offers first is right."""
    question = outcome.question
    return {
        "question": question.question,
        "id": question.id,
        "must_state": list(question.must_state),
        "must_not_state": list(question.must_not_state),
        "max_characters": outcome.max_characters,
        "page_right": outcome.is_first_right,
    }


def _is_right(outcome: Outcome, answer: Answer) -> bool:
    return is_right_text(outcome.question, answer.text, outcome.max_characters)
