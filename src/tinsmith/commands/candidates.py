"""Texts from a run that its owner may choose to publish."""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tinsmith.card.evidence import Evidence
from tinsmith.card.examples import answer_texts, example_of
from tinsmith.core.config import MAX_QUESTION_CHARACTERS, CardExample
from tinsmith.model.conversations import Conversation

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
    key_facts: str
    """How many of the reference's key facts INT4 states, such as `1 of 3`."""


def question_candidates(conversations: Sequence[Conversation], seed: int) -> list[QuestionCandidate]:
    """Up to 12 different first questions, shuffled with `seed` and spread evenly over the categories."""
    order = list(conversations)
    random.Random(seed).shuffle(order)
    counts: dict[str, int] = {}
    ranked = []
    for conversation in order:
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
    """Up to 8 answered test questions, ranked by the share of key facts that INT4 states.

    They come from both ends of the ranking: best, worst, second best, and so on.

    Answers whose reference has no key facts come last, because they cannot be ranked.
    """
    answers = evidence.lines("evaluate", "answers.jsonl")
    ranked = sorted((a for a in answers if a["facts"]), key=lambda a: len(a["int4_facts"]) / len(a["facts"]))
    ordered: list[dict[str, Any]] = []
    while ranked:
        ordered.append(ranked.pop(-1 if len(ordered) % 2 == 0 else 0))
    ordered += [answer for answer in answers if not answer["facts"]]
    return [_example(answer) for answer in ordered[:_EXAMPLES]]


def _example(answer: dict[str, Any]) -> ExampleCandidate:
    key_facts = f"{len(answer['int4_facts'])} of {len(answer['facts'])}"
    return ExampleCandidate(example_of(answer), answer_texts(answer), key_facts)
