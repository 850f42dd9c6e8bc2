"""Builds the decoder as an ONNX graph, for every supported family, from the fused operators that browsers run.

No available exporter produces a correct Gemma 3 that loads in a browser, so the graph is built here, node by node. The
same code builds two graphs: one with full-precision matrices, to prove that it equals the Transformers model, and one
with matrices in blocks of 4 or 8 bits, for the package. Matrices that share an input and a format become one product.

Shapes: B batch, S new tokens, P past tokens, T = P + S, H hidden size, N heads, G key/value heads, D head size,
V vocabulary, K inner size of a matrix product.

Source: operator definitions in onnxruntime's docs/ContribOperators.md (GroupQueryAttention, MatMulNBits,
RotaryEmbedding, SkipSimplifiedLayerNormalization); RMS normalization is SimplifiedLayerNormalization there.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import onnx_ir as ir

from tinsmith.export.blocks import Refinement
from tinsmith.export.decoder_nodes import DecoderNodes, Weights, gather_blocks, linear, projections, store
from tinsmith.export.onnx_nodes import CONTRIB
from tinsmith.model.families import Decoder

OPSET = 21
REFINED_ROWS = "lm_head.refined.places"
"""Initializer with each token's row in the head's refinement."""
_MOST_OF_A_TURN = 6.28125
"""2 pi, truncated to eight significant bits."""
_KEEP_ALL_ROWS = np.iinfo(np.int64).max


def build_decoder(
    decoder: Decoder, weights: Weights, floats: ir.DataType = ir.DataType.FLOAT, residual_scale: float = 1.0
) -> ir.Model:
    """Build the decoder as an ONNX model with a key/value cache, computing in `floats` (F), float32 or float16.

    In a model with post-norms, `residual_scale` shrinks the residual stream without changing any result: everything
    added to the stream is multiplied by it, and every norm that reads the stream cancels it.

    Inputs: `input_ids` (B, S) int64, `attention_mask` (B, T) int64, `position_ids` (B, S) int64,
    `num_logits_to_keep` () int64 (0 keeps all, k the last k; runtimes ask for 1 while generating),
    `past_key_values.<i>.key|value` (B, G, P, D) F.
    Outputs: `logits` (B, kept, V) float32, `present.<i>.key|value` (B, G, T, D) F.
    """
    g = DecoderNodes(decoder, weights, floats, residual_scale)
    inputs = _inputs(decoder, floats)
    lengths = _lengths(g, inputs["attention_mask"])
    rotations = {
        _rope_key(rope): _rotation(g, rope, inputs["position_ids"], index) for index, rope in _distinct_ropes(decoder)
    }
    head = _head_storage(g)
    residual = _embed(g, inputs["input_ids"], head)
    normed = _rms_norm(g, "model.layers.0.input_layernorm", residual, _residual_epsilon(g))
    outputs: list[ir.Value] = []
    for index in range(decoder.layers):
        prefix = f"model.layers.{index}"
        attended, present = _attention(g, index, normed, inputs, lengths, rotations[_rope_key(decoder.rope[index])])
        outputs += present
        if decoder.has_post_norms:
            attended = _post_norm(g, f"{prefix}.post_attention_layernorm", attended)
        before_mlp = "pre_feedforward_layernorm" if decoder.has_post_norms else "post_attention_layernorm"
        normed, residual = _add_and_norm(g, f"{prefix}.{before_mlp}", attended, residual)
        change = _mlp(g, prefix, normed)
        if decoder.has_post_norms:
            change = _post_norm(g, f"{prefix}.post_feedforward_layernorm", change)
        is_last = index + 1 == decoder.layers
        next_norm = "model.norm" if is_last else f"model.layers.{index + 1}.input_layernorm"
        normed, residual = _add_and_norm(g, next_norm, change, residual)
    logits = _logits(g, normed, inputs["num_logits_to_keep"], head)
    if floats != ir.DataType.FLOAT:
        logits = g.op("logits/float", "Cast", [logits], {"to": ir.DataType.FLOAT})
    logits.name = "logits"
    logits.dtype = ir.DataType.FLOAT
    logits.shape = ir.Shape(["batch_size", "kept_length", decoder.vocab_size])
    return _model(g, list(inputs.values()), [logits, *outputs])


def _inputs(decoder: Decoder, floats: ir.DataType) -> dict[str, ir.Value]:
    def value(name: str, shape: list, dtype: ir.DataType) -> ir.Value:
        return ir.Value(name=name, shape=ir.Shape(shape), type=ir.TensorType(dtype))

    integers = ir.DataType.INT64
    values = {
        "input_ids": value("input_ids", ["batch_size", "sequence_length"], integers),
        "attention_mask": value("attention_mask", ["batch_size", "total_sequence_length"], integers),
        "position_ids": value("position_ids", ["batch_size", "sequence_length"], integers),
        "num_logits_to_keep": value("num_logits_to_keep", [], integers),
    }
    # The head size must be a number: Transformers.js creates the first, empty cache from these shapes.
    shape = ["batch_size", decoder.kv_heads, "past_sequence_length", decoder.head_dim]
    for index in range(decoder.layers):
        for part in ("key", "value"):
            name = f"past_key_values.{index}.{part}"
            values[name] = value(name, shape, floats)
    return values


def _lengths(g: DecoderNodes, attention_mask: ir.Value) -> tuple[ir.Value, ir.Value]:
    """GroupQueryAttention's `seqlens_k` (B) = tokens so far - 1, and `total_sequence_length` () = T, both int32."""
    last_axis = g.constant([-1], np.int64)
    seen = g.op("lengths/seen", "ReduceSum", [attention_mask, last_axis], {"keepdims": 0})
    last = g.op("lengths/last", "Sub", [seen, g.constant(1, np.int64)])
    shape = g.op("lengths/shape", "Shape", [attention_mask])
    total = g.op("lengths/total", "Gather", [shape, g.constant(1, np.int64)], {"axis": 0})
    int32 = {"to": ir.DataType.INT32}
    return g.op("lengths/seqlens_k", "Cast", [last], int32), g.op("lengths/total_int32", "Cast", [total], int32)


