"""Whether a passage answers a written question, as far as the writer can tell without the page's search.

The search must have no say: a question that it cannot answer is what measuring is for.
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
"""How much more likely, in nats, a passage's own question must make it than any of those. Measured in
docs/experiments/answers.md."""


def are_quoted(
    writer: Endpoint, asked: Sequence[Sequence[str]], passages: Sequence[Sequence[Passage]], label: str
) -> list[bool | None]:
    """Whether the writer copies an answer out of the passages: a real quotation, none, or (None) something else.

    Args:
        writer: Asked once for each.
        asked: Questions one after the other; the last one is to be answered.
        passages: Where the answer may stand.
        label: Names the progress bar.

    Raises:
        EndpointError: the endpoint failed.
    """
    prompts = [quote_prompt(questions, few) for questions, few in zip(asked, passages, strict=True)]
    replies = map(cleaned, writer.replies(prompts, _QUOTE_TOKENS, label))
    return [_verdict(reply, few) for reply, few in zip(replies, passages, strict=True)]


def _verdict(reply: str, passages: Sequence[Passage]) -> bool | None:
    quotation = reply.rstrip(".")
    if normalized(quotation) == normalized(NOTHING):
        return False
    return True if any(states_as_words(passage.text, quotation) for passage in passages) else None


def are_specific(writer: BaseWriter, questions: Sequence[str], passages: Sequence[Passage]) -> list[bool]:
    """Whether each question makes its passage likelier, to the model, than questions about other passages do.

    Args:
        writer: The base model.
        questions: One about each passage. With fewer than two there is nothing to compare, and none counts.
        passages: Of the same length.
    """
    count = len(questions)
    shifts = range(1, min(_OTHERS, count - 1) + 1)
    if not shifts:
        return [False] * count
    texts = [passage.text for passage in passages]
    own = writer.likelihoods(questions, texts)
    others = [writer.likelihoods([questions[(at + shift) % count] for at in range(count)], texts) for shift in shifts]
    return [own[at] - max(values[at] for values in others) >= _MIN_GAIN for at in range(count)]
