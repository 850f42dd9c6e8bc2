"""Greedy answers of a Transformers model and of the packaged ONNX file to the same prompts, and what they show.

Both decode the same way: the highest logit at each step, until an end token or `max_new_tokens`. No sampling, no
repetition penalty; those would hide what the weights do.
"""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from tqdm import tqdm

from tinsmith.core.errors import DataError
from tinsmith.model.conversations import Conversation, Message
from tinsmith.model.onnx_decoder import OnnxDecoder
from tinsmith.model.tokens import ChatTokenizer

_BATCH = 24
"""Prompts decoded together: a step for 24 costs seven times a step for one."""

_NGRAM_WORDS = 4
_NGRAM_TIMES = 3
# Han, kana and Hangul are written without spaces between words: each character counts as a word.
_WORD = re.compile(r"[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]|[^\W_\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]+")


@dataclass(frozen=True, slots=True)
class Answer:
    """What a model said."""

    text: str
    """Decoded without special tokens."""
    tokens: int
    """New tokens, the end token included."""
    stopped: bool
    """Whether it ended with an end token within the limit."""


@dataclass(frozen=True, slots=True)
class Question:
    """The first turn of a conversation, to be answered again."""

    id: str
    category: str
    question: str
    system: str
    """Empty without a system message."""
    reference: str

    @property
    def messages(self) -> tuple[Message, ...]:
        """What a model is asked: the system message, if any, and the question."""
        system = (Message("system", self.system),) if self.system else ()
        return (*system, Message("user", self.question))


def first_turn(conversation: Conversation) -> Question:
    """The first user message, the system message before it, and the assistant message that answers it."""
    messages = conversation.messages
    system = messages[0].content if messages[0].role == "system" else ""
    user, assistant = messages[1:3] if system else messages[:2]
    return Question(conversation.id, conversation.category, user.content, system, assistant.content)


def torch_answers(
    model: Any, tokenizer: ChatTokenizer, prompts: Sequence[Sequence[int]], max_new_tokens: int, label: str
) -> list[Answer]:
    """The greedy answer to each prompt by a Transformers model, in order; prompts are padded on the left in batches."""
    import torch
    from transformers import GenerationConfig

    pad = tokenizer.end_ids[0]
    # A configuration of its own: the model's file may ask for sampling or penalties.
    settings = GenerationConfig(
        do_sample=False, max_new_tokens=max_new_tokens, eos_token_id=list(tokenizer.end_ids), pad_token_id=pad
    )
    answers: dict[int, Answer] = {}
    by_length = sorted(range(len(prompts)), key=lambda index: len(prompts[index]))
    with tqdm(total=len(prompts), desc=label, unit="answer") as progress:
        for start in range(0, len(prompts), _BATCH):
            indices = by_length[start : start + _BATCH]
            longest = max(len(prompts[index]) for index in indices)
            ids = torch.full((len(indices), longest), pad)  # (B, T)
            attention = torch.zeros_like(ids)
            for row, index in enumerate(indices):
                ids[row, longest - len(prompts[index]) :] = torch.tensor(prompts[index])
                attention[row, longest - len(prompts[index]) :] = 1
            output = model.generate(
                ids.to(model.device), attention_mask=attention.to(model.device), generation_config=settings
            )
            for index, new in zip(indices, output[:, longest:].tolist(), strict=True):
                answers[index] = _answer(tokenizer, new)
            progress.update(len(indices))
    return [answers[index] for index in range(len(prompts))]


def onnx_answers(
    decoder: OnnxDecoder, tokenizer: ChatTokenizer, prompts: Sequence[Sequence[int]], max_new_tokens: int, label: str
) -> list[Answer]:
    """The greedy answer to each prompt by a packaged ONNX file, one prompt at a time, in order."""
    ends = set(tokenizer.end_ids)
    answers = []
    for prompt in tqdm(prompts, desc=label, unit="answer"):
        sequence, feed, new = decoder.start(), list(prompt), []
        while len(new) < max_new_tokens and not (new and new[-1] in ends):
            logits = sequence.feed(feed, keep=1)
            feed = [int(np.argmax(logits[-1]))]
            new += feed
        answers.append(_answer(tokenizer, new))
    return answers


def _answer(tokenizer: ChatTokenizer, new: Sequence[int]) -> Answer:
    """New ids up to and including the first end token; what a batch pads behind it is dropped."""
    ends = set(tokenizer.end_ids)
    stop = next((index for index, token in enumerate(new) if token in ends), None)
    kept = list(new) if stop is None else list(new[: stop + 1])
    text = tokenizer.tokenizer.decode(kept, skip_special_tokens=True).strip()
    return Answer(text, len(kept), stop is not None)


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


def is_repetitive(text: str) -> bool:
    """Whether some run of 4 words occurs at least 3 times; case and punctuation do not count.

    Overlapping runs count, so one word six times in a row is repetitive.
    """
    words = _WORD.findall(text.casefold())
    runs = Counter(zip(*(words[offset:] for offset in range(_NGRAM_WORDS)), strict=False))
    return max(runs.values(), default=0) >= _NGRAM_TIMES
