"""What people said of the replies, as the review stage recorded it."""

from pathlib import Path

People = dict[tuple[str, str, str], int]
"""(item, subject, criterion) -> the grade that most people gave."""


def read_people(review_dir: Path) -> People:
    """Grades by people; empty if nobody has reviewed."""
    return {}
