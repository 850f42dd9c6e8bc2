"""The float16 graph, for GPUs that compute faster in it; built only if nothing overflows.

float16 ends at 65,504, so the largest value of any tensor decides. The packaged float32 graph measures these values on
calibration conversations. Gemma 3's residual stream exceeds the range. If every change to the stream passes through a
norm first, the stream can be scaled by a constant without changing any result.
"""

import bisect
import math
from collections.abc import Mapping, Sequence
from itertools import accumulate
from pathlib import Path

import numpy as np
import onnx_ir as ir
from tqdm import tqdm

from tinsmith.core.run_dir import write_json
from tinsmith.derive.export import FLOAT16_END
from tinsmith.export.decoder_graph import build_decoder
from tinsmith.export.graphs.sources import Checked, Source
from tinsmith.export.onnx_nodes import NodeMaker, name_of
from tinsmith.export.package import save_sibling
from tinsmith.model.families import Decoder
from tinsmith.model.onnx_decoder import load_onnx
from tinsmith.model.package_format import FLOAT16, FLOAT32
from tinsmith.model.tokens import Tokens

MAX_VALUE = FLOAT16_END / 2
"""Leaves room for partial sums inside operators and for larger values on other texts."""

_SCANNED_TOKENS = 4096
_WATCHED = frozenset(
    """Add FastGelu GroupQueryAttention MatMulNBits Mul RotaryEmbedding SimplifiedLayerNormalization
    SkipSimplifiedLayerNormalization""".split()
)
"""Operators whose results can be larger than their inputs."""

_SUM = 3
"""Index of SkipSimplifiedLayerNormalization's output for the sum of its inputs: the residual stream."""

_OUTPUT = "largest"


def build(source: Source) -> str:
    """Write the graph unless a value could leave the range, and write how much of the range is used.

    Returns:
        A line for the stage's summary: whether the graph was built, and how much of the range is used.
    """
    counts = list(accumulate(len(tokens.ids) for tokens in source.conversations))
    scanned = max(1, bisect.bisect_right(counts, _SCANNED_TOKENS))
    largest = largest_values(source.package_dir / FLOAT32.file, source.decoder, source.conversations[:scanned])
    scale = residual_scale(source.decoder, largest)
    largest = scaled(largest, scale)
    tensor = max(largest, key=lambda name: largest[name])
    write_json(
        source.package_dir.parent / "float16_range.json",
        {"largest": largest, "scale": scale, "tokens": counts[scanned - 1]},
    )
    usage = f"{tensor} uses {largest[tensor] / FLOAT16_END:.0%} of the range"
    if largest[tensor] > MAX_VALUE:
        return f"no float16 graph for GPUs: {usage}"
    model = build_decoder(source.decoder, source.weights, ir.DataType.FLOAT16, scale)
    save_sibling(model, source.package_dir / FLOAT16.file, ir.load(source.package_dir / FLOAT32.file))
    return f"float16 graph for GPUs: {usage}"


def check(checked: Checked) -> None:
    """Require that the graph predicts nearly the same as the float32 graph."""
    logits = checked.probe.graph_logits(checked.package_dir / FLOAT16.file)
    checked.gates.require_close("float16", checked.float32, logits)


def largest_values(onnx_path: Path, decoder: Decoder, conversations: Sequence[Tokens]) -> dict[str, float]:
    """Largest magnitude of each tensor while the float32 graph at `onnx_path` reads `conversations`.

    Attention scores are internal to an operator, so they get a bound: the longest query times the longest key.
    """
    model = ir.load(onnx_path)
    names = _watch(model, decoder.head_dim)
    watched_path = onnx_path.with_name("watched.onnx")  # beside its weights
    ir.save(model, watched_path)
    graph = load_onnx(watched_path)
    watched_path.unlink()
    values = np.zeros(len(names), np.float32)
    for tokens in tqdm(conversations, desc="largest values", unit="conversation", dynamic_ncols=True):
        values = np.maximum(values, graph.start().outputs(tokens.ids, keep=1)[_OUTPUT].numpy())
    largest = dict(zip(names, values.tolist(), strict=True))
    for index in range(decoder.layers):
        name = f"model.layers.{index}.self_attn"
        largest[f"{name}.scores"] = largest.pop(f"{name}.q_rope") * largest.pop(f"{name}.k_rope")
    return largest


def residual_scale(decoder: Decoder, largest: Mapping[str, float]) -> float:
    """A power of two that keeps the residual stream within `MAX_VALUE`; 1 if it fits or there are no post-norms."""
    if not decoder.has_post_norms:
        return 1.0
    stream = max(value for name, value in largest.items() if _is_residual(name))
    return 2.0 ** -max(0, math.ceil(math.log2(stream / MAX_VALUE)))


def scaled(largest: Mapping[str, float], scale: float) -> dict[str, float]:
    """`largest` with the residual stream multiplied by `scale`."""
    return {name: value * scale if _is_residual(name) else value for name, value in largest.items()}


def _is_residual(name: str) -> bool:
    """Whether a tensor of a graph with post-norms is the residual stream or is added to it."""
    return name.endswith(".sum") or name == "embed/scaled" or ".post_" in name


def _watch(model: ir.Model, head_dim: int) -> list[str]:
    """Add an output to `model` with the largest magnitude of every watched tensor; returns their names in order."""
    graph, nodes = model.graph, NodeMaker(constants="largest/constant_")
    last_axis = flat = nodes.constant([-1], np.int64)
    heads = nodes.constant([0, 0, -1, head_dim], np.int64)
    watched: dict[str, ir.Value] = {}
    for node in graph:
        if node.op_type not in _WATCHED:
            continue
        value = node.outputs[0]
        if node.op_type == "RotaryEmbedding":
            by_head = nodes.op(f"largest/{node.name}/heads", "Reshape", [value, heads])
            value = nodes.op(f"largest/{node.name}/lengths", "ReduceL2", [by_head, last_axis])
        watched[name_of(node)] = value
        if node.op_type == "SkipSimplifiedLayerNormalization":
            watched[f"{node.name}.sum"] = node.outputs[_SUM]
    largest = []
    for name, value in watched.items():
        size = nodes.op(f"largest/{name}/sizes", "Abs", [value])
        largest.append(nodes.op(f"largest/{name}", "ReduceMax", [size]))
    rows = [nodes.op(f"{value.name}/row", "Reshape", [value, flat]) for value in largest]
    together = nodes.op("largest/together", "Concat", rows, {"axis": 0})
    nodes.append(graph)
    together.name = _OUTPUT
    graph.outputs.append(together)
    return list(watched)
