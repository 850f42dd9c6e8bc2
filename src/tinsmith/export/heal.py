"""Healing: train what INT4 leaves free until the quantized model predicts what the tuned model predicts.

The whole INT4 model runs over packs of training conversations; the divergence of its predictions from the tuned
model's, at supervised tokens, flows back into every matrix. A gradient moves each block's scale, and the positions from
which its integers are rounded: rounding is passed over going backward (straight-through). A matrix takes its step as
soon as its gradient is known, so that no gradient outlives its layer.

Source: straight-through estimator (arXiv 1308.3432); distillation of a quantized model from its original
(arXiv 2305.17888); trained scales (arXiv 1902.08153).
"""

import math
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from tqdm import tqdm

from tinsmith.export.int4 import BLOCK_SIZE, ZERO_POINT, Int4Matrix, integers_of, pack, unpack
from tinsmith.export.teacher import Lesson, Teacher, divergence
from tinsmith.families import decoder_of
from tinsmith.packed.decoder import Frozen, PackedDecoder, Take

_LOWEST, _HIGHEST = -ZERO_POINT, 15 - ZERO_POINT
_BEYOND = 0.4
"""How far past the last integer a position may lie, so that a few steps bring it back."""

_DECAYS = (0.9, 0.95)
"""Of the gradients' running mean and mean square (Adam)."""

_FLOOR = 1.0
"""Added to the root mean square of each gradient, in those of its matrix: what hardly matters hardly moves.

Without it, rows of tokens that the data never use would step as far as the others, along noise.
"""

_WARMUP = 0.1
"""Share of the steps in which rates rise: at first every gradient counts fully, however small."""

_VALIDATIONS = 3
"""Times the validation lessons are tried while healing; the best state is kept."""


@dataclass(frozen=True, slots=True)
class Schedule:
    """How long and how fast; rates rise for a tenth of the steps and fall to zero along a cosine."""

    epochs: float = 1.0
    scale_rate: float = 5e-4
    """Largest step of a scale, as a share of its size. At 2e-3 SmolLM2-135M diverges."""
    position_rate: float = 0.0
    """Largest step of a position, in distances between integers. 0 leaves the integers alone."""


class HealedMatrix:
    """An INT4 matrix in training; the values it stands for are in the model's own weight."""

    def __init__(self, weight: torch.Tensor, original: torch.Tensor, matrix: Int4Matrix, schedule: Schedule):
        """`weight` (N, K) is computed with and replaced; `original` (N, K) is what `matrix` was made from."""
        self.weight = weight.data
        self._schedule = schedule
        self._scales = torch.from_numpy(matrix.scales).reshape(-1, 1).to(weight.device, copy=True)  # (blocks, 1)
        self._integers = torch.from_numpy(integers_of(matrix)).reshape(-1, BLOCK_SIZE).to(weight.device)  # int8
        self._scale_moments = [torch.zeros_like(self._scales) for _ in _DECAYS]
        if schedule.position_rate:  # 8 bytes for each weight
            # Where the original rounds to the chosen integer, its place before rounding; else just inside that integer.
            offset = (original.reshape(-1, BLOCK_SIZE).float() / self._scales - self._integers).clamp_(-0.49, 0.49)
            self._positions = offset.add_(self._integers)  # float32 (blocks, 32)
            self._position_moments = [torch.zeros_like(self._positions, dtype=torch.bfloat16) for _ in _DECAYS]
        self._steps = 0
        self._replace()

    def step(self, grad: torch.Tensor, rate: float) -> None:
        """Move against the gradient (N, K) of the weight; `rate` in 0..1 scales the schedule's steps."""
        self._steps += 1
        grad = grad.reshape(-1, BLOCK_SIZE).float()
        along = (grad * self._integers).sum(-1, keepdim=True)
        if self._schedule.position_rate:
            size = rate * self._schedule.position_rate * self._scales.sign()
            self._positions.sub_(self._direction(grad, self._position_moments).mul_(size))
            self._positions.clamp_(_LOWEST - _BEYOND, _HIGHEST + _BEYOND)
            torch.round(self._positions, out=grad).clamp_(_LOWEST, _HIGHEST)
            self._integers.copy_(grad)
        size = rate * self._schedule.scale_rate * self._scales.abs()
        self._scales.sub_(self._direction(along, self._scale_moments).mul_(size))
        self._replace()

    def _direction(self, grad: torch.Tensor, moments: Sequence[torch.Tensor]) -> torch.Tensor:
        """Adam's step of size about 1 (float32)."""
        mean, square = moments
        mean.lerp_(grad.to(mean.dtype), 1 - _DECAYS[0])
        square.lerp_(grad.square().to(square.dtype), 1 - _DECAYS[1])
        root = square.float().div_(1 - _DECAYS[1] ** self._steps).sqrt_()
        root.add_(_FLOOR * root.square().mean().sqrt() + 1e-30)
        return (mean.float() / (1 - _DECAYS[0] ** self._steps)).div_(root)

    def _replace(self) -> None:
        self.weight.copy_((self._integers * self._scales).reshape(self.weight.shape))

    def matrix(self) -> Int4Matrix:
        """As it stands now."""
        rows = len(self.weight)
        integers = (self._integers + ZERO_POINT).reshape(rows, -1).to(torch.uint8)
        return pack(integers.cpu().numpy(), self._scales.reshape(rows, -1).cpu().numpy())


