"""What people said of the replies, as the review stage recorded it."""

from collections import Counter
from collections.abc import Mapping
from pathlib import Path

from tinsmith.derive.files import Files

GRADES = "review/grades.jsonl"

People = Mapping[tuple[str, str, str], int]
"""(item, subject, criterion) -> the grade that more than half of the raters gave."""


def read_people(review_dir: Path) -> People:
    """Grades that more than half of a reply's raters gave; empty if nobody has reviewed.

    Raises:
        ArtifactError: the stage's file is not JSONL.
    """
    files = Files.of_stage("review", review_dir)
    if not files.has(GRADES):
        return {}
    grades: dict[tuple[str, str, str], Counter[int]] = {}
    for row in files.lines(GRADES):
        grades.setdefault((row["item"], row["subject"], row["criterion"]), Counter())[row["grade"]] += 1
    most_common = {key: counts.most_common(1)[0] for key, counts in grades.items()}
    return {key: grade for key, (grade, count) in most_common.items() if 2 * count > grades[key].total()}
