"""What must be equal between Python and the browser: token ids, and greedy answers of the packaged file."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from tinsmith.chat import Conversation, Message
from tinsmith.onnx_decoder import OnnxDecoder
from tinsmith.tokens import ChatTokenizer


def first_prompt(conversation: Conversation) -> tuple[Message, ...]:
    """The messages up to and including the first question."""
    asked = next(i for i, message in enumerate(conversation.messages) if message.role == "user")
    return conversation.messages[: asked + 1]


def token_differences(
    conversations: Sequence[Conversation], tokenizer: ChatTokenizer, browser_ids: Sequence[Sequence[int]]
) -> list[dict[str, Any]]:
    """One record per conversation that Transformers.js tokenizes differently, with the first position that differs."""
    found = []
    for conversation, browser in zip(conversations, browser_ids, strict=True):
        python = list(tokenizer.encode(conversation).ids)
        if python != list(browser):
            at = _first_difference(python, browser)
            found.append({
                "conversation": conversation.id, "position": at,
                "python": python[at : at + 8], "javascript": list(browser[at : at + 8]),
            })  # fmt: skip
    return found


@dataclass(frozen=True, slots=True)
class GreedyRun:
    """What ONNX Runtime in Python chose, and by how much."""

    ids: tuple[int, ...]
    top2_gaps: tuple[float, ...]
    """Per token: largest logit minus the second largest. A gap near zero is a tie that rounding decides."""


def onnxruntime_greedy(
    decoder: OnnxDecoder, prompt_ids: Sequence[int], end_ids: Sequence[int], new_tokens: int
) -> GreedyRun:
    """Greedy continuation of up to `new_tokens` tokens, the end token included if one is chosen."""
    sequence = decoder.start()
    ids, gaps, step = [], [], list(prompt_ids)
    while len(ids) < new_tokens and not (ids and ids[-1] in end_ids):
        logits = sequence.feed(step, keep=1)[-1]
        second, first = np.partition(logits, -2)[-2:]
        step = [int(logits.argmax())]
        ids += step
        gaps.append(float(first - second))
    return GreedyRun(tuple(ids), tuple(gaps))


def greedy_comparison(conversation_id: str, python: GreedyRun, browser: Sequence[int], tie: float = 0.0) -> dict[str, Any]:
    """Both answers of one prompt; when they are not equal, where first and how close ONNX Runtime's choice was.

    They are said to differ unless that choice was one between two logits at most `tie` apart; what follows it is another
    text and says nothing.
    """
    record: dict[str, Any] = {"conversation": conversation_id, "onnxruntime": asdict(python), "browser": list(browser),
                              "equal": list(python.ids) == list(browser), "differs": False}
    if not record["equal"]:
        at = _first_difference(python.ids, browser)
        gap = python.top2_gaps[at] if at < len(python.top2_gaps) else None
        record |= {"first_difference": at, "top2_gap_there": gap, "tie": tie, "differs": gap is None or gap > tie}
    return record


def _first_difference(one: Sequence[int], other: Sequence[int]) -> int:
    pairs = zip(one, other, strict=False)
    return next((i for i, (a, b) in enumerate(pairs) if a != b), min(len(one), len(other)))
