"""The decoder's forward pass over a pack, for every family, keeping for the backward pass only what is dear to compute.

The weights are those in the Transformers model; nothing is copied. What its linear layers compute, and what in them is
trained, is the caller's. Norms, activations and rotations are computed again going backward: they cost little, and
their results are most of what a plain autograd graph keeps.
"""

import itertools
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
import torch.nn.functional as F
from torch.utils.checkpoint import checkpoint

from tinsmith.model.families import decoder_of
from tinsmith.model.packed.arena import Arena
from tinsmith.model.packed.attention import Recomputed, Take, attention_over
from tinsmith.model.packed.packing import Pack


class Linear(Protocol):
    """A linear layer as a pack runs it: with a LoRA adapter, with weights in INT4, or plain."""

    @property
    def trained(self) -> tuple[torch.Tensor, ...]:
        """Tensors that get gradients."""

    def forward(self, take: Take, x: torch.Tensor) -> tuple[torch.Tensor, tuple[torch.Tensor, ...]]:
        """The output (T, N) for `x` (T, D), and what else the backward pass needs."""

    def backward(
        self,
        grad: torch.Tensor,
        x: torch.Tensor,
        kept: Sequence[torch.Tensor],
        grad_x: torch.Tensor | None,
        needs_grad_x: bool,
    ) -> tuple[torch.Tensor | None, tuple[torch.Tensor | None, ...]]:
        """From the gradient (T, N): the input's (T, D), added to `grad_x` if given, and one for each of `trained`."""


@dataclass(frozen=True, slots=True)
class Frozen:
    """A linear layer that is not trained."""

    weight: torch.Tensor
    """(N, D)"""
    bias: torch.Tensor | None
    trained = ()

    @classmethod
    def of(cls, module: Any) -> "Frozen":
        """The layer of a `torch.nn.Linear`."""
        return cls(module.weight, module.bias)

    def forward(self, take: Take, x: torch.Tensor) -> tuple[torch.Tensor, tuple[torch.Tensor, ...]]:
        out = torch.mm(x, self.weight.T, out=take((len(x), len(self.weight)), x.dtype))
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
    """RMS norm with a frozen scale."""

    scale: torch.Tensor
    """(D,), the family's offset included, in float32."""
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
        slope = grad * up
        if self.activation == "silu":
            return torch.ops.aten.silu_backward(slope, gate), grad_up
        return torch.ops.aten.gelu_backward(slope, gate, approximate="tanh"), grad_up

    def _activate(self, gate: torch.Tensor) -> torch.Tensor:
        return F.silu(gate) if self.activation == "silu" else F.gelu(gate, approximate="tanh")


@dataclass(frozen=True, slots=True)
class Rotate:
    """RoPE of projected heads, after a norm where the family has one."""

    cosines: torch.Tensor
    """(T, D / 2) in float32, times any scale of the result."""
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
        turned = torch.empty(heads.shape, dtype=torch.float32, device=heads.device)
        (first, second), (low, high) = heads.chunk(2, dim=-1), turned.chunk(2, dim=-1)
        torch.mul(first, self.cosines, out=low).addcmul_(second, sines, value=-1)
        torch.mul(second, self.cosines, out=high).addcmul_(first, sines)
        return turned


class Same:
    """Nothing in front of a product."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x

    def backward(self, grad: torch.Tensor, x: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return (grad,)


def project(take: Take, before: Norm | Gated | Same, linears: Sequence[Linear], *inputs: torch.Tensor) -> Any:
    """One output (T, N) for each layer of `before(*inputs)`; of the inputs (T, D), only themselves are kept."""
    trained = [tensor for linear in linears for tensor in linear.trained]
    outputs = _Project.apply(take, before, linears, len(inputs), *inputs, *trained)
    return outputs if len(linears) > 1 else outputs[0]


class _Project(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        take: Take,
        before: Norm | Gated | Same,
        linears: Sequence[Linear],
        count: int,
        *tensors: torch.Tensor,
    ) -> tuple[torch.Tensor, ...]:
        x = before.forward(*tensors[:count])
        outputs, kept = zip(*(linear.forward(take, x) for linear in linears), strict=True)
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


class _Add(torch.autograd.Function):
    """Residual plus a branch, the branch normed first where there is a norm."""

    @staticmethod
    def forward(ctx: Any, take: Take, norm: Norm | None, residual: torch.Tensor, branch: torch.Tensor) -> torch.Tensor:
        ctx.norm = norm
        if norm is not None:
            ctx.save_for_backward(branch)
            branch = norm.forward(branch)
        return torch.add(residual, branch, out=take(residual.shape, residual.dtype))

    @staticmethod
    def backward(ctx: Any, grad: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        return None, None, grad, grad if ctx.norm is None else ctx.norm.backward(grad, *ctx.saved_tensors)[0]


@dataclass(frozen=True, slots=True)
class Layer:
    """One decoder layer."""

    attention_norm: Norm
    queries_keys_values: tuple[Linear, Linear, Linear]
    query_norm: Norm | None
    key_norm: Norm | None
    attention_out: Linear
    attention_post_norm: Norm | None
    mlp_norm: Norm
    gate_up: tuple[Linear, Linear]
    activation: Gated
    down: Linear
    mlp_post_norm: Norm | None
    window: int
    rope_type: str | None
    """Name under which the model keeps this layer's RoPE, where it has several."""


