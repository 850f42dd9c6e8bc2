"""Ask the writer whether a passage answers a written question.

The page's search takes no part in this: questions that it fails on are what measuring is for.
"""

from collections.abc import Sequence

from tinsmith.model.answers.statements import normalized, states_as_words
from tinsmith.model.passages import Passage
from tinsmith.model.writer.base import BaseWriter
from tinsmith.model.writer.checks import cleaned
from tinsmith.model.writer.endpoint import Endpoint
from tinsmith.model.writer.prompts import NOTHING, quote_prompt

_QUOTE_TOKENS = 300
_OTHERS = 3
"""Questions about other passages that each question is compared with."""
_MIN_GAIN = 5.0
"""Nats by which a passage must be likelier after its own question than after any of those. Measured in
docs/experiments/answers.md."""


def are_answered(
    writer: Endpoint, dialogues: Sequence[Sequence[str]], passages: Sequence[Sequence[Passage]], label: str
) -> list[bool | None]:
    """Whether the writer can quote an answer from the passages; None if it quotes words that are in none of them.

    Args:
        writer: Asked once for each.
        dialogues: Questions in the order asked; the last one is to be answered.
        passages: Those that may answer each dialogue.
        label: Names the progress bar.

    Raises:
        EndpointError: the endpoint failed.
    """
    prompts = [quote_prompt(questions, sources) for questions, sources in zip(dialogues, passages, strict=True)]
    replies = map(cleaned, writer.replies(prompts, _QUOTE_TOKENS, label))
    return [_verdict(reply, sources) for reply, sources in zip(replies, passages, strict=True)]


def _verdict(reply: str, passages: Sequence[Passage]) -> bool | None:
    quotation = reply.rstrip(".")
    if normalized(quotation) == normalized(NOTHING):
        return False
    return True if any(states_as_words(passage.text, quotation) for passage in passages) else None


def are_specific(writer: BaseWriter, questions: Sequence[str], passages: Sequence[Passage]) -> list[bool]:
    """Whether the model finds each passage likelier after its own question than after questions about others.

    Args:
        writer: The base model.
        questions: One about each passage. A single question has no others to compare with, and is not specific.
        passages: The passage of each question.
    """
    count = len(questions)
    shifts = range(1, min(_OTHERS, count - 1) + 1)
    if not shifts:
        return [False] * count
    texts = [passage.text for passage in passages]
    own = writer.likelihoods(questions, texts)
    others = [writer.likelihoods([questions[(at + shift) % count] for at in range(count)], texts) for shift in shifts]
    return [own[at] - max(values[at] for values in others) >= _MIN_GAIN for at in range(count)]
