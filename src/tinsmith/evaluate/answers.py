"""Questions of all groups with the facts of their references and every subject's reply."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from tinsmith.evaluate.generate import Question
from tinsmith.model.conversations import Conversation
from tinsmith.model.facts import Fact, facts_of, judge_facts
from tinsmith.model.generation import Answer
from tinsmith.model.replies.asked import MODELS, Asked, PageReply


def ask_all(
    questions: Sequence[Question],
    replies: Mapping[str, Sequence[Answer]],
    page: Sequence[PageReply] | None,
    train: Sequence[Conversation],
    common: frozenset[str],
) -> list[Asked]:
    """The questions with their facts and replies.

    Args:
        questions: Of all groups.
        replies: By model, in the order of the questions.
        page: The page's replies in the same order; None if it has no passages.
        train: Training conversations, in which facts of held-out references are looked up.
        common: Ordinary words that are not names.
    """
    facts = [facts_of(one.reference, one.question, one.system, common) for one in questions]
    held_out = [index for index, one in enumerate(questions) if one.group == "held_out"]
    seen = iter(_stated_in_training([facts[index] for index in held_out], train))
    asked = []
    for index, one in enumerate(questions):
        in_training = next(seen) if one.group == "held_out" else [True] * len(facts[index])
        asked.append(
            Asked(
                one.id,
                one.group,
                one.conversation,
                one.category,
                one.system,
                one.question,
                one.reference,
                tuple(replace(fact, in_training=flag) for fact, flag in zip(facts[index], in_training, strict=True)),
                {model: replies[model][index] for model in MODELS},
                page[index] if page else None,
            )
        )
    return asked


def _stated_in_training(facts: Sequence[Sequence[Fact]], train: Sequence[Conversation]) -> list[list[bool]]:
    """For each reference's facts, whether some training answer states them, as a reply to its own question."""
    flat = [fact for of_reference in facts for fact in of_reference]
    seen: set[int] = set()
    for question, answer in _turns(train):
        unseen = [index for index in range(len(flat)) if index not in seen]
        verdicts = judge_facts([flat[index] for index in unseen], question, answer)
        seen |= {index for index, verdict in zip(unseen, verdicts, strict=True) if verdict == "stated"}
    flags = iter(index in seen for index in range(len(flat)))
    return [[next(flags) for _ in of_reference] for of_reference in facts]


def _turns(conversations: Sequence[Conversation]) -> Iterator[tuple[str, str]]:
    for conversation in conversations:
        messages = [message for message in conversation.messages if message.role != "system"]
        for at in range(0, len(messages), 2):
            yield messages[at].content, messages[at + 1].content
