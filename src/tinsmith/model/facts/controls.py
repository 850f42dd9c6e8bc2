"""Replies that are wrong by construction. A judge that accepts them measures nothing."""

import random
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from tinsmith.model.facts.fact import Fact
from tinsmith.model.facts.judge import judge_facts
from tinsmith.model.facts.mentions import value_mentions
from tinsmith.model.facts.words import plain

CONTROLS = ("reversed", "swapped", "negated", "soup")
MAX_CONTROL_RECALL = 0.1
"""Recall of a control from which a score is withheld."""
_DIGITS = re.compile(r"\d+(?:[.,\u00a0 ]\d+)*")
_SOUP_QUESTIONS = 5
"""Questions whose values a soup has, its own among them."""


@dataclass(frozen=True, slots=True)
class ControlReply:
    """A wrong reply to a question."""

    control: str
    question: str
    reply: str
    facts: tuple[Fact, ...]
    """All facts of the question's reference."""
    targets: tuple[Fact, ...]
    """Those that the reply does not state."""


def control_replies(
    questions: Sequence[str], references: Sequence[str], facts: Sequence[Sequence[Fact]], seed: int
) -> Iterator[ControlReply]:
    """Wrong replies to each question that has facts.

    - `reversed`: the reference with its numbers in reverse order; of the facts, the values that this changes.
    - `swapped`: the reference of another question; facts that both references have do not count.
    - `negated`: the reference after `It is false that`.
    - `soup`: the values and names of several questions in random order, its own among them.

    Args:
        questions: The questions.
        references: Their reference answers, in the same order.
        facts: The facts of each reference, from `facts_of`.
        seed: For the order of a soup.
    """
    generator = random.Random(seed)
    for index, (question, reference, own) in enumerate(zip(questions, references, facts, strict=True)):
        if not own:
            continue
        turned = reversed_numbers(reference)
        changed = _changed_values(own, turned)
        if changed:
            yield ControlReply("reversed", question, turned, tuple(own), changed)
        other = _other(index, references)
        if other is not None:
            shared = {fact.text for fact in facts[other]}
            targets = tuple(fact for fact in own if fact.text not in shared and fact.kind != "answer")
            yield ControlReply("swapped", question, references[other], tuple(own), targets)
        denied = f"It is false that {reference[:1].lower()}{reference[1:]}"
        yield ControlReply("negated", question, denied, tuple(own), tuple(own))
        parts = [fact.text for fact in own if fact.kind in ("value", "name")]
        if parts:
            for step in range(1, _SOUP_QUESTIONS):
                parts += [f.text for f in facts[(index + step) % len(facts)] if f.kind in ("value", "name")]
            generator.shuffle(parts)
            targets = tuple(fact for fact in own if fact.kind in ("value", "name"))
            yield ControlReply("soup", question, ", ".join(parts), tuple(own), targets)


def reversed_numbers(text: str) -> str:
    """`text` with its numbers in reverse order, each in another's place."""
    numbers = _DIGITS.findall(text)
    following = iter(reversed(numbers))
    return _DIGITS.sub(lambda _: next(following), text)


def _changed_values(facts: Sequence[Fact], turned: str) -> tuple[Fact, ...]:
    """Values that no longer stand among the same words in the reversed text."""
    after = [
        (mention.value.without_place(), mention.slot) for mention in value_mentions(plain(turned)) if mention.value
    ]
    return tuple(fact for fact in facts if fact.value is not None and (fact.value, frozenset(fact.slot)) not in after)


def _other(index: int, references: Sequence[str]) -> int | None:
    """The next question with another reference."""
    count = len(references)
    places = ((index + step) % count for step in range(1, count))
    return next((place for place in places if references[place] != references[index]), None)


def control_recalls(replies: Sequence[ControlReply]) -> Mapping[str, tuple[int, int]]:
    """By control, how many of its facts are found to be stated, and how many it has."""
    counts = dict.fromkeys(CONTROLS, (0, 0))
    for reply in replies:
        verdicts = judge_facts(reply.facts, reply.question, reply.reply)
        stated = sum(
            verdict == "stated" and fact in reply.targets for fact, verdict in zip(reply.facts, verdicts, strict=True)
        )
        before = counts[reply.control]
        counts[reply.control] = (before[0] + stated, before[1] + len(reply.targets))
    return counts