def _rope_key(rope: dict) -> tuple:
    return tuple(sorted((key, str(value)) for key, value in rope.items()))


def _distinct_ropes(decoder: Decoder) -> list[tuple[int, dict]]:
    distinct: dict[tuple, dict] = {}
    for rope in decoder.rope:
        distinct.setdefault(_rope_key(rope), rope)
    return list(enumerate(distinct.values()))


def _rotation(g: DecoderNodes, rope: dict, position_ids: ir.Value, index: int) -> tuple[ir.Value, ir.Value, ir.Value]:
    """Cosines and sines (B*S, D/2) for `position_ids`, and each token's row in them (B, S).

    They are computed at run time, because a table for Gemma's whole context would add a fifth to the package, and in
    float32, because float16 cannot represent all integers above 2,048. Whole turns are subtracted first, because WGSL
    guarantees accurate sines between -pi and pi only (https://www.w3.org/TR/WGSL/#floating-point-accuracy).
    """
    frequencies, scaling = inverse_frequencies(rope, g.decoder)
    name = f"rope_{index}"
    positions = g.op(f"{name}/positions", "Cast", [position_ids], {"to": ir.DataType.FLOAT})
    column = g.op(f"{name}/column", "Reshape", [positions, g.constant([-1, 1], np.int64)])
    angles = _within_half_a_turn(
        g, name, g.op(f"{name}/all", "Mul", [column, g.constant(frequencies[None, :], np.float32)])
    )
    cosines = g.op(f"{name}/cos", "Cos", [angles])
    sines = g.op(f"{name}/sin", "Sin", [angles])
    if scaling != 1.0:
        cosines = g.op(f"{name}/cos_scaled", "Mul", [cosines, g.constant(scaling, np.float32)])
        sines = g.op(f"{name}/sin_scaled", "Mul", [sines, g.constant(scaling, np.float32)])
    shape = g.op(f"{name}/shape", "Shape", [position_ids])
    count = g.op(f"{name}/count", "ReduceProd", [shape], {"keepdims": 0})
    rows = g.op(f"{name}/range", "Range", [g.constant(0, np.int64), count, g.constant(1, np.int64)])
    cosines, sines = (g.computed(table, ir.DataType.FLOAT) for table in (cosines, sines))
    return cosines, sines, g.op(f"{name}/rows", "Reshape", [rows, shape])


