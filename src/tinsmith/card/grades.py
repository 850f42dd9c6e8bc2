"""The template's three grades out of ten: by people, else by a judge that people corrected, else what to type."""

from tinsmith.card.evidence import required
from tinsmith.card.facts import Facts, plain

_SUBJECTS = ("page", "int4", "tuned")
"""What visitors read comes first."""


def grade(facts: Facts, criterion: str) -> str:
    """A grade as `7.8 / 10 (7.1 to 8.4; 20 items, judged by 2 people)`, or how to get one."""
    for source, who in (("review", _people), ("judge", _corrected_judge)):
        for subject in _SUBJECTS:
            id = f"{source}.{criterion}.{subject}"
            by = who(facts, criterion, subject) if facts.has(id) else ""
            if by:
                interval = f"{facts.interval(id)}; " if facts.interval(id) else ""
                return f"{facts.value(id)} / 10 ({interval}{facts.rests_on(id)}, judged by {by})"
    return f"Not assessed: type `tinsmith review {facts.run_path}` and let people judge"


def _people(facts: Facts, criterion: str, subject: str) -> str:
    """Such as `2 people, one of them the author`."""
    raters = facts.raw("review", "review.json", "raters") or []
    authors = sum(bool(required(rater, "is_author", "review/review.json")) for rater in raters)
    text = "1 person" if len(raters) == 1 else f"{len(raters)} people"
    if authors:
        text += ", the author" if len(raters) == 1 else ", one of them the author"
    return facts.recorded_value("review", "review.json", "raters", text)


def _corrected_judge(facts: Facts, criterion: str, subject: str) -> str:
    """The judge's name, or empty if people have not corrected this grade of it."""
    if subject not in (facts.raw("judge", "judge.json", f"corrected_by_people.{criterion}") or []):
        return ""
    model = plain(facts.raw("judge", "judge.json", "model"))
    text = f"the language model {model}, corrected by people"
    return facts.recorded_value("judge", "judge.json", f"corrected_by_people.{criterion}", text)
