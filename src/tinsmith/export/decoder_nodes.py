"""Nodes of the decoder graph: its weights in every format, and products with them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx_ir as ir

from tinsmith.export.blocks import BLOCK_SIZE, Blocks, Refinement, bits_of
from tinsmith.export.onnx_nodes import CONTRIB, NodeMaker, shape_of
from tinsmith.model.families import Decoder

Matrix = np.ndarray | Blocks
"""A weight of shape (out features, in features): float32, or blocks along the in features."""


@dataclass(frozen=True, slots=True)
class Weights:
    """Source of a model's weights, by Transformers parameter names."""

    matrix: Callable[[str], Matrix]
    vector: Callable[[str], np.ndarray]
    """A float32 vector, such as a norm's weight."""
    refinement: Refinement | None = None


class DecoderNodes(NodeMaker):
    """Nodes of one decoder graph.

    `floats` is the format the graph computes in. Weights are stored in the same format for all of them, so that the
    graphs of a package can share the files.
    """

    def __init__(self, decoder: Decoder, weights: Weights, floats: ir.DataType, residual_scale: float) -> None:
        super().__init__()
        self.decoder = decoder
        self.weights = weights
        self.floats = floats
        self.residual_scale = residual_scale

    def initializer(self, name: str, array: np.ndarray) -> ir.Value:
        """A named constant. A scalar becomes a vector of one element, which ONNX Runtime accepts as a scalar."""
        return super().initializer(name, np.ascontiguousarray(array))

    def number(self, value: float) -> ir.Value:
        """A constant in the format the graph computes in."""
        return self.constant(value, self.floats.numpy())

    def vector(self, name: str, array: np.ndarray) -> ir.Value:
        """A float32 vector, in the format the graph computes in."""
        return self.computed(self.initializer(name, array), ir.DataType.FLOAT)

    def computed(self, value: ir.Value, dtype: ir.DataType) -> ir.Value:
        """Cast `value` of type `dtype` to the format the graph computes in; constants are cast once, at load."""
        if dtype == self.floats:
            return value
        return self.op(f"{value.name}/{self.floats.name.lower()}", "Cast", [value], {"to": self.floats})


def store(g: DecoderNodes, name: str, matrices: Sequence[Matrix]) -> tuple[ir.Value, ...]:
    """Initializers of `matrices`, all of one format, stacked along their out features.

    Scales are stored in float16 and cast to the format the graph computes in, as MatMulNBits requires.
    """
    blocks = [matrix for matrix in matrices if isinstance(matrix, Blocks)]
    if not blocks:
        return (g.initializer(f"{name}.weight", _stacked([np.asarray(matrix) for matrix in matrices])),)
    packed = g.initializer(f"{name}.packed", _stacked([matrix.packed for matrix in blocks]))
    scales = g.initializer(f"{name}.scales", _stacked([matrix.scales for matrix in blocks]))
    storage = packed, g.computed(scales, ir.DataType.FLOAT16)
    zeros = [matrix.zeros for matrix in blocks if matrix.zeros is not None]
    return (*storage, g.initializer(f"{name}.zeros", _stacked(zeros))) if zeros else storage


def _stacked(arrays: Sequence[np.ndarray]) -> np.ndarray:
    return arrays[0] if len(arrays) == 1 else np.concatenate(arrays)


def linear(g: DecoderNodes, name: str, hidden: ir.Value, storage: tuple[ir.Value, ...]) -> ir.Value:
    """Multiply `hidden` (B, S, K) by the transposed matrix: (B, S, out features)."""
    if len(storage) == 1:
        transposed = g.op(f"{name}/transposed", "Transpose", [storage[0]], {"perm": [1, 0]})
        return g.op(name, "MatMul", [hidden, transposed])
    packed = storage[0]
    rows, blocks, _ = shape = shape_of(packed)
    attributes = {"N": rows, "K": blocks * BLOCK_SIZE, "bits": bits_of(shape), "block_size": BLOCK_SIZE}
    return g.op(name, "MatMulNBits", [hidden, *storage], attributes, CONTRIB)


