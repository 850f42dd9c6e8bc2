"""Choose the questions of each group, and say where they come from or why there are none."""

import random
from collections import Counter
from collections.abc import Container, Iterable, Sequence
from dataclasses import dataclass, replace
from hashlib import blake2b
from typing import Any, TypeVar

from tinsmith.evaluate.generate import Question, first_turn
from tinsmith.model.answers.rates import Outcome
from tinsmith.model.conversations import Conversation
from tinsmith.model.passages import Passage

T = TypeVar("T")

OUT_OF_SCOPE_KINDS = ("near", "far")
_BY_ORIGIN = {
    "owner": "the owner's measuring questions with the id of a training answer",
    "endpoint": "questions about training answers that an endpoint's model wrote",
    "base": "questions about training answers that the base model wrote",
    "rules": "questions that rules made from the words of training answers, which are easier than a visitor's",
}
"""Who wrote a measuring question -> where the group says that its questions come from; the best first."""
_WORDINGS = "wordings of training answers, which the page's index holds too"


@dataclass(frozen=True, slots=True)
class Group:
    """Questions of one group."""

    questions: tuple[Question, ...]
    source: str
    """Where they come from; empty if there are none."""
    reason: str = ""
    """Why there are none; empty if there are."""

    def as_dict(self) -> dict[str, Any]:
        """For the stage's record."""
        return {"questions": len(self.questions), "source": self.source, "reason": self.reason}


def trained_group(train: Sequence[Conversation], count: int, seed: int) -> Group:
    """First questions of training conversations, word for word."""
    questions = [replace(first_turn(one), group="trained") for one in draw(train, count, f"{seed} trained")]
    return _group(questions, "first questions of training conversations, word for word", "no questions were asked")


def held_out_group(test: Sequence[Conversation], count: int, seed: int) -> Group:
    """First questions of test conversations."""
    questions = [first_turn(one) for one in draw(test, count, f"{seed} questions")]
    return _group(questions, "first questions of test conversations", "no questions were asked")


def reworded_group(
    train: Sequence[Conversation],
    outcomes: Sequence[Outcome],
    passages: Sequence[Passage],
    preferred: Sequence[Outcome],
    count: int,
    seed: int,
) -> Group:
    """Questions in other words about training answers.

    Measuring questions come first, because the page's index holds none of them. Wordings are in the index, so the page
    finds their answers more easily. Questions that rules made are the last choice.

    Args:
        train: Training conversations.
        outcomes: Of the knowledge stage's measuring questions; they come before wordings unless rules made them.
        passages: With their wordings.
        preferred: Outcomes to take first, because the model answers them anyway.
        count: Largest number of questions.
        seed: Of the sample.
    """
    ids = {one.question.id for one in outcomes} | {passage.id for passage in passages if passage.wordings}
    turns = _training_turns(train, ids)
    known = [one for one in outcomes if one.question.kind == "known" and one.question.id in turns]
    by_origin = {origin: [one for one in known if one.question.origin == origin] for origin in _BY_ORIGIN}
    worded = [passage for passage in passages if passage.wordings and passage.id in turns]
    rng = random.Random(f"{seed} reworded")
    pairs: list[tuple[str, str]] = []
    source = ""
    for origin in ("owner", "endpoint", "base", "wordings", "rules"):
        if origin == "wordings":
            pairs = [(rng.choice(passage.wordings), passage.id) for passage in draw(worded, count, f"{seed} worded")]
            source = _WORDINGS
        else:
            first = [one for one in preferred if one in by_origin[origin]]
            others = [one for one in by_origin[origin] if one not in first]
            drawn = [*first, *rng.sample(others, len(others))]
            pairs = [(one.question.question, one.question.id) for one in drawn[:count]]
            source = _BY_ORIGIN[origin]
        if pairs:
            break
    questions = [
        replace(turns[id], id=f"{id}#reworded{number}", question=question, group="reworded")
        for number, (question, id) in enumerate(pairs, start=1)
    ]
    reason = "no measuring question has the id of a training answer, and no training answer has wordings"
    return _group(questions, source, reason if count else "no questions were asked")


def out_of_scope_questions(outcomes: Sequence[Outcome], system: str, count: int, seed: int) -> list[Question]:
    """Up to `count` near and `count` far questions, that no answer of the data fits.

    Near questions that rules made are known ones whose passages were hidden from the page. The model has learned their
    answers, so it is not asked them.
    """
    hidden = ("near", "rules")
    questions = []
    for kind in OUT_OF_SCOPE_KINDS:
        of_kind = [one.question for one in outcomes if one.question.kind == kind]
        asked = draw([one for one in of_kind if (kind, one.origin) != hidden], count, f"{seed} {kind}")
        questions += [
            Question(f"{kind}{number}", "", one.question, system, "", kind) for number, one in enumerate(asked, start=1)
        ]
    return questions


def usual_system(conversations: Sequence[Conversation]) -> str:
    """The system message that most conversations begin with; empty if most have none."""
    counts: Counter[bytes] = Counter()
    first: dict[bytes, int] = {}
    for index, conversation in enumerate(conversations):
        digest = blake2b(first_turn(conversation).system.encode(), digest_size=16).digest()
        counts[digest] += 1
        first.setdefault(digest, index)
    (usual, _), *_ = counts.most_common(1)
    return first_turn(conversations[first[usual]]).system


def draw(items: Sequence[T], size: int, seed: str) -> list[T]:
    """Up to `size` of `items`, drawn without replacement, in their original order."""
    indices = random.Random(seed).sample(range(len(items)), min(size, len(items)))
    return [items[index] for index in sorted(indices)]


def _group(questions: Sequence[Question], source: str, reason: str) -> Group:
    return Group(tuple(questions), source) if questions else Group((), "", reason)


def _training_turns(train: Iterable[Conversation], ids: Container[str]) -> dict[str, Question]:
    """Questions and answers of the training conversations, by the id that their passage has or would have."""
    turns = {}
    for conversation in train:
        first = first_turn(conversation)
        messages = [message for message in conversation.messages if message.role != "system"]
        for number, at in enumerate(range(0, len(messages), 2), start=1):
            id = conversation.id if number == 1 else f"{conversation.id}:turn {number}"
            if id in ids:
                turns[id] = replace(first, question=messages[at].content, reference=messages[at + 1].content)
    return turns
