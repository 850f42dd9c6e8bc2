"""Texts from a run that its owner may choose to publish."""

import random
from collections.abc import Sequence
from dataclasses import dataclass

from tinsmith.card.evidence import Evidence
from tinsmith.card.examples import answer_texts, example_of
from tinsmith.core.config import MAX_QUESTION_CHARACTERS, CardExample
from tinsmith.model.conversations import Conversation
from tinsmith.model.facts import judge_facts
from tinsmith.model.replies.asked import Asked, all_asked

_QUESTIONS = 12
_EXAMPLES = 8


@dataclass(frozen=True, slots=True)
class QuestionCandidate:
    """A question that the chat page could suggest."""

    text: str
    category: str


@dataclass(frozen=True, slots=True)
class ExampleCandidate:
    """A question with its reference and answers that the card could show."""

    example: CardExample
    answers: dict[str, str]
    """By model, as the card would show them."""
    facts: str
    """How many of the reference's facts INT4 states, such as `1 of 3`."""


def question_candidates(conversations: Sequence[Conversation], seed: int) -> list[QuestionCandidate]:
    """Up to 12 different first questions, shuffled with `seed` and spread evenly over the categories."""
    order = list(range(len(conversations)))
    random.Random(seed).shuffle(order)
    counts: dict[str, int] = {}
    ranked = []
    for conversation in (conversations[index] for index in order):
        text = next(message.content for message in conversation.messages if message.role == "user").strip()
        if len(text) <= MAX_QUESTION_CHARACTERS:
            rank = counts.get(conversation.category, 0)
            counts[conversation.category] = rank + 1
            ranked.append((rank, QuestionCandidate(text, conversation.category)))
    # A stable sort: the first question of every category, then the second of every category, and so on.
    unique: dict[str, QuestionCandidate] = {}
    for _, candidate in sorted(ranked, key=lambda item: item[0]):
        unique.setdefault(candidate.text, candidate)
    return list(unique.values())[:_QUESTIONS]


def example_candidates(evidence: Evidence) -> list[ExampleCandidate]:
    """Up to 8 answered test questions, ranked by the share of facts that INT4 states.

    They come from both ends of the ranking: best, worst, second best, and so on.

    Answers whose reference has no facts come last, because they cannot be ranked.
    """
    lines = evidence.lines("evaluate", "answers.jsonl")
    asked = [one for one in all_asked(lines) if one.group == "held_out"]
    ranked = sorted((one for one in asked if one.facts), key=lambda one: _stated(one) / len(one.facts))
    ordered: list[Asked] = []
    while ranked:
        ordered.append(ranked.pop(-1 if len(ordered) % 2 == 0 else 0))
    ordered += [one for one in asked if not one.facts]
    return [_example(one) for one in ordered[:_EXAMPLES]]


def _example(one: Asked) -> ExampleCandidate:
    line = one.as_dict()
    return ExampleCandidate(example_of(line), answer_texts(line), f"{_stated(one)} of {len(one.facts)}")


def _stated(one: Asked) -> int:
    """Facts of the reference that INT4 states."""
    return judge_facts(one.facts, one.question, one.replies["int4"].text).count("stated")
