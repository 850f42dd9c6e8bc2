"""Numbers of the judge stage: a language model's grades."""

from collections.abc import Callable

from tinsmith.derive.files import Files
from tinsmith.derive.rules import Derived, Fields, Rule
from tinsmith.model import judgements
from tinsmith.model.grades import CRITERIA, CriterionName
from tinsmith.model.judgements import COMPARED, CONTROLS, Number, Row

GRADES = "judge/grades.jsonl"


def withheld(files: Files) -> dict[CriterionName, str]:
    """Criterion -> why the judge's scores are not shown; without those that are."""
    return judgements.reasons_to_withhold(_rows(files))


def score(files: Files, criterion: str, subject: str) -> Derived | None:
    """A subject's mean points; none if they are withheld. See `tinsmith.model.judgements.score`."""
    name = next(name for name in CRITERIA if name == criterion)
    if name in files.once(withheld):
        return None
    return _derived(judgements.score(_rows(files), name, subject, files.seed), "out of 10", "items")


def control(files: Files, control: str) -> Derived | None:
    """Share of known replies that the judge accepts. See `tinsmith.model.judgements.control`."""
    return _derived(judgements.control(_rows(files), control), "fraction", "known replies")


def consistency(files: Files) -> Derived | None:
    """Share of repeated calls with the same grade as the first time."""
    return _derived(judgements.consistency(_rows(files)), "fraction", "repeated calls")


def order_consistency(files: Files) -> Derived | None:
    """Share of comparisons with the same winner in both orders."""
    return _derived(judgements.order_consistency(_rows(files)), "fraction", "comparisons")


def preferred(files: Files, subject: str) -> Derived | None:
    """Share of comparisons that a subject wins in both orders; none if a score is withheld."""
    if files.once(withheld):
        return None
    return _derived(judgements.preferred(_rows(files), subject), "fraction", "comparisons")


def agreement(files: Files, criterion: str) -> Derived | None:
    """Share of replies that the judge and people grade the same."""
    name = next(name for name in CRITERIA if name == criterion)
    return _derived(judgements.agreement(_rows(files), name), "fraction", "replies")


def _rows(files: Files) -> list[Row]:
    return files.lines(GRADES)


def _derived(number: Number | None, unit: str, count_of: str) -> Derived | None:
    return Derived(number.value, unit, number.count, count_of, number.spread) if number else None


def _each(name: str, values: tuple[str, ...]) -> Callable[[Files], list[Fields]]:
    return lambda files: [{name: value} for value in values] if files.has(GRADES) else []


def _scores(files: Files) -> list[Fields]:
    subjects = sorted({row["subject"] for row in _rows(files)} - {""}) if files.has(GRADES) else []
    return [{"criterion": criterion, "subject": subject} for criterion in CRITERIA for subject in subjects]


RULES = (
    Rule("judge.control.{control}", GRADES, control, _each("control", CONTROLS)),
    Rule("judge.consistency", GRADES, consistency),
    Rule("judge.order_consistency", GRADES, order_consistency),
    Rule("judge.preferred.{subject}", GRADES, preferred, _each("subject", COMPARED)),
    Rule("judge.agreement.{criterion}", GRADES, agreement, _each("criterion", CRITERIA)),
    Rule("judge.{criterion}.{subject}", GRADES, score, _scores),
)
"""The last pattern matches other ids too, so it comes last."""
