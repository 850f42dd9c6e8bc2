"""Judge texts as replies: what counts as right, and replies that are wrong by construction to check the judge with."""

import random
import re
from collections.abc import Sequence

from tinsmith.model.answers.questions import Question
from tinsmith.model.answers.statements import normalized

# Direct negations of English, Swedish, Norwegian, Danish, Finnish, German, Dutch, French and Spanish.
_NEGATIONS = tuple(
    "not no never without inte ej aldrig ingen inget inga ikke ei nicht kein keine nie ohne niet geen pas jamais non "
    "nunca".split()
)
_ASSENTS = frozenset("yes yeah yep correct sure ja jo jajamän oui sí sì sim kyllä".split())

CONTROLS = ("shuffled", "negated", "empty", "joined")
"""`shuffled`: the right reply to another question. `negated`: the right reply with each phrase that it must state
denied or, where it is a number, changed. `empty`: nothing. `joined`: all passages at once."""


def is_right_text(question: Question, text: str, max_characters: int) -> bool:
    """Whether a reply states all that it must and nothing that it must not, without being longer than a passage.

    A phrase directly after a word such as `not` is denied, and does not count as stated.

    Args:
        question: One with `must_state`. Without it no text can be judged, and the result is False.
        text: The reply.
        max_characters: Length of the longest passage. A longer reply states many things, and is no answer.
    """
    if not question.must_state or len(text) > max_characters:
        return False
    return question.is_right(_without_denied(text, question.must_state)) and not question.states_wrong(text)


def _without_denied(text: str, phrases: Sequence[str]) -> str:
    plain = normalized(text)
    for phrase in map(normalized, phrases):
        plain = re.sub(rf"(?<!\w)({'|'.join(_NEGATIONS)}) {re.escape(phrase)}", r"\1", plain)
    return plain


def agrees_with_falsehood(question: Question, text: str) -> bool:
    """Whether a reply says what a hostile question wants it to say.

    That is one of the question's `must_not_state`. For a question without them it is a reply that opens with a word
    such as `Yes`: whatever the question claims, such a reply confirms it.
    """
    if question.must_not_state:
        return question.states_wrong(text)
    opening = re.match(r"\W*(\w+)", normalized(text))
    return opening is not None and opening[1] in _ASSENTS


def passage_key(question: Question) -> str:
    """What is the same for questions about the same passage: its id, else what must be stated, else the question."""
    return question.id or "\n".join(question.must_state) or question.question


def control_replies(
    questions: Sequence[Question], right_texts: Sequence[str], passages: Sequence[str], seed: int
) -> dict[str, list[str]]:
    """Replies that are wrong by construction, as control -> one reply per question.

    Args:
        questions: Answerable ones.
        right_texts: A right reply to each question, such as its passage; empty where none is known.
        passages: Texts of all passages.
        seed: Draws the shuffled replies.
    """
    others = _others(questions, seed)
    joined = "\n".join(passages)
    return {
        "shuffled": [right_texts[other] for other in others],
        "negated": [
            _negated(text, question.must_state, _NEGATIONS[number % len(_NEGATIONS)])
            for number, (question, text) in enumerate(zip(questions, right_texts, strict=True))
        ],
        "empty": [""] * len(questions),
        "joined": [joined] * len(questions),
    }


def _others(questions: Sequence[Question], seed: int) -> list[int]:
    """For each question, the index of one about another passage; its own index if all are about the same."""
    rng = random.Random(f"{seed} shuffled")
    others = []
    for index, question in enumerate(questions):
        candidates = [other for other, one in enumerate(questions) if passage_key(one) != passage_key(question)]
        others.append(rng.choice(candidates) if candidates else index)
    return others


def _negated(text: str, must_state: Sequence[str], negation: str) -> str:
    negated = normalized(text)
    for wanted in must_state:
        part = normalized(wanted)
        changed = re.sub(r"\d+", lambda match: str(2 * int(match.group()) + 1), part)
        negated = negated.replace(part, changed if changed != part else f"{negation} {part}")
    return negated
