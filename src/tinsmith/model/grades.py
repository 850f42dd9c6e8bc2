"""The grades that people and judges give, and what each is worth out of 10."""

from typing import Literal, get_args

CriterionName = Literal["accuracy", "factual", "quality"]
CRITERIA: tuple[CriterionName, ...] = get_args(CriterionName)

GRADES: dict[CriterionName, tuple[int, ...]] = {"accuracy": (0, 1), "factual": (0, 1), "quality": (1, 2, 3, 4, 5)}
"""The grades of each criterion, from worst to best. 0 and 1 are no and yes."""


def points(criterion: CriterionName, grade: int) -> float:
    """What a grade is worth out of 10: the worst 0, the best 10, those between in equal steps.

    Raises:
        ValueError: the criterion has no such grade.
    """
    grades = GRADES[criterion]
    if grade not in grades:
        raise ValueError(f"{criterion} has no grade {grade!r}, only {', '.join(map(str, grades))}")
    return 10 * grades.index(grade) / (len(grades) - 1)
