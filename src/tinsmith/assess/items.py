"""The questions and replies to assess, as the evaluate stage wrote them, in one order for people and judge."""

import json
import random
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tinsmith.core.errors import ArtifactError

GROUPS = ("trained", "reworded", "held_out")
"""Questions as trained on, in other words, and held out."""
MODELS = ("base", "tuned", "int4")
SUBJECTS = (*MODELS, "page")
"""Whose replies are assessed: three models, and what the page itself shows."""


@dataclass(frozen=True, slots=True)
class Item:
    """One question with its reference answer and the replies to it."""

    id: str
    group: str
    """`trained`, `reworded` or `held_out`."""
    question: str
    reference: str
    facts: tuple[dict[str, Any], ...]
    """Facts of the reference, as `Fact.as_dict` gives them."""
    replies: dict[str, str]
    """By subject; without `page` where the page was not asked."""
    system: str = ""
    """System message before the question; empty for none."""


def read_items(evaluate_dir: Path) -> list[Item]:
    """All items of `answers.jsonl`; empty if the stage asked no questions.

    Raises:
        ArtifactError: a line is not what the evaluate stage writes.
    """
    path = evaluate_dir / "answers.jsonl"
    if not path.exists():
        return []
    items = []
    for number, line in enumerate(path.read_text(encoding="utf-8").split("\n")[:-1], start=1):
        try:
            row = json.loads(line)
            replies = {subject: row[subject]["text"] for subject in SUBJECTS if row.get(subject) is not None}
            facts = tuple(row["facts"])
            texts = (row[key] for key in ("id", "group", "question", "reference"))
            items.append(Item(*texts, facts, replies, row["system"]))
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise ArtifactError(
                f"{path}:{number}: not an answer of the evaluate stage ({type(error).__name__}: {error})",
                "Run that stage again: tinsmith run CONFIG --from evaluate --force",
            ) from error
    return items


def in_random_order(items: list[Item], seed: int) -> list[Item]:
    """The items shuffled by `seed`. Whoever assesses only some takes the first, so that those of others overlap."""
    shuffled = sorted(items, key=lambda item: item.id)
    random.Random(f"{seed} assess").shuffle(shuffled)
    return shuffled
