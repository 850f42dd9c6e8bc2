"""The questions and replies to assess, as the evaluate stage wrote them, in one order for people and judge."""

import random
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tinsmith.derive.files import Files
from tinsmith.derive.replies import ANSWERS
from tinsmith.model.replies.asked import PAGE, Asked, all_asked


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
    files = Files.of_stage("evaluate", evaluate_dir)
    return [_item(one) for one in all_asked(files.lines(ANSWERS))] if files.has(ANSWERS) else []


def _item(one: Asked) -> Item:
    replies = {model: reply.text for model, reply in one.replies.items()}
    if one.page:
        replies[PAGE] = one.page.text
    facts = tuple(fact.as_dict() for fact in one.facts)
    return Item(one.id, one.group, one.question, one.reference, facts, replies, one.system)


def in_random_order(items: list[Item], seed: int) -> list[Item]:
    """The items shuffled by `seed`. Whoever assesses only some takes the first, so that those of others overlap."""
    shuffled = sorted(items, key=lambda item: item.id)
    random.Random(f"{seed} assess").shuffle(shuffled)
    return shuffled