def _within_half_a_turn(g: DecoderNodes, name: str, angles: ir.Value) -> ir.Value:
    """Subtract whole turns from `angles` without losing accuracy.

    A turn is subtracted in two parts. The first has eight bits, so its product with a number of turns is exact in
    float32 up to 2^16 turns.

    Source: W. J. Cody and W. Waite, Software Manual for the Elementary Functions, 1980.
    """
    turns = g.op(f"{name}/turns", "Mul", [angles, g.constant(1 / (2 * np.pi), np.float32)])
    whole = g.op(f"{name}/whole", "Floor", [g.op(f"{name}/nearest", "Add", [turns, g.constant(0.5, np.float32)])])
    for part, size in (("most", _MOST_OF_A_TURN), ("rest", 2 * np.pi - _MOST_OF_A_TURN)):
        angles = g.op(
            f"{name}/{part}",
            "Sub",
            [angles, g.op(f"{name}/{part}_turns", "Mul", [whole, g.constant(size, np.float32)])],
        )
    return angles


def inverse_frequencies(rope: dict, decoder: Decoder) -> tuple[np.ndarray, float]:
    """Inverse frequencies (D/2) and the factor on cos and sin, as Transformers computes them for this `rope_type`."""
    import torch
    from transformers import LlamaConfig
    from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS

    if rope.get("rope_type", "default") == "default":
        exponents = np.arange(0, decoder.head_dim, 2, dtype=np.float32) / decoder.head_dim
        return (1.0 / np.float32(rope["rope_theta"]) ** exponents).astype(np.float32), 1.0
    config = LlamaConfig(
        hidden_size=decoder.hidden_size,
        num_attention_heads=decoder.heads,
        head_dim=decoder.head_dim,
        rope_parameters=dict(rope),
    )
    frequencies, scaling = ROPE_INIT_FUNCTIONS[rope["rope_type"]](config, torch.device("cpu"))
    return frequencies.numpy().astype(np.float32), float(scaling)


def _head_storage(g: DecoderNodes) -> tuple[ir.Value, ...]:
    """The head's initializers; a tied embedding gathers from the same ones."""
    name = "model.embed_tokens.weight" if g.decoder.is_tied else "lm_head.weight"
    return store(g, "lm_head", [g.weights.matrix(name)])


def _embed(g: DecoderNodes, input_ids: ir.Value, head: tuple[ir.Value, ...]) -> ir.Value:
    storage = head
    if not g.decoder.is_tied:
        storage = store(g, "embed_tokens", [g.weights.matrix("model.embed_tokens.weight")])
    if len(storage) == 1:
        rows = g.op("embed/rows", "Gather", [storage[0], input_ids])
    else:
        rows = gather_blocks(g, input_ids, *storage)
    scale = g.decoder.embedding_scale * g.residual_scale
    return g.op("embed/scaled", "Mul", [rows, g.number(scale)]) if scale != 1.0 else rows


def _norm_weight(g: DecoderNodes, name: str, scale: float = 1.0) -> ir.Value:
    weight = g.initializer(f"{name}.weight", g.weights.vector(f"{name}.weight") + np.float32(g.decoder.norm_offset))
    if scale != 1.0:  # in float32: the unscaled weight may not fit into float16
        weight = g.op(f"{name}/scaled", "Mul", [weight, g.constant(scale, np.float32)])
    return g.computed(weight, ir.DataType.FLOAT)


def _residual_epsilon(g: DecoderNodes) -> float:
    """Epsilon of a norm that reads the residual stream. It is added to a mean square, so its scale is squared."""
    return g.decoder.norm_epsilon * g.residual_scale**2


def _rms_norm(
    g: DecoderNodes, name: str, hidden: ir.Value, epsilon: float | None = None, scale: float = 1.0
) -> ir.Value:
    weight = _norm_weight(g, name, scale)
    attributes = {"epsilon": g.decoder.norm_epsilon if epsilon is None else epsilon, "axis": -1, "stash_type": 1}
    return g.op(name, "SimplifiedLayerNormalization", [hidden, weight], attributes)


def _post_norm(g: DecoderNodes, name: str, change: ir.Value) -> ir.Value:
    """Normalize a change to the residual stream, at the stream's scale."""
    return _rms_norm(g, name, change, scale=g.residual_scale)


def _add_and_norm(g: DecoderNodes, name: str, change: ir.Value, residual: ir.Value) -> tuple[ir.Value, ir.Value]:
    """(RMS norm of residual + change, residual + change)."""
    outputs = g.ops(
        name,
        "SkipSimplifiedLayerNormalization",
        [residual, change, _norm_weight(g, name)],
        4,
        {"epsilon": _residual_epsilon(g)},
        CONTRIB,
    )
    return outputs[0], outputs[3]


