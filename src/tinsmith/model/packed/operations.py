"""Operations of a decoder layer that save only their inputs for the backward pass.

Norms, activations and rotations are recomputed in the backward pass: they are cheap, but their results are most of what
plain autograd would save.
"""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
import torch.nn.functional as F

from tinsmith.model.packed.attention import Allocate


class Linear(Protocol):
    """A linear layer that runs over packs: plain, with a LoRA adapter, or with INT4 weights."""

    @property
    def trained(self) -> tuple[torch.Tensor, ...]:
        """Tensors that get gradients."""

    def forward(self, allocate: Allocate, x: torch.Tensor) -> tuple[torch.Tensor, tuple[torch.Tensor, ...]]:
        """The output (T, N) for `x` (T, D), and tensors besides `x` that the backward pass needs."""

    def backward(
        self,
        grad: torch.Tensor,
        x: torch.Tensor,
        kept: Sequence[torch.Tensor],
        grad_x: torch.Tensor | None,
        needs_grad_x: bool,
    ) -> tuple[torch.Tensor | None, tuple[torch.Tensor | None, ...]]:
        """Gradients of the input (T, D) and of each tensor of `trained`.

        Args:
            grad: Gradient of the output (T, N).
            x: The input of `forward`.
            kept: The tensors that `forward` returned for this.
            grad_x: Gradient of the same input from other layers. This layer adds its own in place.
            needs_grad_x: Whether to compute the gradient of the input; None is returned if not.
        """


@dataclass(frozen=True, slots=True)
class Frozen:
    """A linear layer that is not trained."""

    weight: torch.Tensor
    """(N, D)"""
    bias: torch.Tensor | None
    trained = ()

    @classmethod
    def of(cls, module: Any) -> "Frozen":
        """Wrap a `torch.nn.Linear`."""
        return cls(module.weight, module.bias)

    def forward(self, allocate: Allocate, x: torch.Tensor) -> tuple[torch.Tensor, tuple[torch.Tensor, ...]]:
        out = torch.mm(x, self.weight.T, out=allocate((len(x), len(self.weight)), x.dtype))
        return (out if self.bias is None else out.add_(self.bias)), ()

    def backward(
        self,
        grad: torch.Tensor,
        x: torch.Tensor,
        kept: Sequence[torch.Tensor],
        grad_x: torch.Tensor | None,
        needs_grad_x: bool,
    ) -> tuple[torch.Tensor | None, tuple[torch.Tensor | None, ...]]:
        if not needs_grad_x:
            return None, ()
        return grad @ self.weight if grad_x is None else grad_x.addmm_(grad, self.weight), ()


@dataclass(frozen=True, slots=True)
class Norm:
    """RMS norm with a frozen scale.

    Source: Zhang and Sennrich, Root Mean Square Layer Normalization, 2019.
    """

    scale: torch.Tensor
    """(D,) float32, including the family's offset."""
    epsilon: float

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.rms_norm(x, self.scale.shape, self.scale.to(x.dtype), self.epsilon)

    def backward(self, grad: torch.Tensor, x: torch.Tensor) -> tuple[torch.Tensor, ...]:
        unit = x.float()
        inverse = unit.square().mean(-1, keepdim=True).add_(self.epsilon).rsqrt_()
        unit = unit * inverse
        scaled = grad.float() * self.scale
        projection = (scaled * unit).mean(-1, keepdim=True)
        return (scaled.sub_(unit.mul_(projection)).mul_(inverse).to(x.dtype),)


@dataclass(frozen=True, slots=True)
class Gated:
    """`activation(gate) * up` of a gated MLP."""

    activation: str

    def forward(self, gate: torch.Tensor, up: torch.Tensor) -> torch.Tensor:
        return self._activate(gate).mul_(up)

    def backward(self, grad: torch.Tensor, gate: torch.Tensor, up: torch.Tensor) -> tuple[torch.Tensor, ...]:
        grad_up = self._activate(gate).mul_(grad)
        grad_activated = grad * up
        if self.activation == "silu":
            return torch.ops.aten.silu_backward(grad_activated, gate), grad_up
        return torch.ops.aten.gelu_backward(grad_activated, gate, approximate="tanh"), grad_up

    def _activate(self, gate: torch.Tensor) -> torch.Tensor:
        return F.silu(gate) if self.activation == "silu" else F.gelu(gate, approximate="tanh")


