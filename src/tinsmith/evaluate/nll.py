"""Negative log-likelihood of each conversation under a model, on given token ids.

Conversations are scored one at a time on a processor, so no number depends on batches or padding. A GPU scores padded
batches, as many conversations as fit into its memory. Logits are computed in parts: with Gemma's vocabulary of 262,144,
a whole conversation's logits would take gigabytes.
"""

import json
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from tinsmith.core.errors import ArtifactError
from tinsmith.core.run_dir import write_text
from tinsmith.model.conversations import Conversation
from tinsmith.model.families import decoder_of
from tinsmith.model.load import load_model
from tinsmith.model.memory import rows_in_memory, working_bytes
from tinsmith.model.onnx_decoder import OnnxDecoder
from tinsmith.model.tokens import ChatTokenizer, Tokens

_LOGITS_BYTES = 2**27
"""Largest size of the float32 logits in memory."""

_MAX_BATCH_TOKENS = 16384
"""Tokens of a GPU's largest batch. Larger ones are not faster, and masks grow with the square of the length."""

Scorer = Callable[[Tokens], float]
"""Returns the summed negative log-likelihood of a conversation's supervised tokens, in nats."""


@dataclass(frozen=True, slots=True)
class Score:
    """Raw sums of one conversation under one model."""

    id: str
    category: str
    nll: float
    """Sum over supervised tokens, nats."""
    tokens: int
    """Supervised tokens, end-of-turn tokens included."""
    bytes: int
    """UTF-8 bytes of the assistant content, end-of-turn tokens excluded."""


def load_torch(model_dir: Path) -> Any:
    """Load the causal language model in `model_dir` in float32, on the GPU if there is one."""
    import torch

    return load_model(model_dir, torch.float32, "cuda" if torch.cuda.is_available() else "cpu")


def torch_scorer(model: Any, logits_bytes: int = _LOGITS_BYTES) -> Scorer:
    """A scorer for a Transformers model. It runs the head only where a supervised token is predicted."""
    import torch

    @torch.inference_mode()
    def score(tokens: Tokens) -> float:
        ids = torch.tensor([tokens.ids], device=model.device)
        hidden = model.get_decoder()(input_ids=ids, use_cache=False).last_hidden_state  # (1, T, D)
        return _head_nll(model.get_output_embeddings(), hidden[0], ids[0], tokens, logits_bytes)

    return score


def torch_nlls(model: Any, tokens: Sequence[Tokens]) -> Iterator[float]:
    """What `torch_scorer` returns for each conversation, in order; on a GPU from padded batches."""
    if model.device.type == "cpu":
        yield from map(torch_scorer(model), tokens)
        return
    row_bytes = working_bytes(decoder_of(model.config), model.dtype.itemsize)
    yield from batched_nlls(model, tokens, min(_MAX_BATCH_TOKENS, rows_in_memory(model.device, row_bytes)))


def batched_nlls(model: Any, tokens: Sequence[Tokens], max_tokens: int) -> list[float]:
    """What `torch_scorer` returns for each conversation, from batches of at most `max_tokens`, padding included."""
    import torch

    from tinsmith.model.padding import padded, padded_groups

    nlls = dict.fromkeys(range(len(tokens)), 0.0)
    for group in padded_groups(tokens, range(len(tokens)), len(tokens), max_tokens):
        members = [tokens[index] for index in group]
        ids, _ = padded(members, 0, model.device)
        with torch.inference_mode():
            # Attention is causal, so no token sees the padding behind it.
            hidden = model.get_decoder()(input_ids=ids, use_cache=False).last_hidden_state  # (B, T, D)
            for row, (index, member) in enumerate(zip(group, members, strict=True)):
                nlls[index] = _head_nll(model.get_output_embeddings(), hidden[row], ids[row], member, _LOGITS_BYTES)
    return [*nlls.values()]


