"""Can the package's graph compute in float16, for GPUs that are quicker in it? Only if nothing overflows.

float16 ends at 65,504, so what matters is the largest value that any tensor of the graph takes. It is looked for in the
packaged float32 graph, on conversations the model was calibrated on. Gemma 3's residual stream goes beyond; where every
change to the stream passes a norm first, the stream can be kept smaller by a constant and no result changes.
"""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import onnx_ir as ir
from tqdm import tqdm

from tinsmith.model.families import Decoder
from tinsmith.model.onnx_decoder import load_onnx
from tinsmith.model.tokens import Tokens

END = float(np.finfo(np.float16).max)
MOST = END / 2
"""Room is left for partial sums inside operators, and for texts that were not read here."""

_WATCHED = frozenset(
    {
        "Add",
        "FastGelu",
        "GroupQueryAttention",
        "MatMulNBits",
        "Mul",
        "RotaryEmbedding",
        "SimplifiedLayerNormalization",
        "SkipSimplifiedLayerNormalization",
    }
)
"""Operators whose results can be larger than what goes in."""

_SUM = 3
"""SkipSimplifiedLayerNormalization's output that is the sum of its inputs: the residual stream."""

_OUTPUT = "largest"


def largest_values(onnx_path: Path, decoder: Decoder, conversations: Sequence[Tokens]) -> dict[str, float]:
    """Largest magnitudes by tensor while the float32 graph at `onnx_path` reads `conversations`.

    Attention scores are inside an operator; for them stands the product of the longest query and the longest key.
    """
    model = ir.load(onnx_path)
    names = _watch(model, decoder.head_dim)
    watched_path = onnx_path.with_name("watched.onnx")  # beside its weights
    ir.save(model, watched_path)
    graph = load_onnx(watched_path)
    watched_path.unlink()
    found = np.zeros(len(names), np.float32)
    for tokens in tqdm(conversations, desc="largest values", unit="conversation", dynamic_ncols=True):
        found = np.maximum(found, graph.start().outputs(tokens.ids, keep=1)[_OUTPUT].numpy())
    largest = dict(zip(names, found.tolist(), strict=True))
    for index in range(decoder.layers):
        name = f"model.layers.{index}.self_attn"
        largest[f"{name}.scores"] = largest.pop(f"{name}.q_rope") * largest.pop(f"{name}.k_rope")
    return largest


def residual_scale(decoder: Decoder, largest: Mapping[str, float]) -> float:
    """A power of two that keeps the residual stream within `MOST`; 1 where it is, or where nothing can be done."""
    if not decoder.has_post_norms:
        return 1.0
    stream = max(value for name, value in largest.items() if _is_residual(name))
    return 2.0 ** -max(0, math.ceil(math.log2(stream / MOST)))


def scaled(largest: Mapping[str, float], scale: float) -> dict[str, float]:
    """`largest` with the residual stream `scale` times its size."""
    return {name: value * scale if _is_residual(name) else value for name, value in largest.items()}


def _is_residual(name: str) -> bool:
    """Whether a tensor of a graph with post-norms is the residual stream or goes into it."""
    return name.endswith(".sum") or name == "embed/scaled" or ".post_" in name


def _watch(model: ir.Model, head_dim: int) -> list[str]:
    """Give `model` an output with the largest magnitude of every tensor that can grow; returns their names in order."""
    graph = model.graph
    watched = [node for node in graph if node.op_type in _WATCHED]
    flat = _constant(graph, "largest/flat", [-1])
    heads = _constant(graph, "largest/heads", [0, 0, -1, head_dim])
    last_axis = _constant(graph, "largest/last_axis", [-1])
    found = {}
    for node in watched:
        value = node.outputs[0]
        if node.op_type == "RotaryEmbedding":
            value = _append(graph, "ReduceL2", [_append(graph, "Reshape", [value, heads]), last_axis])
        found[node.name] = value
        if node.op_type == "SkipSimplifiedLayerNormalization":
            found[f"{node.name}.sum"] = node.outputs[_SUM]
    largest = [_append(graph, "ReduceMax", [_append(graph, "Abs", [value])]) for value in found.values()]
    together = _append(graph, "Concat", [_append(graph, "Reshape", [value, flat]) for value in largest], {"axis": 0})
    together.name = _OUTPUT
    graph.outputs.append(together)
    return list(found)


def _append(graph: ir.Graph, op_type: str, inputs: list[ir.Value], attributes: dict | None = None) -> ir.Value:
    node = ir.node(op_type, inputs, attributes or {})
    graph.append(node)
    return node.outputs[0]


def _constant(graph: ir.Graph, name: str, values: list[int]) -> ir.Value:
    value = ir.Value(name=name, const_value=ir.tensor(np.asarray(values, np.int64), name=name))
    graph.register_initializer(value)
    return value
