"""Run the review stage: turn imported reviews by people into records and measurements."""

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from tinsmith.assess.items import Item
from tinsmith.assess.review_file import Review, ReviewedFact, current_review, stored_reviews
from tinsmith.assess.review_set import ReviewSet, cluster_of, group_counts
from tinsmith.assess.rubric import rubric_sha256
from tinsmith.core.measure import Recorder
from tinsmith.core.run_dir import write_json, write_text
from tinsmith.core.stage_context import StageContext, Summary
from tinsmith.derive.files import Files
from tinsmith.derive.replies import withheld
from tinsmith.derive.review import FACTS, GRADES, RULES
from tinsmith.derive.rules import record
from tinsmith.model.grades import CRITERIA
from tinsmith.model.reviews import FactRow, GradeRow

Checked = list[tuple[Review, ReviewSet]]


def record_reviews(evaluate_dir: Path, reviews_dir: Path, out_dir: Path, context: StageContext) -> Summary:
    """Write `grades.jsonl`, `facts.jsonl` and `review.json` from the reviews of the current answers, and record scores.

    Writes and records nothing if nobody has reviewed them.

    Args:
        evaluate_dir: Holds `answers.jsonl`.
        reviews_dir: Imported reviews. Those of other answers are left out.
        out_dir: Existing and empty.
        context: Its seed is the run's.

    Raises:
        ArtifactError: an imported review no longer is what its rater saved.
    """
    stored = stored_reviews(reviews_dir)
    reviews = [pair for one in stored if (pair := current_review(one, evaluate_dir, context.seed))]
    left_out = len(stored) - len(reviews)
    notes = [f"reviews of other answers, left out: {left_out}"] if left_out else []
    if not reviews:
        return tuple(notes or ["nobody has reviewed the answers: tinsmith review RUN"])
    items = {item.id: item for _, shown in reviews for item in shown.items}
    clusters = cluster_of(list(items.values()))
    _write_lines(out_dir / GRADES.partition("/")[2], grade_rows(reviews, items, clusters))
    _write_lines(out_dir / FACTS.partition("/")[2], fact_rows(reviews, items, clusters))
    files = Files({"review": out_dir, "evaluate": evaluate_dir}.__getitem__, context.seed)
    reason = withheld(files)
    write_json(out_dir / "review.json", _record(reviews, items) | {"facts_withheld": reason})
    record(context.recorder, RULES, files)
    notes += [f"recall of confirmed facts is withheld: {reason}"] if reason else []
    return (*_summary(context.recorder, reviews), *notes)


def grade_rows(reviews: Checked, items: dict[str, Item], clusters: dict[str, str]) -> list[GradeRow]:
    """Every grade, by rater and item in the order in which they were given."""
    return [
        GradeRow(
            item=one.id,
            cluster=clusters[one.id],
            group=items[one.id].group,
            subject=shown.subjects_of(one.id)[reply.name],
            rater=number,
            criterion=criterion,
            grade=getattr(reply, criterion),
        )
        for number, (review, shown) in enumerate(reviews, start=1)
        for one in review.items
        for reply in one.replies
        for criterion in CRITERIA
    ]


def fact_rows(reviews: Checked, items: dict[str, Item], clusters: dict[str, str]) -> list[FactRow]:
    """The facts of each reviewed item: confirmed are those that more than half of its raters confirm."""
    verdicts: dict[str, list[list[ReviewedFact]]] = {}
    for review, _ in reviews:
        for one in review.items:
            verdicts.setdefault(one.id, []).append(one.facts)
    rows = []
    for id, by_rater in verdicts.items():
        confirmed, struck = [], []
        for number, fact in enumerate(items[id].facts):
            said = [facts[number] for facts in by_rater]
            if 2 * sum(bool(one.is_confirmed) for one in said) > len(said):
                forbidden = dict.fromkeys(text for one in said for text in one.forbidden)
                confirmed.append({**fact, "forbidden": list(forbidden)})
            else:
                struck.append(fact["text"])
        question = items[id].question
        rows.append(FactRow(item=id, cluster=clusters[id], question=question, facts=confirmed, struck=struck))
    return rows


def _record(reviews: Checked, items: dict[str, Item]) -> dict[str, Any]:
    """How many people reviewed what, and how. Their names are not here, because this file is published."""
    return {
        "definitions": "docs/review.md",
        "raters": [
            {
                "is_author": review.rater.is_author,
                "date": review.saved_at[:10],
                "items": len(review.items),
                "of_items": len(shown.items),
                "subjects": list(review.of),
            }
            for review, shown in reviews
        ],
        "items": len({one.id for review, _ in reviews for one in review.items}),
        "groups": group_counts([items[id] for id in {one.id for review, _ in reviews for one in review.items}]),
        "subjects": sorted({subject for review, _ in reviews for subject in review.of}),
        "is_blind": True,
        "order": "items and replies in a random order for each rater",
        "rubric_sha256": rubric_sha256(),
    }


def _summary(recorder: Recorder, reviews: Checked) -> list[str]:
    names = ", ".join(f"{r.rater.name} (the author)" if r.rater.is_author else r.rater.name for r, _ in reviews)
    values = {m.id: m for m in recorder.measurements}
    lines = [f"reviewed by {names}"]
    for subject in sorted({subject for review, _ in reviews for subject in review.of}):
        scores = [f"{criterion} {values[f'review.{criterion}.{subject}'].value:.1f}" for criterion in CRITERIA]
        count = values[f"review.{CRITERIA[0]}.{subject}"].count
        lines.append(f"{subject}: {', '.join(scores)} out of 10 ({count} items)")
    return lines


def _write_lines(path: Path, rows: Iterable[GradeRow] | Sequence[FactRow]) -> None:
    write_text(path, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))
