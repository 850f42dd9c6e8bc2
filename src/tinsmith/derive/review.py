"""Numbers of the review stage."""

from collections.abc import Iterable

from tinsmith.derive.files import Files
from tinsmith.derive.replies import ANSWERS, withheld
from tinsmith.derive.rules import Derived, Fields, Rule
from tinsmith.model import reviews
from tinsmith.model.grades import CRITERIA, CriterionName
from tinsmith.model.judgements import Number
from tinsmith.model.replies.asked import SUBJECTS, all_asked

GRADES = "review/grades.jsonl"
FACTS = "review/facts.jsonl"


def score(files: Files, criterion: CriterionName, subject: str) -> Derived | None:
    """Mean points out of 10 that people gave a subject's replies."""
    return _derived(reviews.score(files.lines(GRADES), criterion, subject), "out of 10", "items")


def group_score(files: Files, criterion: CriterionName, group: str, subject: str) -> Derived | None:
    """The same, of the items of one group."""
    rows = [row for row in files.lines(GRADES) if row["group"] == group]
    return _derived(reviews.score(rows, criterion, subject), "out of 10", "items")


def alpha(files: Files, criterion: CriterionName) -> Derived | None:
    """Krippendorff's alpha over the replies that several people graded."""
    return _derived(reviews.alpha(files.lines(GRADES), criterion), "alpha", "replies")


def fact_share(files: Files, subject: str) -> Derived | None:
    """Share of the facts that people confirmed which a subject's replies state; None if such scores are withheld."""
    if withheld(files):
        return None
    texts = {
        one.id: text for one in all_asked(files.lines(ANSWERS), ANSWERS) if (text := one.text(subject)) is not None
    }
    return _derived(reviews.fact_share(files.lines(FACTS), texts), "fraction", "facts")


def rater_count(files: Files) -> Derived:
    """People whose reviews count."""
    rows = files.lines(GRADES)
    return Derived(len({row["rater"] for row in rows}), "count", len({row["item"] for row in rows}), "items")


def _derived(number: Number | None, unit: str, count_of: str) -> Derived | None:
    return None if number is None else Derived(number.value, unit, number.count, count_of, number.spread)


def _scores(files: Files) -> Iterable[Fields]:
    subjects = sorted({row["subject"] for row in _rows(files)})
    return [{"criterion": criterion, "subject": subject} for criterion in CRITERIA for subject in subjects]


def _group_scores(files: Files) -> Iterable[Fields]:
    """One group alone has no scores of its own: they are those of all items."""
    groups = sorted({row["group"] for row in _rows(files)})
    return [fields | {"group": group} for fields in _scores(files) for group in groups if len(groups) > 1]


def _criteria(files: Files) -> Iterable[Fields]:
    return [{"criterion": criterion} for criterion in CRITERIA if _rows(files)]


def _subjects(files: Files) -> Iterable[Fields]:
    return [{"subject": subject} for subject in SUBJECTS if files.has(FACTS)]


def _rows(files: Files) -> list[reviews.GradeRow]:
    return files.lines(GRADES) if files.has(GRADES) else []


RULES = (
    Rule("review.raters", GRADES, rater_count),
    Rule("review.alpha.{criterion}", GRADES, alpha, _criteria),
    Rule("review.facts.{subject}", FACTS, fact_share, _subjects),
    Rule("review.{criterion}.{subject}", GRADES, score, _scores),
    Rule("review.{criterion}.{group}.{subject}", GRADES, group_score, _group_scores),
)
