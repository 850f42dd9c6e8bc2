"""The decoder's forward pass over a pack, for every family.

It saves only what would be expensive to recompute in the backward pass. It uses the Transformers model's weights in
place. The caller decides what linear layers compute and which of their tensors are trained.
"""

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch.utils.checkpoint import checkpoint

from tinsmith.model.families import decoder_of
from tinsmith.model.packed.arena import Arena
from tinsmith.model.packed.attention import Allocate, Recomputed, attention_over
from tinsmith.model.packed.operations import Add, Gated, Identity, Linear, Norm, Rotate, project
from tinsmith.model.packed.packing import Pack


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
    """The model's name for this layer's RoPE, if it has several."""


class PackedDecoder:
    """Runs the decoder of a Transformers causal language model over packs.

    Only one forward pass at a time: call its backward pass or drop its result before the next one starts.

    Args:
        model: The Transformers model.
        linear: Maps each linear module of the model to the layer that runs in its place.
        recomputed_layers: Number of layers with gradient checkpointing. They save only their input and run again in the
            backward pass, which saves memory and costs time.
        embed: Maps token ids (T,) to the first layer's input (T, D), in place of the model's embedding.
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
        # Gemma 3 has different RoPE for layers with and without a window; its rotary module needs the layer type.
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
        """Yield the embedded tokens (T, D), then each layer's output (T, D), the last for predictors only (N, D)."""
        x = self._embed(pack.ids)
        yield x
        attend = attention_over(pack)
        ropes = {kind: self._rope(pack, x, kind) for kind in {layer.rope_type for layer in self._layers}}
        self._arena.reset()
        save = self._arena.allocate if torch.is_grad_enabled() else self._allocate
        for index, layer in enumerate(self._layers):
            # After the last attention, only rows that predict a target matter.
            rows = pack.predictors if layer is self._layers[-1] else None
            if index < self.recomputed_layers and torch.is_grad_enabled():
                arguments = (self._allocate, save, layer, x, ropes[layer.rope_type], attend, rows)
                x = checkpoint(self._layer_output, *arguments, use_reentrant=False, preserve_rng_state=False)
            else:
                x = self._layer_output(save, save, layer, x, ropes[layer.rope_type], attend, rows)
            yield x

    def _allocate(self, shape: tuple[int, ...], dtype: torch.dtype) -> torch.Tensor:
        return torch.empty(shape, dtype=dtype, device=self.head.device)

    def _layer_output(
        self,
        allocate: Allocate,
        allocate_output: Allocate,
        layer: Layer,
        x: torch.Tensor,
        rope: tuple[torch.Tensor, torch.Tensor],
        attend: Callable[..., torch.Tensor],
        rows: torch.Tensor | None,
    ) -> torch.Tensor:
        q, k, v = project(allocate, layer.attention_norm, layer.queries_keys_values, x)
        cosines, sines = rope
        scale = self._shape.attention_scale
        rotate_queries = Rotate(cosines * scale, sines * scale, layer.query_norm)
        attended = attend(allocate, q, k, v, rotate_queries, Rotate(cosines, sines, layer.key_norm), layer.window)
        if rows is not None:
            x, attended = x[rows], attended[rows]
        out = project(allocate, Identity(), [layer.attention_out], attended)
        x = Add.apply(allocate, layer.attention_post_norm, x, out)
        gate, up = project(allocate, layer.mlp_norm, layer.gate_up, x)
        # The backward pass needs the MLP's result only if a norm follows.
        allocate_down = self._allocate if layer.mlp_post_norm is None else allocate
        out = project(allocate_down, layer.activation, [layer.down], gate, up)
        return Add.apply(allocate_output, layer.mlp_post_norm, x, out)

    def _rope(self, pack: Pack, x: torch.Tensor, kind: str | None) -> tuple[torch.Tensor, torch.Tensor]:
        """Cosines and sines (T, D / 2) in float32, from the model's own rotary module."""
        example = torch.empty(0, dtype=torch.float32, device=x.device)  # the module reads only its dtype and device
        cosines, sines = self._decoder.rotary_emb(example, pack.positions[None], *(() if kind is None else (kind,)))
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
