"""Greedy answers of Transformers models and of the packaged ONNX graph to the same prompts.

Both pick the most likely token at each step, until an end token or `max_new_tokens`. Sampling or a repetition penalty
would hide what the weights do.
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
"""Prompts decoded together. A step for 24 takes seven times as long as a step for one."""

_NGRAM_WORDS = 4
_NGRAM_TIMES = 3
# Han, kana and Hangul have no spaces between words, so each character counts as a word.
_WORD = re.compile(r"[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]|[^\W_\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]+")


@dataclass(frozen=True, slots=True)
class Answer:
    """A model's answer to a prompt."""

    text: str
    """Decoded without special tokens."""
    tokens: int
    """New tokens, the end token included."""
    stopped: bool
    """Whether the model ended it, rather than the limit."""


@dataclass(frozen=True, slots=True)
class Question:
    """The first turn of a conversation, for a model to answer."""

    id: str
    category: str
    question: str
    system: str
    """Empty without a system message."""
    reference: str

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
    return Question(conversation.id, conversation.category, user.content, system, assistant.content)


def torch_answers(
    model: Any, tokenizer: ChatTokenizer, prompts: Sequence[Sequence[int]], max_new_tokens: int, label: str
) -> list[Answer]:
    """Greedy answers of a Transformers model, in the order of the prompts. Batches are padded on the left."""
    import torch
    from transformers import GenerationConfig

    pad = tokenizer.end_ids[0]
    # The model's own configuration may ask for sampling or penalties.
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
    """Greedy answers of a packaged ONNX graph, in the order of the prompts, one at a time."""
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
    """The answer in `new` token ids: up to the first end token, without a batch's padding after it."""
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
    """Whether some sequence of 4 words occurs at least 3 times, ignoring case and punctuation.

    Sequences may overlap, so one word six times in a row is repetitive.
    """
    words = _WORD.findall(text.casefold())
    ngrams = Counter(zip(*(words[offset:] for offset in range(_NGRAM_WORDS)), strict=False))
    return max(ngrams.values(), default=0) >= _NGRAM_TIMES
