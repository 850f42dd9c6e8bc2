"""Answers to review, and reviews of them as a page would save them."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tinsmith.assess.items import Item
from tinsmith.assess.review_file import signature_of
from tinsmith.assess.review_set import Choice, ReviewSet, review_set
from tinsmith.model.facts import facts_of

SEED = 17
"""The configuration's default."""
CHOICE = Choice(("base", "int4"), ("held_out",), 40)


def answer(number: int, **more: Any) -> dict[str, Any]:
    """A line of `answers.jsonl`: tea number `number` costs so many crowns; int4 knows the price, base does not."""
    question, reference = f"What does tea number {number} cost?", f"It costs {20 + number} kr and weighs **500 g**."
    line = {
        "id": f"tea.json:{number}",
        "group": "held_out",
        "conversation": f"c{number}",
        "category": "prices",
        "system": "You sell tea.",
        "question": question,
        "reference": reference,
        "facts": [fact.as_dict() for fact in facts_of(reference, question, "", frozenset())],
        "base": reply("Tea is a drink.\n\n- hot\n- cold"),
        "tuned": reply(f"It costs {21 + number} kr."),
        "int4": reply(f"It costs {20 + number} kr."),
        "page": None,
    }
    return line | more


def reply(text: str) -> dict[str, Any]:
    """A model's reply."""
    return {"text": text, "tokens": 8, "stopped": True}


def write_answers(evaluate_dir: Path, lines: list[dict[str, Any]]) -> Path:
    """The folder of an evaluate stage with these lines."""
    evaluate_dir.mkdir(parents=True, exist_ok=True)
    text = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)
    (evaluate_dir / "answers.jsonl").write_text(text, encoding="utf-8")
    return evaluate_dir


Grader = Callable[[Item, str], tuple[int, int, int]]
"""(item, subject) -> accuracy, factual, quality."""


def by_text(item: Item, subject: str) -> tuple[int, int, int]:
    """The grades of a rater who reads: the price is right or it is not."""
    is_right = subject in ("int4", "reference")
    return int(is_right), int(is_right), 4 if is_right else 2


def unsigned(items: ReviewSet, rater: str, grade: Grader = by_text, is_author: bool = False) -> dict[str, Any]:
    """A complete review of all items, in the items' order."""
    reviewed = []
    for item in items.items:
        replies = []
        for name, subject in items.subjects_of(item.id).items():
            accuracy, factual, quality = grade(item, subject)
            replies.append({"name": name, "quality": quality, "accuracy": accuracy, "factual": factual})
        facts = [{"text": fact["text"], "is_confirmed": True, "forbidden": []} for fact in item.facts]
        reviewed.append({"id": item.id, "replies": replies, "facts": facts})
    return {
        "run": "tea-bot",
        "set": items.sha256,
        "of": list(items.choice.subjects),
        "groups": list(items.choice.groups),
        "count": items.choice.count,
        "rater": {"name": rater, "is_author": is_author},
        "started_at": "2026-11-27T20:00:00.000Z",
        "saved_at": "2026-11-27T20:40:00.000Z",
        "items": reviewed,
    }


def signed(review: dict[str, Any], code: str) -> dict[str, Any]:
    return {**review, "signature": signature_of(code, review)}


def write_review(path: Path, evaluate_dir: Path, rater: str, grade: Grader = by_text, **more: Any) -> Path:
    """A file as a page would save it."""
    items = review_set(evaluate_dir, CHOICE, SEED)
    document = signed(unsigned(items, rater, grade, **more), items.code)
    path.write_text(json.dumps(document, ensure_ascii=False, indent=1), encoding="utf-8")
    return path
