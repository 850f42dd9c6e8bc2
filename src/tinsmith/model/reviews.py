"""Scores out of 10 from grades by people, how far the people agree, and recall of the facts that they confirmed.

Functions take the rows of `review/grades.jsonl`, one for each grade, and of `review/facts.jsonl`, one for each item.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any, TypedDict

from tinsmith.core.agreement import krippendorff_alpha
from tinsmith.core.intervals import MIN_CLUSTERS, clustered_mean, clustered_wilson
from tinsmith.model.facts import Fact, judge_facts
from tinsmith.model.grades import GRADES, CriterionName, points
from tinsmith.model.judgements import Number


class GradeRow(TypedDict):
    """One grade."""

    item: str
    cluster: str
    """First item with the same reference answer. Items of a cluster are not independent."""
    group: str
    """`trained`, `reworded` or `held_out`."""
    subject: str
    """Whose reply."""
    rater: int
    """Number of a person, from 1; their place in `review/review.json`. Names stay in `imported/reviews/`."""
    criterion: CriterionName
    grade: int


class FactRow(TypedDict):
    """The facts of an item that people confirmed."""

    item: str
    cluster: str
    question: str
    facts: list[dict[str, Any]]
    """`Fact.as_dict` objects, with the values that people forbid."""
    struck: list[str]
    """Texts of the proposed facts that people struck."""


def score(rows: Sequence[GradeRow], criterion: CriterionName, subject: str) -> Number | None:
    """Mean points out of 10 of a subject's replies, with the number of items; None without grades.

    Every grade counts the same. Items with one reference and grades of one item by several raters are one cluster
    of the interval.
    """
    graded = [row for row in rows if (row["criterion"], row["subject"]) == (criterion, subject)]
    if not graded:
        return None
    values = [points(criterion, row["grade"]) for row in graded]
    clusters = [row["cluster"] for row in graded]
    if len(GRADES[criterion]) == 2:
        ends = clustered_wilson([value > 0 for value in values], clusters)
        spread = {end: 10 * value for end, value in ends.items()}
    else:
        spread = clustered_mean(values, clusters, high=10)
    return Number(sum(values) / len(values), len({row["item"] for row in graded}), spread)


def fact_share(rows: Sequence[FactRow], replies: Mapping[str, str]) -> Number | None:
    """Share of the confirmed facts that replies state, with their number; None if people confirmed none.

    Args:
        rows: The facts.
        replies: Item -> the subject's reply. Items without one are left out.
    """
    stated, clusters = [], []
    for row in rows:
        if row["item"] in replies:
            facts = [Fact.from_dict(fact) for fact in row["facts"]]
            verdicts = judge_facts(facts, row["question"], replies[row["item"]])
            stated += [verdict == "stated" for verdict in verdicts]
            clusters += [row["cluster"]] * len(facts)
    return Number(sum(stated) / len(stated), len(stated), clustered_wilson(stated, clusters)) if stated else None


def alpha(rows: Sequence[GradeRow], criterion: CriterionName) -> Number | None:
    """Krippendorff's alpha over replies that several people graded, with their number.

    None for fewer than `MIN_CLUSTERS` such replies, or if all their grades are equal, which says nothing of agreement.
    """
    units: dict[tuple[str, str], list[float | None]] = defaultdict(list)
    for row in rows:
        if row["criterion"] == criterion:
            units[row["item"], row["subject"]].append(row["grade"])
    shared = [grades for grades in units.values() if len(grades) > 1]
    value = krippendorff_alpha(shared, "nominal" if len(GRADES[criterion]) == 2 else "ordinal")
    return None if value is None or len(shared) < MIN_CLUSTERS else Number(value, len(shared))
