"""Scores out of 10 from a judge's grades, what is known of the judge, and when its scores are withheld.

All functions take the rows of `judge/grades.jsonl`, one for each call to the judge.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TypedDict

from tinsmith.core.double_sampling import MIN_LABELS, corrected_share
from tinsmith.core.intervals import clustered_mean, clustered_wilson
from tinsmith.model.grades import CRITERIA, GRADES, CriterionName, points

PREFERENCE = "preference"
"""The criterion that compares two replies. Its grades are 1 and 2 for the reply in that place, and 0 for neither."""
COMPARED = ("base", "int4")
"""The subjects whose replies are compared: before tuning, and what visitors get."""
KNOWN_BAD = ("swapped", "negated", "other", "empty")
"""Kinds of replies that a judge must not accept."""
CONTROLS = ("reference", *KNOWN_BAD, "padded")
"""All kinds of known replies."""
MAX_ACCEPTED = 0.1
"""Largest share of each kind of known-bad replies that a judge may accept."""
MIN_ACCEPTED = 0.9
"""Smallest share of reference answers that it must accept: a judge who rejects everything would pass all others."""
MAX_UNREADABLE = 0.1
"""Largest share of calls whose reply has no grade."""
MIN_CONTROLS = 10
"""Items with a known reply of a kind, below which nothing is known of a judge."""

_ACCEPTED_ABOVE = 5
"""Points above which a reply counts as accepted: yes, or 4 and 5 of 5."""


class Row(TypedDict):
    """One call to the judge."""

    item: str
    cluster: str
    """First item with the same reference answer. Items of a cluster are not independent."""
    group: str
    """`trained`, `reworded` or `held_out`."""
    criterion: str
    subject: str
    """Whose reply; for a preference the one shown first; empty for a known reply."""
    control: str
    """Kind of the known reply; empty for a subject's own."""
    repeat: int
    grade: int | None
    """None if the judge gave none."""
    people: int | None
    """The grade that most people gave the same reply; None if nobody did, or they did not agree."""


@dataclass(frozen=True, slots=True)
class Number:
    """A value with what it was computed from."""

    value: float
    count: int
    spread: dict[str, float] = field(default_factory=dict)


def score(rows: Sequence[Row], criterion: CriterionName, subject: str, seed: int) -> Number | None:
    """Mean points out of 10 of a subject's replies; of verdicts with enough labels, corrected by people's.

    None if no reply of the subject has a grade.

    Source: `tinsmith.core.double_sampling` for corrected verdicts; `tinsmith.core.intervals` over clusters for
    others.
    """
    graded = _graded(rows, criterion, subject)
    if not graded:
        return None
    values = [points(criterion, grade) for _, grade in graded]
    clusters = [row["cluster"] for row, _ in graded]
    if len(GRADES[criterion]) > 2:
        spread = clustered_mean(values, clusters, high=10)
        return Number(sum(values) / len(values), len(values), spread)
    accepted = [value > 0 for value in values]
    if has_labels(rows, criterion, subject):
        people = [None if row["people"] is None else row["people"] > 0 for row, _ in graded]
        share, spread = corrected_share(accepted, people, seed, len(set(clusters)) / len(clusters))
    else:
        share, spread = sum(accepted) / len(accepted), clustered_wilson(accepted, clusters)
    return Number(10 * share, len(values), {end: 10 * value for end, value in spread.items()})


def has_labels(rows: Sequence[Row], criterion: CriterionName, subject: str) -> bool:
    """Whether people graded enough of the same replies, of every group, for a correction of verdicts."""
    graded = [row for row, _ in _graded(rows, criterion, subject)]
    labelled = [row for row in graded if row["people"] is not None]
    has_all_groups = {row["group"] for row in labelled} == {row["group"] for row in graded}
    return len(GRADES[criterion]) == 2 and len(labelled) >= MIN_LABELS and has_all_groups


def control(rows: Sequence[Row], kind: str) -> Number | None:
    """Share of known replies of one kind that the judge accepts, over all criteria; None without any.

    Of `reference`, only verdicts count, because a reference may be brief. Of `padded`, the share that it grades above
    the reference itself.
    """
    known = [(row, row["grade"]) for row in rows if row["control"] == kind]
    if kind == "padded":
        plain = {row["item"]: row["grade"] for row in rows if row["control"] == "reference" and _is_quality(row)}
        pairs = [(row, grade, plain.get(row["item"])) for row, grade in known]
        graded = [(row, grade > other) for row, grade, other in pairs if grade is not None and other is not None]
    else:
        graded = [
            (row, _is_accepted(row, grade))
            for row, grade in known
            if grade is not None and not (kind == "reference" and _is_quality(row))
        ]
    return _share([is_accepted for _, is_accepted in graded], [row["item"] for row, _ in graded])


