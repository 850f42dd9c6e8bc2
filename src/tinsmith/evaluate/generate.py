"""Prompts, the same for all models, and greedy answers of the packaged ONNX graph.

`tinsmith.model.generation` has the answers of Transformers models. Both pick the most likely token at each step, until
an end token or `max_new_tokens`. Sampling or a repetition penalty would hide what the weights do.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from tqdm import tqdm

from tinsmith.core.errors import DataError
from tinsmith.model.conversations import Conversation, Message
from tinsmith.model.generation import Answer, decoded_answer
from tinsmith.model.onnx_decoder import OnnxDecoder
from tinsmith.model.tokens import ChatTokenizer

_BATCH = 24
"""Prompts decoded together by the ONNX graph."""


@dataclass(frozen=True, slots=True)
class Question:
    """A question for a model to answer."""

    id: str
    category: str
    question: str
    system: str
    """Empty without a system message."""
    reference: str
    """The answer in the data; empty if it has none."""
    group: str = "held_out"
    """A group of `tinsmith.model.replies.asked`, or the kind of a question that the data do not answer."""
    conversation: str = ""
    """Id of the conversation that the reference comes from."""

    @property
    def messages(self) -> tuple[Message, ...]:
        """The prompt: the system message, if any, and the question."""
        system = (Message("system", self.system),) if self.system else ()
        return (*system, Message("user", self.question))


def first_turn(conversation: Conversation) -> Question:
    """The first user message with the system message before it and the assistant message after it."""
    messages = conversation.messages
    system = messages[0].content if messages[0].role == "system" else ""
    user, assistant = messages[1:3] if system else messages[:2]
    return Question(
        conversation.id, conversation.category, user.content, system, assistant.content, conversation=conversation.id
    )


def onnx_answers(
    decoder: OnnxDecoder, tokenizer: ChatTokenizer, prompts: Sequence[Sequence[int]], max_new_tokens: int, label: str
) -> list[Answer]:
    """Greedy answers of a packaged ONNX graph, in the order of the prompts, decoded in batches."""
    ends = set(tokenizer.end_ids)
    by_length = sorted(range(len(prompts)), key=lambda index: len(prompts[index]))
    answers: dict[int, Answer] = {}
    with tqdm(total=len(prompts), desc=label, unit="answer") as progress:
        for start in range(0, len(prompts), _BATCH):
            indices = by_length[start : start + _BATCH]
            new = _decode(decoder, [prompts[index] for index in indices], max_new_tokens, ends)
            answers |= {index: decoded_answer(tokenizer, ids) for index, ids in zip(indices, new, strict=True)}
            progress.update(len(indices))
    return [answers[index] for index in range(len(prompts))]


def _decode(
    decoder: OnnxDecoder, prompts: Sequence[Sequence[int]], max_new_tokens: int, ends: set[int]
) -> list[list[int]]:
    """New ids of each prompt, the end token included. Finished sequences leave the batch."""
    sequences, logits = [], []
    for prompt in prompts:
        sequences.append(decoder.start())
        logits.append(sequences[-1].feed(prompt, keep=1)[0])
    batch = decoder.join(sequences)
    new: list[list[int]] = [[] for _ in prompts]
    active = list(range(len(prompts)))
    scores = np.stack(logits)  # (B, V)
    while active:
        for row, index in enumerate(active):
            new[index].append(int(np.argmax(scores[row])))
        is_done = [len(new[index]) == max_new_tokens or new[index][-1] in ends for index in active]
        rows = [row for row, done in enumerate(is_done) if not done]
        if len(rows) < len(active):
            batch.keep(rows)
            active = [active[row] for row in rows]
        if active:
            scores = batch.feed([new[index][-1] for index in active])
    return new


def encode_prompts(tokenizer: ChatTokenizer, questions: Sequence[Question]) -> list[list[int]]:
    """The prompt ids of each question.

    Raises:
        DataError: a prompt is empty.
    """
    prompts = [tokenizer.encode_prompt(question.messages) for question in questions]
    for question, prompt in zip(questions, prompts, strict=True):
        if not prompt:
            raise DataError(
                f"conversation {question.id}: its question has no tokens", "Check the tokenizer of the base."
            )
    return prompts
