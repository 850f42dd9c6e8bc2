"""The run's base model as a writer, on this machine's CPU or GPU."""

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from tinsmith.core.device import choose_device
from tinsmith.model.conversations import Message
from tinsmith.model.generation import torch_answers
from tinsmith.model.load import load_model
from tinsmith.model.tokens import ChatTokenizer, load_tokenizer

_BATCH = 16
_SCORED_TOKENS = 64
"""The first tokens of a text, which show whether a question is about it."""


class BaseWriter:
    """A writer that uses the base model, and loads it on first use."""

    origin = "base"

    def __init__(self, model_dir: Path) -> None:
        """Remember the model's folder; nothing is loaded yet."""
        self._folder = model_dir

    @cached_property
    def _model(self) -> Any:
        device = choose_device()
        return load_model(self._folder, device.dtype, device.device)

    @cached_property
    def _tokenizer(self) -> ChatTokenizer:
        return load_tokenizer(self._folder)

    def replies(self, prompts: Sequence[Sequence[Message]], max_tokens: int, label: str) -> list[str]:
        """A reply to each prompt. One without an end is cut after its first question mark. See `Writer.replies`."""
        if not prompts:
            return []
        ids = [self._tokenizer.encode_prompt(prompt) for prompt in prompts]
        answers = torch_answers(self._model, self._tokenizer, ids, max_tokens, label)
        return [answer.text if answer.stopped else _first_question(answer.text) for answer in answers]

    def likelihoods(self, questions: Sequence[str], texts: Sequence[str]) -> list[float]:
        """Log-likelihood in nats of each text as the reply to its question."""
        import torch

        pairs = [
            (self._tokenizer.encode_prompt([Message("user", question)]), self._ids(text))
            for question, text in zip(questions, texts, strict=True)
        ]
        order = sorted(range(len(pairs)), key=lambda index: sum(map(len, pairs[index])))
        sums = dict.fromkeys(order, 0.0)
        for start in range(0, len(order), _BATCH):
            indices = order[start : start + _BATCH]
            longest = max(sum(map(len, pairs[index])) for index in indices)
            ids = torch.zeros((len(indices), longest), dtype=torch.long)  # (B, T)
            attention = torch.zeros_like(ids)
            for row, index in enumerate(indices):
                sequence = [*pairs[index][0], *pairs[index][1]]
                ids[row, : len(sequence)] = torch.tensor(sequence)
                attention[row, : len(sequence)] = 1
            device = self._model.device
            with torch.inference_mode():
                logits = self._model(input_ids=ids.to(device), attention_mask=attention.to(device)).logits
            for row, index in enumerate(indices):
                prompt, reply = pairs[index]
                predicted = logits[row, len(prompt) - 1 : len(prompt) + len(reply) - 1].float()
                target = torch.tensor(reply, device=device)
                sums[index] = -torch.nn.functional.cross_entropy(predicted, target, reduction="sum").item()
        return [sums[index] for index in range(len(pairs))]

    def _ids(self, text: str) -> list[int]:
        return self._tokenizer.tokenizer(text, add_special_tokens=False)["input_ids"][:_SCORED_TOKENS]


def _first_question(text: str) -> str:
    question, mark, _ = text.partition("?")
    return question + mark if mark else ""
