"""The calls to a judge: every subject's replies, both orders of a comparison, repeats, and known replies."""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from tinsmith.assess.items import Item, in_random_order
from tinsmith.assess.judge_controls import known_replies
from tinsmith.assess.judge_prompts import grade_prompt, preference_prompt
from tinsmith.core.run_dir import combined_sha256
from tinsmith.model.grades import CRITERIA
from tinsmith.model.judgements import COMPARED, PREFERENCE

_REPEATED_SHARE = 0.1


@dataclass(frozen=True)
class Call:
    """One question to the judge."""

    item: str
    criterion: str
    """One of `CRITERIA`, or `preference`."""
    subject: str
    """Whose reply is graded; for a comparison the one shown first; empty for a known reply."""
    control: str
    """Kind of the known reply; empty for a subject's own."""
    repeat: int
    """0, or 1 where the same question is asked a second time."""
    prompt: str

    @cached_property
    def key(self) -> str:
        """Identifies the question: equal replies to the same question are judged once."""
        return combined_sha256([self.criterion, self.prompt, self.repeat])


def planned_calls(items: Sequence[Item], groups: Sequence[str], count: int, seed: int) -> list[Call]:
    """Every call for `count` of the items, in a fixed order: known replies first, which may spare the rest.

    Args:
        items: From `read_items`.
        groups: Those to judge.
        count: Items to judge at most.
        seed: Draws items, known replies and repeats.
    """
    drawn = [item for item in in_random_order(list(items), seed) if item.group in groups][:count]
    graded = [
        Call(item.id, criterion, subject, "", 0, grade_prompt(criterion, item.question, item.reference, reply))
        for item in drawn
        for subject, reply in item.replies.items()
        for criterion in CRITERIA
    ]
    rng = random.Random(f"{seed} repeats")
    repeats = [
        Call(call.item, call.criterion, call.subject, "", 1, call.prompt)
        for call in rng.sample(graded, round(_REPEATED_SHARE * len(graded)))
    ]
    return [*_control_calls(drawn, seed), *graded, *repeats, *_comparisons(drawn)]


def _control_calls(items: Sequence[Item], seed: int) -> list[Call]:
    return [
        Call(
            known.item.id,
            criterion,
            "",
            known.control,
            0,
            grade_prompt(criterion, known.item.question, known.item.reference, known.reply),
        )
        for known in known_replies(items, seed)
        for criterion in known.criteria
    ]


def _comparisons(items: Sequence[Item]) -> list[Call]:
    return [
        Call(item.id, PREFERENCE, first, "", 0, preference_prompt(item.question, item.reference, *texts))
        for item in items
        for first, second in (COMPARED, COMPARED[::-1])
        if (texts := (item.replies[first], item.replies[second]))
    ]
