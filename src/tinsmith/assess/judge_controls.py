"""Replies whose grade is known, to find out whether a judge can be trusted."""

import random
import re
from collections.abc import Sequence
from dataclasses import dataclass

from tinsmith.assess.items import Item
from tinsmith.model.grades import CRITERIA, CriterionName

MAX_CONTROLS = 20
"""Items that known replies are made for."""

_NUMBER = re.compile(r"\d+(?:[.,]\d+)*")
_VERDICTS: tuple[CriterionName, ...] = ("accuracy", "factual")


@dataclass(frozen=True, slots=True)
class Known:
    """A reply to an item whose grade is known, and the criteria to ask about."""

    item: Item
    control: str
    reply: str
    criteria: tuple[CriterionName, ...]


def known_replies(items: Sequence[Item], seed: int) -> list[Known]:
    """Known replies to up to `MAX_CONTROLS` items, those first in which facts can be swapped.

    - `reference`: the reference answer itself, the only good one.
    - `swapped`: the reference with numbers and names of another one.
    - `negated`: the reference, called false.
    - `other`: the reference answer to another question. All its facts may be right, so `factual` is not asked.
    - `empty`: nothing.
    - `padded`: the reference with its first half said again. It must not be graded above the reference.
    """
    rng = random.Random(f"{seed} known replies")
    with_swaps = [(item, *partner) for item in items if (partner := _partner(items, item, rng))]
    with_swaps.sort(key=lambda known: not known[2])  # stable: those without come last
    return [
        Known(item, control, reply, criteria)
        for item, other, swap in with_swaps[:MAX_CONTROLS]
        for control, reply, criteria in (
            ("reference", item.reference, CRITERIA),
            ("swapped", swap, CRITERIA),
            ("negated", f"None of this is true: {item.reference}", _VERDICTS),
            ("other", other.reference, ("accuracy", "quality")),
            ("empty", "", CRITERIA),
            ("padded", padded(item.reference), ("quality",)),
        )
        if reply or control == "empty"
    ]


def _partner(items: Sequence[Item], item: Item, rng: random.Random) -> tuple[Item, str] | None:
    """Another item, and the item's reference with that one's facts; one that has such facts if there is any."""
    others = [other for other in items if other.reference != item.reference and other.question != item.question]
    rng.shuffle(others)
    partners = ((other, swapped(item, other)) for other in others)
    return next((partner for partner in partners if partner[1]), (others[0], "") if others else None)


def swapped(item: Item, other: Item) -> str:
    """The item's reference with the numbers and names of another item; empty if it has none that could be swapped."""
    names = [fact["text"] for fact in item.facts if fact["kind"] == "name" and fact["text"] in item.reference]
    others = [fact["text"] for fact in other.facts if fact["kind"] == "name"]
    numbers = _replacements(_NUMBER.findall(item.reference), _NUMBER.findall(other.reference))
    text = _NUMBER.sub(lambda match: numbers.get(match[0], match[0]), item.reference)
    for name, replacement in _replacements(names, others).items():
        text = text.replace(name, replacement)
    return text if text != item.reference else ""


def _replacements(texts: Sequence[str], others: Sequence[str]) -> dict[str, str]:
    """A text of `others` for each of `texts`, none of which stays in place."""
    foreign = [other for other in dict.fromkeys(others) if other not in texts]
    return {text: foreign[at % len(foreign)] for at, text in enumerate(dict.fromkeys(texts))} if foreign else {}


def padded(reference: str) -> str:
    """The reference, half as long again without saying more."""
    words = reference.split()
    return f"{reference} To say that again: {' '.join(words[: (len(words) + 1) // 2])}"
