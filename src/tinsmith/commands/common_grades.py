"""Grades by people and by a language model for the same questions in two runs."""

from collections import defaultdict
from collections.abc import Iterator, Mapping
from typing import Any

from tinsmith.card.evidence import Evidence
from tinsmith.commands.common_items import Pair, Pairing, prompts
from tinsmith.core.paired import Change, score_change
from tinsmith.model.grades import CRITERIA, CriterionName, points
from tinsmith.model.replies.asked import SUBJECTS

_OTHERS = {"review": "other people graded", "judge": "another language model graded"}


def grade_pairings(old: Evidence, new: Evidence) -> Iterator[tuple[str, Pairing]]:
    """Measurement id -> pairing of the points of each question's replies."""
    keys = [{asked.id: prompt for prompt, asked in prompts(evidence).items()} for evidence in (old, new)]
    for stage, others in _OTHERS.items():
        rows = [evidence.lines(stage, "grades.jsonl") for evidence in (old, new)]
        problem = "" if _graders(old, stage) == _graders(new, stage) else others
        for criterion in CRITERIA:
            for subject in SUBJECTS:
                sides = [
                    _points(of_run, prompt_of, criterion, subject) for of_run, prompt_of in zip(rows, keys, strict=True)
                ]
                if all(sides):
                    pairing = Pair(sides[0], sides[1], "questions").paired(_change, problem)
                    yield f"{stage}.{criterion}.{subject}", pairing


def _graders(evidence: Evidence, stage: str) -> Any:
    """Who graded: names of people, or the model and its address."""
    record = evidence.record(stage, f"{stage}.json") or {}
    if stage == "review":
        return sorted(rater["name"] for rater in record.get("raters", ()))
    return record.get("model"), record.get("host")


def _points(
    rows: list[dict[str, Any]], prompt_of: Mapping[str, str], criterion: CriterionName, subject: str
) -> dict[str, float]:
    """Prompt -> mean points of a subject's reply, over all who graded it."""
    by_prompt: dict[str, list[float]] = defaultdict(list)
    for row in rows:
        is_own = not row.get("control") and not row.get("repeat") and row["grade"] is not None
        if is_own and (row["criterion"], row["subject"]) == (criterion, subject) and row["item"] in prompt_of:
            by_prompt[prompt_of[row["item"]]].append(points(criterion, row["grade"]))
    return {prompt: sum(own) / len(own) for prompt, own in by_prompt.items()}


def _change(old: list[float], new: list[float]) -> Change:
    return score_change(old, new, [1] * len(old))