def _head_nll(head: Any, hidden: Any, ids: Any, tokens: Tokens, logits_bytes: int) -> float:
    """NLL of a conversation's supervised tokens in nats, from hidden states (T, D) and ids (T,) that begin with it."""
    import torch

    # Position t predicts token t + 1.
    predicted = torch.tensor(tokens.mask[1:], device=ids.device).nonzero().flatten()
    total = 0.0
    for part in predicted.split(max(1, logits_bytes // (4 * head.weight.shape[0]))):
        logits = head(hidden[part]).float()  # (K, V)
        losses = torch.nn.functional.cross_entropy(logits, ids[part + 1], reduction="none")
        total += losses.double().sum().item()
    return total


def onnx_scorer(decoder: OnnxDecoder, logits_bytes: int = _LOGITS_BYTES) -> Scorer:
    """A scorer for a packaged ONNX graph. It feeds slices whose logits fit in `logits_bytes`."""
    at_once = max(1, logits_bytes // (4 * decoder.vocab_size))

    def score(tokens: Tokens) -> float:
        sequence, total = decoder.start(), 0.0
        predicting = [index for index, on in enumerate(tokens.mask[1:]) if on]
        # Tokens after the last predicting position cannot change the score.
        for start in range(0, max(predicting) + 1, at_once):
            stop = min(start + at_once, max(predicting) + 1)
            inside = np.asarray([index for index in predicting if start <= index < stop], np.int64)
            first_kept = inside[0] if len(inside) else stop - 1
            logits = sequence.feed(tokens.ids[start:stop], keep=int(stop - first_kept))
            if len(inside):
                targets = np.asarray(tokens.ids)[inside + 1]
                total += _cross_entropy(logits[inside - first_kept], targets)
        return total

    return score


def _cross_entropy(logits: np.ndarray, targets: np.ndarray) -> float:
    """Sum of -log softmax(logits)[target] in nats, added up in float64. `logits` (K, V), `targets` (K,)."""
    largest = logits.max(axis=1)
    logs = np.log(np.exp(logits - largest[:, None]).sum(axis=1, dtype=np.float64)) + largest
    return float((logs - logits[np.arange(len(targets)), targets]).sum())


def score_conversations(
    nlls: Iterable[float],
    conversations: Sequence[Conversation],
    tokens: Sequence[Tokens],
    tokenizer: ChatTokenizer,
    label: str,
) -> list[Score]:
    """The scores of all conversations, whose likelihoods `nlls` yields in order, with a progress bar named `label`.

    Raises:
        ArtifactError: a likelihood is not finite, so the model is broken.
    """
    scores = []
    with tqdm(total=sum(len(item.ids) for item in tokens), desc=label, unit="tok", unit_scale=True) as progress:
        for conversation, item, nll in zip(conversations, tokens, nlls, strict=True):
            if not math.isfinite(nll):
                raise ArtifactError(
                    f"{label}: the log-likelihood of conversation {conversation.id} is {nll}",
                    "The model's weights are broken; rerun the stage that wrote them with --force.",
                )
            size_bytes = content_bytes(conversation, tokenizer)
            scores.append(Score(conversation.id, conversation.category, nll, sum(item.mask[1:]), size_bytes))
            progress.update(len(item.ids))
    return scores


def content_bytes(conversation: Conversation, tokenizer: ChatTokenizer) -> int:
    """UTF-8 bytes of the assistant content as the family writes it, end-of-turn tokens excluded."""
    family = tokenizer.family
    segments = family.segments(conversation.messages, tokenizer.bos)
    contents = (piece.removesuffix(family.end_of_turn) for piece, supervised in segments if supervised)
    return sum(len(content.encode()) for content in contents)


def write_scores(path: Path, scores: Sequence[Score]) -> None:
    """Write one JSON line per conversation."""
    write_text(path, "".join(json.dumps(asdict(score), ensure_ascii=False) + "\n" for score in scores))