def consistency(rows: Sequence[Row]) -> Number | None:
    """Share of repeated calls with the same grade as the first time; None without any."""
    first = {_call(row): row["grade"] for row in rows if row["repeat"] == 0}
    repeats = [row for row in rows if row["repeat"]]
    return _share([first.get(_call(row)) == row["grade"] for row in repeats], [row["cluster"] for row in repeats])


def preferred(rows: Sequence[Row], subject: str) -> Number | None:
    """Share of comparisons that a subject wins in both orders; None without any.

    A reply that wins only when it is shown first, or only when it is shown second, does not count.
    """
    return _share([pair == [subject] for _, pair in _winners(rows)], [cluster for cluster, _ in _winners(rows)])


def order_consistency(rows: Sequence[Row]) -> Number | None:
    """Share of comparisons with the same winner, or none, in both orders; None without any."""
    return _share([len(pair) == 1 for _, pair in _winners(rows)], [cluster for cluster, _ in _winners(rows)])


def agreement(rows: Sequence[Row], criterion: CriterionName) -> Number | None:
    """Share of replies that the judge and people graded the same; None if people graded none."""
    both = [
        row
        for row in rows
        if _is_own(row) and row["criterion"] == criterion and None not in (row["people"], row["grade"])
    ]
    return _share([row["grade"] == row["people"] for row in both], [row["cluster"] for row in both])


def reasons_to_withhold(rows: Sequence[Row]) -> dict[CriterionName, str]:
    """Criterion -> why the judge's scores are not shown; without the criteria whose scores are."""
    reason = _reason(rows)
    if reason:
        return dict.fromkeys(CRITERIA, reason)
    longer = control(rows, "padded")
    if longer and longer.value > MAX_ACCEPTED:
        return {"quality": f"it grades {longer.value:.0%} of padded replies above the same replies without padding"}
    return {}


def _reason(rows: Sequence[Row]) -> str:
    """Why no score of this judge is shown; empty if they are."""
    unreadable = sum(row["grade"] is None for row in rows)
    if unreadable > MAX_UNREADABLE * len(rows):
        return f"{unreadable / len(rows):.0%} of its replies have no grade"
    for kind, text in zip(KNOWN_BAD, _BAD_TEXTS, strict=True):
        count = len({row["item"] for row in rows if row["control"] == kind})
        if count < MIN_CONTROLS:
            return f"it was asked about too few {text}: {count}, and {MIN_CONTROLS} are needed"
        share = control(rows, kind)
        if share and share.value > MAX_ACCEPTED:
            return f"it accepts {share.value:.0%} of {text}"
    share = control(rows, "reference")
    if not share or share.value < MIN_ACCEPTED:
        return f"it accepts only {share.value if share else 0:.0%} of reference answers"
    return ""


_BAD_TEXTS = (
    "replies with swapped facts",
    "negated replies",
    "replies to other questions",
    "empty replies",
)


def _graded(rows: Sequence[Row], criterion: str, subject: str) -> list[tuple[Row, int]]:
    return [
        (row, grade)
        for row in rows
        if _is_own(row) and (row["criterion"], row["subject"]) == (criterion, subject)
        if (grade := row["grade"]) is not None
    ]


def _is_own(row: Row) -> bool:
    """Whether the row is about a subject's own reply, asked for the first time."""
    return not row["control"] and not row["repeat"] and row["criterion"] != PREFERENCE


def _is_quality(row: Row) -> bool:
    return row["criterion"] == "quality"


def _is_accepted(row: Row, grade: int) -> bool:
    criterion = next(name for name in CRITERIA if name == row["criterion"])
    return points(criterion, grade) > _ACCEPTED_ABOVE


def _call(row: Row) -> tuple[str, str, str, str]:
    return row["item"], row["criterion"], row["subject"], row["control"]


def _winners(rows: Sequence[Row]) -> list[tuple[str, list[str]]]:
    """Cluster and winners of each item whose two grades can be read: one name, or one for each order.

    A draw has the empty name.
    """
    comparisons: dict[tuple[str, str], dict[str, int | None]] = defaultdict(dict)
    for row in rows:
        if row["criterion"] == PREFERENCE:
            comparisons[row["item"], row["cluster"]][row["subject"]] = row["grade"]
    winners = []
    for (_, cluster), grades in comparisons.items():
        if len(grades) == 2 and None not in grades.values():
            first, second = grades
            names = {first: ("", first, second), second: ("", second, first)}
            winners.append((cluster, sorted({names[subject][grade or 0] for subject, grade in grades.items()})))
    return winners


def _share(successes: Sequence[bool], clusters: Sequence[str]) -> Number | None:
    if not successes:
        return None
    return Number(sum(successes) / len(successes), len(successes), clustered_wilson(successes, clusters))
