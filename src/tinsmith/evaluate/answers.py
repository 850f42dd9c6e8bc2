"""Questions of all groups with the facts of their references and every subject's reply."""

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

from tinsmith.evaluate.generate import Question
from tinsmith.model.conversations import Conversation
from tinsmith.model.facts import Fact, facts_of, judge_facts
from tinsmith.model.facts.sentences import content_words
from tinsmith.model.facts.words import plain, tokens_of
from tinsmith.model.generation import Answer
from tinsmith.model.replies.asked import MODELS, Asked, PageReply

_MIN_SHARED = 0.5
"""Share of a question's content words, weighted by rarity, that a training answer on the same subject has at least."""


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
    seen = iter(_stated_in_training([questions[i] for i in held_out], [facts[i] for i in held_out], train))
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


def _stated_in_training(
    questions: Sequence[Question], facts: Sequence[Sequence[Fact]], train: Sequence[Conversation]
) -> list[list[bool]]:
    """For each question's facts, whether some training answer on the same subject states them.

    A training answer is on the subject if it and its question have at least half of the question's content words, rare
    words counting for more. Elsewhere, the same number in another matter would pass for the fact.
    """
    if not questions:
        return []
    asked = [_content_words(one.question) for one in questions]
    wanted = frozenset().union(*asked)
    counts: Counter[str] = Counter()
    total = 0
    for question, answer in _turns(train):
        counts.update(wanted & _content_words(f"{question}\n{answer}"))
        total += 1
    weights = [{word: math.log((total + 1) / max(2, counts[word] + 1)) for word in words} for words in asked]
    needed = [_MIN_SHARED * math.fsum(of_words.values()) for of_words in weights]
    stated = [[False] * len(of_reference) for of_reference in facts]
    for question, answer in _turns(train):
        words = wanted & _content_words(f"{question}\n{answer}")
        for of_words, enough, of_reference, seen in zip(weights, needed, facts, stated, strict=True):
            if all(seen) or words.isdisjoint(of_words):
                continue
            shared = math.fsum(weight for word, weight in of_words.items() if word in words)
            if shared and shared >= enough:
                verdicts = judge_facts(of_reference, question, answer)
                seen[:] = [was or verdict == "stated" for was, verdict in zip(seen, verdicts, strict=True)]
    return stated


def _content_words(text: str) -> frozenset[str]:
    return content_words(tokens_of(plain(text)))


def _turns(conversations: Iterable[Conversation]) -> Iterator[tuple[str, str]]:
    for conversation in conversations:
        messages = [message for message in conversation.messages if message.role != "system"]
        for at in range(0, len(messages), 2):
            yield messages[at].content, messages[at + 1].content
