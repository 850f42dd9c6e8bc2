"""Run the judge stage: turn a language model's replies about the answers into grades and measurements."""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tinsmith.assess.items import Item, read_items
from tinsmith.assess.judge_calls import Call, planned_calls
from tinsmith.assess.judge_file import Judge, Judgements, Reply
from tinsmith.assess.judge_prompts import read_grade
from tinsmith.assess.people import People, read_people
from tinsmith.assess.review_set import cluster_of
from tinsmith.core.measure import Recorder
from tinsmith.core.run_dir import write_json, write_text
from tinsmith.core.stage_context import StageContext, Summary
from tinsmith.derive.files import Files
from tinsmith.derive.judge import RULES
from tinsmith.derive.rules import record
from tinsmith.model import judgements
from tinsmith.model.grades import CRITERIA, CriterionName
from tinsmith.model.judgements import Row

GRADES_FILE = "grades.jsonl"


def record_judgements(
    evaluate_dir: Path, review_dir: Path, judgements_dir: Path, out_dir: Path, context: StageContext
) -> Summary:
    """Write `grades.jsonl` and `judge.json` from a judge's replies, and record its scores unless they are withheld.

    Writes and records nothing if nobody has judged, or if replies to the current answers are missing.

    Raises:
        ArtifactError: a file is not what its writer writes.
    """
    folder = Judgements(judgements_dir)
    judge = folder.judge()
    if judge is None:
        return ("no language model has judged the answers",)
    items = read_items(evaluate_dir)
    calls = planned_calls(items, judge.groups, judge.items, context.seed)
    replies = folder.replies()
    rows = grade_rows(items, calls, replies, read_people(review_dir))
    reasons = judgements.reasons_to_withhold(rows) if has_all_controls(calls, replies) else {}
    missing = sum(call.key not in replies for call in calls)
    if not calls or (missing and len(reasons) < len(CRITERIA)):
        return (
            f"{judge.model} has not judged all answers ({missing} of {len(calls)} are missing): tinsmith judge RUN",
        )
    lines = (json.dumps(row, ensure_ascii=False) for row in rows)
    write_text(out_dir / GRADES_FILE, "".join(f"{line}\n" for line in lines))
    write_json(out_dir / "judge.json", _record(judge, items, rows, reasons))
    record(context.recorder, RULES, Files.of_stage("judge", out_dir, context.seed))
    return tuple(_summary(judge, context.recorder, reasons))


def has_all_controls(calls: Sequence[Call], replies: Mapping[str, Reply]) -> bool:
    """Whether the judge has replied about every known reply, so that it is known whether its scores are withheld."""
    return all(call.key in replies for call in calls if call.control)


def grade_rows(items: Sequence[Item], calls: Sequence[Call], replies: Mapping[str, Reply], people: People) -> list[Row]:
    """The grade of each call that has a reply, in the order of the calls."""
    clusters = cluster_of(items)
    groups = {item.id: item.group for item in items}
    return [
        Row(
            item=call.item,
            cluster=clusters[call.item],
            group=groups[call.item],
            criterion=call.criterion,
            subject=call.subject,
            control=call.control,
            repeat=call.repeat,
            grade=read_grade(call.criterion, replies[call.key].text),
            people=people.get((call.item, call.subject, call.criterion)),
        )
        for call in calls
        if call.key in replies
    ]


def _record(
    judge: Judge, items: Sequence[Item], rows: Sequence[Row], reasons: Mapping[CriterionName, str]
) -> dict[str, Any]:
    """What a card says of the judge: who it is, what it was asked, and whether its scores are shown."""
    judged = {row["item"] for row in rows}
    subjects = sorted({row["subject"] for row in rows if row["subject"]})
    return {
        **asdict(judge),
        "items": len(judged),
        "groups": dict(Counter(item.group for item in items if item.id in judged)),
        "calls": len(rows),
        "temperature": 0,
        "withheld": dict(reasons),
        "corrected_by_people": {
            criterion: [subject for subject in subjects if judgements.has_labels(rows, criterion, subject)]
            for criterion in CRITERIA
            if criterion not in reasons
        },
    }


def _summary(judge: Judge, recorder: Recorder, reasons: Mapping[CriterionName, str]) -> list[str]:
    who = f"{judge.model} on {judge.host}"
    if len(reasons) == len(CRITERIA):
        return [f"the scores of {who} are withheld: {reasons[CRITERIA[0]]}"]
    values = {measurement.id: measurement for measurement in recorder.measurements}
    parts = [
        f"{criterion} {values[id].value:.1f}" for criterion in CRITERIA if (id := f"judge.{criterion}.int4") in values
    ]
    lines = [f"{who} judges int4: {', '.join(parts)} out of 10"]
    return lines + [f"{criterion} is withheld: {reason}" for criterion, reason in reasons.items()]
