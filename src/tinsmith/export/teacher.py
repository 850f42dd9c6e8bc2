"""What the tuned model predicts on training and validation conversations: the measure of every INT4 recipe."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from safetensors import safe_open
from tqdm import tqdm

from tinsmith.device import Device, return_freed_memory
from tinsmith.intervals import bootstrap
from tinsmith.packed.decoder import Frozen, PackedDecoder
from tinsmith.packed.loss import head_loss_sum
from tinsmith.packed.packing import Pack, make_pack, pack_groups
from tinsmith.tokens import Tokens

_BATCH_SIZE = 4
"""Conversations in one forward pass, and in one step of healing."""

_MAX_ROWS = 4096
"""Rows of one pass, unless a single conversation has more."""

_LOGITS_BYTES = 2**27
"""Largest block of float32 logits held at once."""


@dataclass(frozen=True, slots=True)
class Lesson:
    """The conversations of one forward pass and what the tuned model computes for them."""

    pack: Pack
    states: torch.Tensor
    """The tuned model's final hidden states (N, D) where a supervised token is predicted."""


@dataclass(frozen=True, slots=True)
class Teacher:
    """The tuned model's predictions, kept as hidden states: its logits would take a hundred times the memory."""

    head: torch.Tensor
    """Its vocabulary weights (V, D)."""
    train: list[Lesson]
    val: list[Lesson]


class StoredWeights:
    """The tuned model's own weights, read from its files when asked for."""

    def __init__(self, model_dir: Path):
        files = [safe_open(path, "pt") for path in sorted(model_dir.glob("*.safetensors"))]
        self._files = {name: file for file in files for name in file.keys()}

    def __call__(self, name: str) -> torch.Tensor:
        """The tensor of a parameter, as stored."""
        return self._files[name].get_tensor(name)

    @property
    def count(self) -> int:
        """Numbers in all tensors."""
        return sum(math.prod(file.get_slice(name).get_shape()) for name, file in self._files.items())


def load_model(model_dir: Path, chosen: Device) -> Any:
    """The causal language model in `model_dir`, frozen, in the chosen format on the chosen device."""
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(
        model_dir, dtype=chosen.dtype, local_files_only=True, trust_remote_code=False, use_safetensors=True
    )
    return model.to(chosen.device).eval().requires_grad_(False)


def make_teacher(model: Any, train: Sequence[Tokens], val: Sequence[Tokens]) -> Teacher:
    """The predictions of the tuned `model` on both splits; of it, only the head is kept."""
    decoder = PackedDecoder(model, Frozen.of)
    return Teacher(decoder.head, _lessons(decoder, train, "tuned on train"), _lessons(decoder, val, "tuned on val"))


@torch.no_grad()
def _lessons(decoder: PackedDecoder, conversations: Sequence[Tokens], label: str) -> list[Lesson]:
    groups = pack_groups(conversations, range(len(conversations)), _BATCH_SIZE, _MAX_ROWS)
    lessons = []
    for group in tqdm(groups, desc=label, unit="pass", dynamic_ncols=True):
        pack = make_pack([conversations[index] for index in group], decoder.head.device)
        lessons.append(Lesson(pack, decoder.hidden(pack)))
        if decoder.head.device.type == "cpu":
            return_freed_memory()
    return lessons


@torch.no_grad()
def conversation_losses(lessons: Sequence[Lesson], head: torch.Tensor, decoder: PackedDecoder | None = None) -> list[float]:
    """Sum of negative log-likelihood in nats of each conversation: the teacher's, or with `head` that of `decoder`."""
    found = []
    for lesson in lessons:
        states = lesson.states if decoder is None else decoder.hidden(lesson.pack)
        parts = zip(states.split(lesson.pack.supervised), lesson.pack.targets.split(lesson.pack.supervised), strict=True)
        found += [head_loss_sum(part, head, targets).item() for part, targets in parts]
    return found


def perplexity_ratio(
    losses: Sequence[float], others: Sequence[float], counts: Sequence[int], seed: int
) -> tuple[float, dict[str, float]]:
    """Perplexity of one model over another's, and its 95 % interval over conversations, resampled in pairs.

    Args:
        losses: Summed negative log-likelihood of each conversation in nats.
        others: The same of the other model.
        counts: Supervised tokens of each conversation.
    """
    rows = np.array([np.subtract(losses, others), counts]).T  # (conversations, 2)

    def ratio(sums: np.ndarray) -> np.ndarray:
        return np.exp(sums[:, 0] / sums[:, 1])

    return float(ratio(rows.sum(0, keepdims=True))[0]), bootstrap(rows, ratio, seed)


@torch.no_grad()
def divergence(
    lesson: Lesson, teacher_head: torch.Tensor, states: torch.Tensor, head: torch.Tensor, needs_grad: bool
) -> tuple[float, torch.Tensor | None, torch.Tensor | None]:
    """KL(tuned || other) summed over a lesson's supervised tokens in nats, and its gradients.

    Args:
        teacher_head: The tuned model's vocabulary weights (V, D).
        states: The other model's final hidden states (N, D).
        head: Its vocabulary weights (V, D).

    Returns:
        The sum, its gradient with respect to `states` (N, D), and with respect to `head` (V, D) in float32.
    """
    total = 0.0
    grad_states = torch.empty_like(states) if needs_grad else None
    grad_head = torch.zeros(head.shape, device=head.device) if needs_grad else None
    at_once = max(1, _LOGITS_BYTES // (4 * len(head)))
    for start in range(0, len(states), at_once):
        rows = slice(start, start + at_once)
        wanted = F.linear(lesson.states[rows], teacher_head).float().log_softmax(-1)  # (rows, V)
        found = F.linear(states[rows], head).float().log_softmax(-1)
        probabilities = wanted.exp()
        total += wanted.sub_(found).mul_(probabilities).sum(dtype=torch.float64).item()
        if needs_grad:
            slope = found.exp_().sub_(probabilities).to(head.dtype)
            grad_states[rows] = slope @ head
            grad_head += slope.T @ states[rows]
    return total, grad_states, grad_head
