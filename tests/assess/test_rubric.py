"""The rubric covers the grades that count, and each grade is worth what it says."""

import pytest

from tinsmith.assess.rubric import RUBRIC, rubric_json
from tinsmith.model.grades import CRITERIA, GRADES, points


def test_every_grade_has_a_meaning_and_no_two_are_alike():
    assert tuple(criterion.name for criterion in RUBRIC) == CRITERIA
    for criterion in RUBRIC:
        assert tuple(grade.value for grade in criterion.grades) == GRADES[criterion.name]
        assert len({grade.label for grade in criterion.grades}) == len(criterion.grades)
        assert len({grade.meaning for grade in criterion.grades}) == len(criterion.grades)


def test_the_worst_grade_is_worth_nothing_and_the_best_ten():
    assert [points("accuracy", grade) for grade in (0, 1)] == [0, 10]
    assert [points("quality", grade) for grade in (1, 2, 3, 4, 5)] == [0, 2.5, 5, 7.5, 10]
    assert [grade["points"] for grade in rubric_json()[2]["grades"]] == [0, 2.5, 5, 7.5, 10]


@pytest.mark.parametrize("grade", [0, 6, 2.5, None])
def test_no_other_grade_is_worth_anything(grade):
    with pytest.raises(ValueError, match="quality has no grade"):
        points("quality", grade)