def projections(
    g: DecoderNodes, prefix: str, hidden: ir.Value, sizes: dict[str, int], has_bias: bool = False
) -> list[ir.Value]:
    """Project `hidden` (B, S, K) to each part named in `sizes`: (B, S, size), in one product per weight format."""
    matrices = {part: g.weights.matrix(f"{prefix}.{part}_proj.weight") for part in sizes}
    formats: dict[Any, list[str]] = {}
    for part, matrix in matrices.items():
        formats.setdefault(matrix.bits if isinstance(matrix, Blocks) else None, []).append(part)
    outputs: dict[str, ir.Value] = {}
    for parts in formats.values():
        name = f"{prefix}.{'_'.join(parts)}_proj"
        product = linear(g, name, hidden, store(g, name, [matrices[part] for part in parts]))
        if has_bias:
            bias = np.concatenate([g.weights.vector(f"{prefix}.{part}_proj.bias") for part in parts])
            product = g.op(f"{name}.biased", "Add", [product, g.vector(f"{name}.bias", bias)])
        if len(parts) == 1:
            outputs[parts[0]] = product
            continue
        lengths = g.constant([sizes[part] for part in parts], np.int64)
        split = g.ops(f"{name}.split", "Split", [product, lengths], len(parts), {"axis": -1})
        outputs |= zip(parts, split, strict=True)
    return [outputs[part] for part in sizes]


def gather_blocks(
    g: DecoderNodes, input_ids: ir.Value, packed: ir.Value, scales: ir.Value, zeros: ir.Value
) -> ir.Value:
    """Gather rows of a 4-bit matrix (B, S, H) and unpack them with standard operators.

    GatherBlockQuantized would be one node, but the WASM runtime has no kernel for it.
    """
    blocks, last = shape_of(packed)[1], g.constant([-1], np.int64)
    row_bytes = g.op("embed/bytes", "Gather", [packed, input_ids])
    integers = _nibbles(g, "embed/integers", row_bytes, [0, 0, blocks, BLOCK_SIZE])
    even = blocks + blocks % 2
    zero_points = _nibbles(g, "embed/zeros", g.op("embed/zero_bytes", "Gather", [zeros, input_ids]), [0, 0, even, 1])
    if even > blocks:
        start, stop, axis = (g.constant([value], np.int64) for value in (0, blocks, 2))
        zero_points = g.op("embed/own_zeros", "Slice", [zero_points, start, stop, axis])
    centred = g.op("embed/centred", "Sub", [integers, zero_points])
    row_scales = g.op("embed/row_scales", "Gather", [scales, input_ids])  # (B, S, blocks)
    column = g.op("embed/scale_column", "Unsqueeze", [row_scales, last])
    scaled = g.op("embed/dequantized", "Mul", [centred, column])
    return g.op("embed/hidden", "Reshape", [scaled, g.constant([0, 0, g.decoder.hidden_size], np.int64)])


def _nibbles(g: DecoderNodes, name: str, stored: ir.Value, shape: list[int]) -> ir.Value:
    """The 4-bit numbers in `stored` bytes, as `shape` and in the format the graph computes in."""
    last = g.constant([-1], np.int64)
    low = g.op(f"{name}/low", "BitwiseAnd", [stored, g.constant(15, np.uint8)])
    high = g.op(f"{name}/high", "BitShift", [stored, g.constant(4, np.uint8)], {"direction": "RIGHT"})
    pair = [g.op(f"{name}/{half}_column", "Unsqueeze", [value, last]) for half, value in (("low", low), ("high", high))]
    both = g.op(f"{name}/both", "Concat", pair, {"axis": -1})
    shaped = g.op(f"{name}/shaped", "Reshape", [both, g.constant(shape, np.int64)])
    return g.op(f"{name}/floats", "Cast", [shaped], {"to": g.floats})
