"""The items of a review: which questions and replies a page shows, under names that do not say whose they are.

Everything follows from `evaluate/answers.jsonl` and a `Choice`, so nothing has to be kept until reviews come back.
Names of replies are keyed with the file's content, so that whoever has only the page cannot tell whose a reply is.
"""

import hashlib
import hmac
import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tinsmith.assess.items import Item, in_random_order, read_items
from tinsmith.assess.rubric import rubric_json, rubric_sha256
from tinsmith.core.errors import UserError
from tinsmith.core.run_dir import combined_sha256
from tinsmith.model.replies.asked import SUBJECTS

REFERENCE = "reference"
"""The owner's own answer as a hidden reply: raters who read with care give it good grades."""
REVIEWED = (*SUBJECTS, REFERENCE)
"""Whose replies may be reviewed."""
MIN_ITEMS = 20
"""Items that a review has at least, where the run has so many."""
MAX_ITEMS = 60


@dataclass(frozen=True, slots=True)
class Choice:
    """What a page was asked to show."""

    subjects: tuple[str, ...]
    groups: tuple[str, ...]
    count: int
    """Largest number of items."""


@dataclass(frozen=True, slots=True)
class ReviewSet:
    """The items of a page."""

    choice: Choice
    items: tuple[Item, ...]
    """With a reply of every chosen subject."""
    _key: bytes

    @property
    def code(self) -> str:
        """Key of the page's signature, in hexadecimal."""
        return self._name("signature")

    def reply_name(self, item_id: str, subject: str) -> str:
        """Name of a subject's reply, which does not say whose it is."""
        return self._name("reply", item_id, subject)[:16]

    def subjects_of(self, item_id: str) -> dict[str, str]:
        """Name of a reply -> whose it is."""
        return {self.reply_name(item_id, subject): subject for subject in self.choice.subjects}

    @property
    def sha256(self) -> str:
        """Digest of all that raters are shown."""
        return combined_sha256([rubric_sha256(), self._shown()])

    def page_data(self, run: str) -> dict[str, Any]:
        """All that a page shows, as JSON-able values.

        Args:
            run: The run's name.
        """
        choice = {"of": self.choice.subjects, "groups": self.choice.groups, "count": self.choice.count}
        names = {"run": run, "set": self.sha256, "code": self.code, "min_items": min(MIN_ITEMS, len(self.items))}
        return names | choice | {"criteria": rubric_json(), "items": self._shown()}

    def _shown(self) -> list[dict[str, Any]]:
        return [
            {
                "id": item.id,
                "system": item.system,
                "question": item.question,
                "reference": item.reference,
                "facts": [{"text": fact["text"], "about": fact_context(fact, item.reference)} for fact in item.facts],
                "replies": sorted(
                    ({"name": self.reply_name(item.id, s), "text": item.replies[s]} for s in self.choice.subjects),
                    key=lambda reply: reply["name"],
                ),
            }
            for item in self.items
        ]

    def _name(self, *parts: str) -> str:
        return hmac.new(self._key, json.dumps(parts).encode(), hashlib.sha256).hexdigest()


def review_set(evaluate_dir: Path, choice: Choice, seed: int) -> ReviewSet:
    """The items that the evaluate stage's answers give for a choice.

    Raises:
        UserError: there are no such items.
        ArtifactError: the answers cannot be read.
    """
    items = [
        replace(item, replies=item.replies | {REFERENCE: item.reference})
        for item in in_random_order(read_items(evaluate_dir), seed)
        if item.group in choice.groups
    ]
    complete = [item for item in items if all(subject in item.replies for subject in choice.subjects)]
    if not complete:
        raise UserError(_why_none(items, choice), "Choose others with --of or --group, or raise evaluate.questions.")
    # The file's own hash stands on the card, so it must not be the key.
    content = (evaluate_dir / "answers.jsonl").read_bytes()
    key = hashlib.sha256(b"names of replies in a blind review\n" + content).digest()
    return ReviewSet(choice, tuple(complete[: choice.count]), key)


_BOUNDS = {"min": "at least", "max": "at most", "over": "more than", "under": "less than", "about": "about"}
_CONTEXT_WORDS = 4


def fact_context(fact: Mapping[str, Any], reference: str) -> str:
    """What a fact is about, such as `at most, work, completed`: two facts of a reference may have the same text.

    Args:
        fact: An object of `Fact.as_dict`. Its slot has stems; the words of the reference with these stems are shown.
        reference: The owner's answer.
    """
    stems = tuple(fact["slot"])
    words = (word.lower() for word in re.findall(r"[^\W_]+(?:-[^\W_]+)*", reference))
    context = list(dict.fromkeys(word for word in words if word.startswith(stems)))[:_CONTEXT_WORDS]
    return ", ".join(filter(None, ("not" * fact["denied"], _BOUNDS.get(fact["bound"]), *context)))


def _why_none(items: Sequence[Item], choice: Choice) -> str:
    if not items:
        return f"the run asked no questions of the group {' or '.join(choice.groups)}"
    missing = sorted({subject for item in items for subject in choice.subjects if subject not in item.replies})
    return f"no question has replies of {' and '.join(choice.subjects)}: there are none of {', '.join(missing)}"


def group_counts(items: Sequence[Item]) -> dict[str, int]:
    """Number of items of each group that has any."""
    return dict(sorted(Counter(item.group for item in items).items()))


def cluster_of(items: Sequence[Item]) -> dict[str, str]:
    """Item -> the first item with the same reference. Items of a cluster are not independent."""
    first: dict[str, str] = {}
    return {item.id: first.setdefault(item.reference, item.id) for item in items}