class _HealedLinear:
    """A linear layer whose matrix steps in the backward pass; see `tinsmith.packed.decoder.Linear`."""

    trained = ()

    def __init__(self, healing: "_Healing", matrix: HealedMatrix, bias: torch.Tensor | None):
        self._healing, self._matrix, self._plain = healing, matrix, Frozen(matrix.weight, bias)

    def forward(self, take: Take, x: torch.Tensor) -> tuple[torch.Tensor, tuple[torch.Tensor, ...]]:
        return self._plain.forward(take, x)

    def backward(self, grad, x, kept, grad_x, needs_grad_x):
        result = self._plain.backward(grad, x, kept, grad_x, needs_grad_x)
        self._matrix.step(grad.T @ x, self._healing.rate)
        return result


class _Embed(torch.autograd.Function):
    """Rows of the embedding; their gradient goes to `add_grad`. `anchor` makes autograd come here."""

    @staticmethod
    def forward(ctx, ids, anchor, embed, add_grad):
        ctx.ids, ctx.add_grad = ids, add_grad
        return embed(ids)

    @staticmethod
    def backward(ctx, grad):
        ctx.add_grad(ctx.ids, grad)
        return None, None, None, None


class _Healing:
    """A model in training and the step it is at."""

    def __init__(
        self, model: Any, matrices: dict[str, Int4Matrix], original: Callable[[str], torch.Tensor], schedule: Schedule
    ):
        self.rate = 0.0
        self.healed = {
            name: HealedMatrix(weight, original(name), matrices[name], schedule)
            for name, weight in model.named_parameters() if name in matrices
        }
        by_weight = {matrix.weight.data_ptr(): matrix for matrix in self.healed.values()}
        self._embedding = by_weight[model.get_input_embeddings().weight.data_ptr()]
        self._head = by_weight[model.get_output_embeddings().weight.data_ptr()]
        self._embed, self._embedding_scale = model.get_input_embeddings(), decoder_of(model.config).embedding_scale
        self._anchor = torch.zeros((), requires_grad=True)
        self.decoder = PackedDecoder(
            model, lambda module: _HealedLinear(self, by_weight[module.weight.data_ptr()], module.bias),
            embed=lambda ids: _Embed.apply(ids, self._anchor, self._embed, self._add_embedding_grad),
        )

    def step(self, lesson: Lesson, teacher: Teacher, rate: float) -> float:
        """One step on one lesson; returns its divergence in nats per supervised token."""
        self.rate = rate
        states = self.decoder.hidden(lesson.pack)
        total, grad_states, grad_head = divergence(lesson, teacher.head, states.detach(), self._head.weight, True)
        count = len(states)
        self._grads = {id(self._head): grad_head.div_(count)}
        states.backward(grad_states.div_(count))
        for matrix in {id(m): m for m in (self._head, self._embedding)}.values():
            matrix.step(self._grads.pop(id(matrix)), rate)
        return total / count

    @torch.no_grad()
    def divergence(self, teacher: Teacher, lessons: Sequence[Lesson]) -> float:
        """Nats per supervised token over `lessons`."""
        total = sum(
            divergence(lesson, teacher.head, self.decoder.hidden(lesson.pack), self._head.weight, False)[0]
            for lesson in lessons
        )
        return total / sum(len(lesson.pack.targets) for lesson in lessons)

    def matrices(self) -> dict[str, Int4Matrix]:
        """All matrices as they stand now."""
        return {name: matrix.matrix() for name, matrix in self.healed.items()}

    def _add_embedding_grad(self, ids: torch.Tensor, grad: torch.Tensor) -> None:
        weight = self._embedding.weight
        total = self._grads.setdefault(id(self._embedding), torch.zeros(weight.shape, device=weight.device))
        total.index_add_(0, ids, grad.float(), alpha=self._embedding_scale)


def heal(
    model: Any, matrices: dict[str, Int4Matrix], original: Callable[[str], torch.Tensor], teacher: Teacher,
    schedule: Schedule, seed: int,
) -> dict[str, Int4Matrix]:
    """`matrices`, trained on the teacher's lessons; those with the least divergence on its validation lessons.

    Args:
        model: A frozen Transformers causal language model; it ends with the weights that the result stands for.
        matrices: Where to start from, by parameter name.
        original: The tuned model's weight by parameter name.
    """
    healing = _Healing(model, matrices, original, schedule)
    steps = math.ceil(schedule.epochs * len(teacher.train))
    tried = {round(steps * (index + 1) / _VALIDATIONS) for index in range(_VALIDATIONS)}
    order: list[Lesson] = []
    shuffled = random.Random(seed)
    best, least = matrices, healing.divergence(teacher, teacher.val)
    with tqdm(total=steps, desc="heal", unit="step", dynamic_ncols=True) as progress:
        for step in range(1, steps + 1):
            if not order:
                order = shuffled.sample(teacher.train, len(teacher.train))
            warm = min(1.0, step / (_WARMUP * steps))
            rate = warm * 0.5 * (1 + math.cos(math.pi * (step - 1) / steps))
            found = healing.step(order.pop(), teacher, rate)
            progress.set_postfix_str(f"divergence {found:.4f}, validation {least:.4f} nats/token")
            progress.update()
            if step in tried:
                now = healing.divergence(teacher, teacher.val)
                if now < least:
                    best, least = healing.matrices(), now
    for name, matrix in best.items():
        healing.healed[name].weight.copy_(torch.from_numpy(unpack(matrix)))
    return best