@dataclass(frozen=True, slots=True)
class Rotate:
    """RoPE of projected heads, after a norm if the family has one."""

    cosines: torch.Tensor
    """(T, D / 2) float32; for queries, multiplied by the attention scale, like `sines`."""
    sines: torch.Tensor
    norm: Norm | None

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        heads = self._heads(x)
        if self.norm is not None:
            heads = self.norm.forward(heads.float())
        return self._rotated(heads.transpose(0, 1), self.sines)

    def backward(self, grad: torch.Tensor, x: torch.Tensor) -> tuple[torch.Tensor, ...]:
        grad = self._rotated(grad, -self.sines).transpose(0, 1)  # (T, H, D)
        if self.norm is not None:
            (grad,) = self.norm.backward(grad, self._heads(x).float())
        return (grad.reshape(x.shape).to(x.dtype),)

    def _heads(self, x: torch.Tensor) -> torch.Tensor:
        return x.view(len(x), -1, 2 * self.sines.shape[1])  # (T, H, D)

    def _rotated(self, heads: torch.Tensor, sines: torch.Tensor) -> torch.Tensor:
        """`heads` (H, T, D) rotated, in float32 and contiguous."""
        rotated = torch.empty(heads.shape, dtype=torch.float32, device=heads.device)
        (first, second), (low, high) = heads.chunk(2, dim=-1), rotated.chunk(2, dim=-1)
        torch.mul(first, self.cosines, out=low).addcmul_(second, sines, value=-1)
        torch.mul(second, self.cosines, out=high).addcmul_(first, sines)
        return rotated


class Identity:
    """No operation before a linear layer."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x

    def backward(self, grad: torch.Tensor, x: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return (grad,)


def project(
    allocate: Allocate, before: Norm | Gated | Identity, linears: Sequence[Linear], *inputs: torch.Tensor
) -> Any:
    """Apply each linear layer to `before(*inputs)`: one output (T, N) each. Saves only the inputs (T, D)."""
    trained = [tensor for linear in linears for tensor in linear.trained]
    outputs = _Project.apply(allocate, before, linears, len(inputs), *inputs, *trained)
    return outputs if len(linears) > 1 else outputs[0]


class _Project(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        allocate: Allocate,
        before: Norm | Gated | Identity,
        linears: Sequence[Linear],
        count: int,
        *tensors: torch.Tensor,
    ) -> tuple[torch.Tensor, ...]:
        x = before.forward(*tensors[:count])
        outputs, kept = zip(*(linear.forward(allocate, x) for linear in linears), strict=True)
        ctx.save_for_backward(*tensors[:count], *itertools.chain.from_iterable(kept))
        ctx.before, ctx.linears, ctx.count, ctx.kept = before, linears, count, [len(each) for each in kept]
        return outputs

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        saved = iter(ctx.saved_tensors)
        inputs = tuple(itertools.islice(saved, ctx.count))
        x = ctx.before.forward(*inputs)
        needs_grad_x = any(ctx.needs_input_grad[4 : 4 + ctx.count])
        grad_x, grad_trained = None, []
        for grad, linear, count in zip(grads, ctx.linears, ctx.kept, strict=True):
            kept = tuple(itertools.islice(saved, count))
            grad_x, grad_own = linear.backward(grad, x, kept, grad_x, needs_grad_x)
            grad_trained += grad_own
        grad_inputs = ctx.before.backward(grad_x, *inputs) if needs_grad_x else (None,) * ctx.count
        return None, None, None, None, *grad_inputs, *grad_trained


class Add(torch.autograd.Function):
    """Adds a branch to the residual stream, after a norm if there is one."""

    @staticmethod
    def forward(
        ctx: Any, allocate: Allocate, norm: Norm | None, residual: torch.Tensor, branch: torch.Tensor
    ) -> torch.Tensor:
        ctx.norm = norm
        if norm is not None:
            ctx.save_for_backward(branch)
            branch = norm.forward(branch)
        return torch.add(residual, branch, out=allocate(residual.shape, residual.dtype))

    @staticmethod
    def backward(ctx: Any, grad: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        return None, None, grad, grad if ctx.norm is None else ctx.norm.backward(grad, *ctx.saved_tensors)[0]