def _attention(
    g: DecoderNodes,
    index: int,
    normed: ir.Value,
    inputs: Mapping[str, ir.Value],
    lengths: Sequence[ir.Value],
    rotation: Sequence[ir.Value],
) -> tuple[ir.Value, list[ir.Value]]:
    d = g.decoder
    name = f"model.layers.{index}.self_attn"
    sizes = {"q": d.heads * d.head_dim, "k": d.kv_heads * d.head_dim, "v": d.kv_heads * d.head_dim}
    query, key, value = projections(g, name, normed, sizes, d.has_qkv_bias)
    if d.has_qk_norm:
        query = _head_norm(g, f"{name}.q_norm", query, d.heads)
        key = _head_norm(g, f"{name}.k_norm", key, d.kv_heads)
    cosines, sines, rows = rotation
    query = g.op(f"{name}.q_rope", "RotaryEmbedding", [query, rows, cosines, sines], None, CONTRIB)
    key = g.op(f"{name}.k_rope", "RotaryEmbedding", [key, rows, cosines, sines], None, CONTRIB)
    past = [inputs[f"past_key_values.{index}.{part}"] for part in ("key", "value")]
    attributes = {"num_heads": d.heads, "kv_num_heads": d.kv_heads, "scale": d.attention_scale}
    if d.windows[index]:
        attributes["local_window_size"] = d.windows[index]
    attended, *present = g.ops(
        f"{name}.attention", "GroupQueryAttention", [query, key, value, *past, *lengths], 3, attributes, CONTRIB
    )
    for part, output in zip(("key", "value"), present, strict=True):
        output.name = f"present.{index}.{part}"
        output.dtype = g.floats
        output.shape = ir.Shape(["batch_size", d.kv_heads, "total_sequence_length", d.head_dim])
    (out,) = projections(g, name, attended, {"o": d.hidden_size})
    return out, present


def _head_norm(g: DecoderNodes, name: str, hidden: ir.Value, heads: int) -> ir.Value:
    """RMS norm of each head separately; (B, S, heads * D) in and out."""
    size = g.decoder.head_dim
    split = g.op(f"{name}/split", "Reshape", [hidden, g.constant([0, 0, heads, size], np.int64)])
    normed = _rms_norm(g, name, split)
    return g.op(f"{name}/joined", "Reshape", [normed, g.constant([0, 0, heads * size], np.int64)])


def _mlp(g: DecoderNodes, prefix: str, normed: ir.Value) -> ir.Value:
    name = f"{prefix}.mlp"
    size = g.decoder.intermediate_size
    gate, up = projections(g, name, normed, {"gate": size, "up": size})
    if g.decoder.activation == "gelu_tanh":
        active = g.op(f"{name}.gelu", "FastGelu", [gate], None, CONTRIB)
    else:
        active = g.op(f"{name}.silu", "Mul", [gate, g.op(f"{name}.sigmoid", "Sigmoid", [gate])])
    product = g.op(f"{name}.product", "Mul", [active, up])
    (out,) = projections(g, name, product, {"down": g.decoder.hidden_size})
    return out


def _logits(g: DecoderNodes, normed: ir.Value, keep: ir.Value, head: tuple[ir.Value, ...]) -> ir.Value:
    """Logits of the last `keep` positions; slicing from -0 keeps all of them."""
    one = g.constant([1], np.int64)
    start = g.op("logits/start", "Neg", [g.op("logits/keep", "Reshape", [keep, one])])
    ends, axes = g.constant([_KEEP_ALL_ROWS], np.int64), g.constant([1], np.int64)
    kept = g.op("logits/kept", "Slice", [normed, start, ends, axes])
    logits = linear(g, "lm_head", kept, head)
    return logits if g.weights.refinement is None else _refined(g, kept, logits, g.weights.refinement)


def _refined(g: DecoderNodes, kept: ir.Value, logits: ir.Value, refinement: Refinement) -> ir.Value:
    """Add the contribution of the head's refined rows to `logits` (B, kept, V)."""
    shares = linear(g, "lm_head.refined", kept, store(g, "lm_head.refined", [refinement.blocks]))
    rows = g.initializer(REFINED_ROWS, refinement.rows)
    spread = g.op("logits/shares", "Gather", [shares, rows], {"axis": 2})
    return g.op("logits/refined", "Add", [logits, spread])


def _model(g: DecoderNodes, inputs: list[ir.Value], outputs: list[ir.Value]) -> ir.Model:
    graph = ir.Graph(
        inputs,
        outputs,
        nodes=g.nodes,
        initializers=list(g.initializers.values()),
        opset_imports={"": OPSET, CONTRIB: 1},
        name="decoder",
    )
    return ir.Model(graph, ir_version=10, producer_name="tinsmith")
