"""The questions that people and a judge answer about a reply, and the meaning of each grade, in the same words."""

from dataclasses import asdict, dataclass
from typing import Any

from tinsmith.core.run_dir import combined_sha256
from tinsmith.model.grades import CriterionName, points


@dataclass(frozen=True, slots=True)
class Grade:
    """One grade of a criterion."""

    value: int
    """As in `GRADES`."""
    label: str
    """A word or two, for a button."""
    meaning: str
    """When to give it, as a sentence."""


@dataclass(frozen=True, slots=True)
class Criterion:
    """One question about a reply and its possible grades."""

    name: CriterionName
    title: str
    question: str
    grades: tuple[Grade, ...]
    """From worst to best."""


RUBRIC: tuple[Criterion, ...] = (
    Criterion(
        "accuracy",
        "Accuracy",
        "Would an expert accept this reply as a correct answer to the question?",
        (
            Grade(0, "No", "It is wrong, answers another question, leaves out what was asked, or says nothing."),
            Grade(1, "Yes", "It answers what was asked, and what it says agrees with the reference answer."),
        ),
    ),
    Criterion(
        "factual",
        "Factual correctness",
        "Is every fact in this reply right?",
        (
            Grade(
                0,
                "No",
                "A number, name, date, condition or other claim contradicts the reference answer or is made up; or "
                "the reply states no fact at all.",
            ),
            Grade(
                1,
                "Yes",
                "It states at least one fact, and every fact agrees with the reference answer or is common knowledge. "
                "It may leave facts out.",
            ),
        ),
    ),
    Criterion(
        "quality",
        "Response quality",
        "How good is this reply for the person who asked?",
        (
            Grade(1, "Useless", "Empty, unreadable, repeating itself, or about something else."),
            Grade(2, "Poor", "On the subject, but it misleads or hardly helps."),
            Grade(3, "Fair", "Helps in part. Much is missing, unclear, or beside the point."),
            Grade(4, "Good", "Answers the question clearly. Small gaps, or longer than it needs to be."),
            Grade(5, "Excellent", "Answers the question fully, clearly and briefly, in a fitting tone."),
        ),
    ),
)
"""Longer is not better: none of the meanings rewards length."""


def rubric_sha256() -> str:
    """Digest of the whole rubric, so that judgements under other words are told apart."""
    return combined_sha256([asdict(criterion) for criterion in RUBRIC])


def rubric_json() -> list[dict[str, Any]]:
    """The rubric for a page: JSON-able criteria, each grade with its `points` out of 10."""
    return [
        asdict(criterion)
        | {"grades": [asdict(grade) | {"points": points(criterion.name, grade.value)} for grade in criterion.grades]}
        for criterion in RUBRIC
    ]
