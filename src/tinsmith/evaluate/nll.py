"""Negative log-likelihood of each conversation under a model, on given token ids.

Conversations are scored one at a time, so no number depends on batches or padding. Logits are computed in parts: with
Gemma's vocabulary of 262,144, a whole conversation's logits would take gigabytes.
"""

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from tinsmith.core.errors import ArtifactError
from tinsmith.core.run_dir import write_text
from tinsmith.model.conversations import Conversation
from tinsmith.model.load import load_model
from tinsmith.model.onnx_decoder import OnnxDecoder
from tinsmith.model.tokens import ChatTokenizer, Tokens

_LOGITS_BYTES = 2**27
"""Largest size of the float32 logits in memory."""

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

    body, head = model.get_decoder(), model.get_output_embeddings()
    at_once = max(1, logits_bytes // (4 * head.weight.shape[0]))

    @torch.inference_mode()
    def score(tokens: Tokens) -> float:
        ids = torch.tensor([tokens.ids], device=model.device)
        hidden = body(input_ids=ids, use_cache=False).last_hidden_state[0]  # (T, D)
        # Position t predicts token t + 1.
        predicted = torch.tensor(tokens.mask[1:], device=model.device).nonzero().flatten()
        total = 0.0
        for part in predicted.split(at_once):
            logits = head(hidden[part]).float()  # (K, V)
            losses = torch.nn.functional.cross_entropy(logits, ids[0, part + 1], reduction="none")
            total += losses.double().sum().item()
        return total

    return score


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
    scorer: Scorer,
    conversations: Sequence[Conversation],
    tokens: Sequence[Tokens],
    tokenizer: ChatTokenizer,
    label: str,
) -> list[Score]:
    """Score every conversation, in order, with a progress bar named `label`.

    Raises:
        ArtifactError: a likelihood is not finite, so the model is broken.
    """
    scores = []
    with tqdm(total=sum(len(item.ids) for item in tokens), desc=label, unit="tok", unit_scale=True) as progress:
        for conversation, item in zip(conversations, tokens, strict=True):
            nll = scorer(item)
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