class PackedDecoder:
    """A Transformers causal language model's decoder, run over packs.

    One forward pass at a time: its graph must be used, or dropped, before the next begins.

    Args:
        model: The model; its weights are used in place.
        linear: Makes the layer to run from a linear module of the model.
        recomputed_layers: How many layers keep only their input and are computed again going backward, which saves
            memory and costs time (gradient checkpointing).
        embed: Token ids (T,) to the first layer's input (T, D), in place of the model's embedding.
    """

    def __init__(
        self,
        model: Any,
        linear: Callable[[Any], Linear],
        recomputed_layers: int = 0,
        embed: Callable[[torch.Tensor], torch.Tensor] | None = None,
    ) -> None:
        self.recomputed_layers = recomputed_layers
        self._linear = linear
        self._decoder = model.get_decoder()
        self._embed = embed or self._decoder.embed_tokens
        self._shape = decoder_of(model.config)
        self.head = model.get_output_embeddings().weight
        """Vocabulary weights (V, D)."""
        self._arena = Arena(self.head.device)
        self._final_norm = self._norm(self._decoder.norm)
        # Gemma 3 rotates layers with and without a window differently; its rotary module asks for the kind of layer.
        kinds = model.config.layer_types if model.config.model_type == "gemma3_text" else [None] * self._shape.layers
        self._layers = [
            self._layer(layer, window, kind)
            for layer, window, kind in zip(self._decoder.layers, self._shape.windows, kinds, strict=True)
        ]

    def hidden(self, pack: Pack) -> torch.Tensor:
        """Final hidden states (N, D) of the pack's predictor rows."""
        last = deque(self.layer_outputs(pack), maxlen=1).pop()
        return Recomputed.apply(self._final_norm, last)

    def layer_outputs(self, pack: Pack) -> Iterator[torch.Tensor]:
        """The embedded tokens (T, D), then what each layer makes of them, computed when asked for; (N, D) the last."""
        x = self._embed(pack.ids)
        yield x
        attend = attention_over(pack)
        ropes = {kind: self._rope(pack, x, kind) for kind in {layer.rope_type for layer in self._layers}}
        self._arena.reset()
        keep = self._arena.take if torch.is_grad_enabled() else self._allocate
        for index, layer in enumerate(self._layers):
            # Past the last attention, only the rows that predict a target matter.
            rows = pack.predictors if layer is self._layers[-1] else None
            if index < self.recomputed_layers and torch.is_grad_enabled():
                arguments = (self._allocate, keep, layer, x, ropes[layer.rope_type], attend, rows)
                x = checkpoint(self._run, *arguments, use_reentrant=False, preserve_rng_state=False)
            else:
                x = self._run(keep, keep, layer, x, ropes[layer.rope_type], attend, rows)
            yield x

    def _allocate(self, shape: tuple[int, ...], dtype: torch.dtype) -> torch.Tensor:
        return torch.empty(shape, dtype=dtype, device=self.head.device)

    def _run(
        self,
        take: Take,
        take_last: Take,
        layer: Layer,
        x: torch.Tensor,
        rope: tuple[torch.Tensor, torch.Tensor],
        attend: Callable[..., torch.Tensor],
        rows: torch.Tensor | None,
    ) -> torch.Tensor:
        q, k, v = project(take, layer.attention_norm, layer.queries_keys_values, x)
        cosines, sines = rope
        scale = self._shape.attention_scale
        rotate_queries = Rotate(cosines * scale, sines * scale, layer.query_norm)
        attended = attend(take, q, k, v, rotate_queries, Rotate(cosines, sines, layer.key_norm), layer.window)
        if rows is not None:
            x, attended = x[rows], attended[rows]
        out = project(take, Same(), [layer.attention_out], attended)
        x = _Add.apply(take, layer.attention_post_norm, x, out)
        gate, up = project(take, layer.mlp_norm, layer.gate_up, x)
        # Only a norm needs its input again going backward.
        take_down = self._allocate if layer.mlp_post_norm is None else take
        out = project(take_down, layer.activation, [layer.down], gate, up)
        return _Add.apply(take_last, layer.mlp_post_norm, x, out)

    def _rope(self, pack: Pack, x: torch.Tensor, kind: str | None) -> tuple[torch.Tensor, torch.Tensor]:
        """Cosines and sines (T, D / 2) in float32, as the model computes them."""
        like = torch.empty(0, dtype=torch.float32, device=x.device)
        cosines, sines = self._decoder.rotary_emb(like, pack.positions[None], *(() if kind is None else (kind,)))
        half = cosines.shape[-1] // 2
        return cosines[0, :, :half], sines[0, :, :half]

    def _norm(self, module: Any) -> Norm:
        return Norm(module.weight.detach().float() + self._shape.norm_offset, self._shape.norm_epsilon)

    def _layer(self, layer: Any, window: int, kind: str | None) -> Layer:
        attention, mlp, shape, linear = layer.self_attn, layer.mlp, self._shape, self._linear
        post = shape.has_post_norms
        return Layer(
            attention_norm=self._norm(layer.input_layernorm),
            queries_keys_values=(linear(attention.q_proj), linear(attention.k_proj), linear(attention.v_proj)),
            query_norm=self._norm(attention.q_norm) if shape.has_qk_norm else None,
            key_norm=self._norm(attention.k_norm) if shape.has_qk_norm else None,
            attention_out=linear(attention.o_proj),
            attention_post_norm=self._norm(layer.post_attention_layernorm) if post else None,
            mlp_norm=self._norm(layer.pre_feedforward_layernorm if post else layer.post_attention_layernorm),
            gate_up=(linear(mlp.gate_proj), linear(mlp.up_proj)),
            activation=Gated(shape.activation),
            down=linear(mlp.down_proj),
            mlp_post_norm=self._norm(layer.post_feedforward_layernorm) if post else None,
            window=window,
            rope_type=kind,
        )
