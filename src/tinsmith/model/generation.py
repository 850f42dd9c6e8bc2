"""Answers of Transformers models to batches of prompts."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tqdm import tqdm

from tinsmith.model.families import decoder_of
from tinsmith.model.memory import rows_in_memory, working_bytes
from tinsmith.model.tokens import ChatTokenizer

_BATCH = 24
"""Prompts decoded together on a processor. A step for 24 takes seven times as long as a step for one."""

_MAX_BATCH_ON_GPU = 256


@dataclass(frozen=True, slots=True)
class Answer:
    """A model's answer to a prompt."""

    text: str
    """Decoded without special tokens."""
    tokens: int
    """New tokens, the end token included."""
    stopped: bool
    """Whether the model ended it, rather than the limit."""


def torch_answers(
    model: Any,
    tokenizer: ChatTokenizer,
    prompts: Sequence[Sequence[int]],
    max_new_tokens: int,
    label: str,
) -> list[Answer]:
    """Greedy answers of a Transformers model, in the order of the prompts. Batches are padded on the left.

    Args:
        model: In inference mode.
        tokenizer: The model's.
        prompts: Token ids of each prompt.
        max_new_tokens: Longer answers are cut.
        label: Names the progress bar.
    """
    import torch
    from transformers import GenerationConfig

    pad = tokenizer.end_ids[0]
    # The model's own configuration may ask for sampling or penalties.
    settings = GenerationConfig(
        do_sample=False, max_new_tokens=max_new_tokens, eos_token_id=list(tokenizer.end_ids), pad_token_id=pad
    )
    answers: dict[int, Answer] = {}
    by_length = sorted(range(len(prompts)), key=lambda index: len(prompts[index]))
    batch_size = _batch_size(model, max(map(len, prompts), default=0) + max_new_tokens)
    with tqdm(total=len(prompts), desc=label, unit="answer") as progress:
        for start in range(0, len(prompts), batch_size):
            indices = by_length[start : start + batch_size]
            longest = max(len(prompts[index]) for index in indices)
            ids = torch.full((len(indices), longest), pad)  # (B, T)
            attention = torch.zeros_like(ids)
            for row, index in enumerate(indices):
                ids[row, longest - len(prompts[index]) :] = torch.tensor(prompts[index])
                attention[row, longest - len(prompts[index]) :] = 1
            output = model.generate(
                ids.to(model.device),
                attention_mask=attention.to(model.device),
                generation_config=settings,
            )
            for index, new in zip(indices, output[:, longest:].tolist(), strict=True):
                answers[index] = decoded_answer(tokenizer, new)
            progress.update(len(indices))
    return [answers[index] for index in range(len(prompts))]


def _batch_size(model: Any, tokens: int) -> int:
    """Prompts to decode together, each of up to `tokens` with its answer: on a GPU as many as fit into its memory."""
    if model.device.type == "cpu":
        return _BATCH
    shape, itemsize = decoder_of(model.config), model.dtype.itemsize
    cache_bytes = 2 * shape.layers * shape.kv_heads * shape.head_dim * itemsize
    rows = rows_in_memory(model.device, cache_bytes + working_bytes(shape, itemsize))
    return min(_MAX_BATCH_ON_GPU, max(1, rows // tokens))


def decoded_answer(tokenizer: ChatTokenizer, new: Sequence[int]) -> Answer:
    """The answer in `new` token ids: up to the first end token, without a batch's padding after it."""
    ends = set(tokenizer.end_ids)
    stop = next((index for index, token in enumerate(new) if token in ends), None)
    kept = list(new) if stop is None else list(new[: stop + 1])
    text = tokenizer.tokenizer.decode(kept, skip_special_tokens=True).strip()
    return Answer(text, len(kept), stop is not None)
