"""Prompts, the same for all models, and greedy answers of the packaged ONNX graph.

`tinsmith.model.generation` has the answers of Transformers models. Both pick the most likely token at each step, until
an end token or `max_new_tokens`. Sampling or a repetition penalty would hide what the weights do.
"""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from tqdm import tqdm

from tinsmith.core.errors import DataError
from tinsmith.model.conversations import Conversation, Message
from tinsmith.model.generation import Answer, decoded_answer
from tinsmith.model.onnx_decoder import OnnxDecoder
from tinsmith.model.tokens import ChatTokenizer

_NGRAM_WORDS = 4
_NGRAM_TIMES = 3
# Han, kana and Hangul have no spaces between words, so each character counts as a word.
_WORD = re.compile(r"[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]|[^\W_\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]+")


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
        answers.append(decoded_answer(tokenizer, new))
    return answers


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
