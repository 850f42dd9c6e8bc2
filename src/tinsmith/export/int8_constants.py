"""Weights of INT8 products as constants that ONNX Runtime computes from the 4-bit ones when it loads a graph.

The constants are written as DequantizeLinear, Flatten, QuantizeLinear, which ONNX Runtime folds. Without Flatten it
would keep DequantizeLinear (`CanConstantFoldQDQNodeUnit` in onnxruntime/core/optimizer/constant_folding.cc).
Intermediate values are float16, which is exact enough and needs half the memory of float32.
"""

from collections.abc import Sequence

import numpy as np
import onnx_ir as ir

from tinsmith.export.blocks import BLOCK_SIZE, bits_of
from tinsmith.export.int8_products import StoredMatrix
from tinsmith.export.onnx_nodes import NodeMaker, name_of, shape_of, tensor_of
from tinsmith.model.int8_weights import LARGEST_LEVEL, MIDDLE, SMALLEST_STEP, padded, width_of


class FoldedWeights:
    """A `WeightSource` of constants that ONNX Runtime folds."""

    def weights(
        self, nodes: NodeMaker, graph: ir.Graph, products: Sequence[ir.Node], factors: np.ndarray | None
    ) -> tuple[ir.Value, ir.Value]:
        """Weights and scales of `products` side by side, as `WeightSource` describes them."""
        name = f"{products[0].name}/int8"
        matrices = [_unpacked(nodes, graph, name_of(node), StoredMatrix.of(graph, node), factors) for node in products]
        levels, scales = matrices[0]
        if len(matrices) > 1:
            levels = nodes.op(f"{name}/rows", "Concat", [one for one, _ in matrices], {"axis": 0})
            scales = nodes.op(f"{name}/scales", "Concat", [one for _, one in matrices], {"axis": 0})
        return _arranged(nodes, name, levels, scales, sum(node.attributes["N"].as_int() for node in products))


def _arranged(nodes: NodeMaker, name: str, levels: ir.Value, scales: ir.Value, rows: int) -> tuple[ir.Value, ir.Value]:
    """Transpose `levels` (N, K); those of a wide product are cut into matrices first."""
    width, total = width_of(rows), padded(rows)
    if total > rows:
        padding, axis = nodes.constant([0, total - rows], np.int64), nodes.constant([0], np.int64)
        levels = nodes.op(f"{name}/filled", "Pad", [levels, padding, nodes.constant(0, np.uint8), axis])
        scales = nodes.op(f"{name}/filled_scales", "Pad", [scales, padding, nodes.constant(0, np.float32), axis])
    if width == total:
        return nodes.op(f"{name}/turned", "Transpose", [levels], {"perm": [1, 0]}), scales
    shape = nodes.constant([total // width, width, -1], np.int64)
    levels = nodes.op(f"{name}/matrices", "Reshape", [levels, shape])
    row_shape = nodes.constant([total // width, 1, width], np.int64)
    scales = nodes.op(f"{name}/scale_rows", "Reshape", [scales, row_shape])
    return nodes.op(f"{name}/turned", "Transpose", [levels], {"perm": [0, 2, 1]}), scales


def _unpacked(
    nodes: NodeMaker, graph: ir.Graph, name: str, matrix: StoredMatrix, factors: np.ndarray | None
) -> tuple[ir.Value, ir.Value]:
    """Weights (N, K) uint8 around 128 and their scales (N,) float32."""
    rows, blocks, _ = shape = shape_of(matrix.packed)
    bits, scales, last = bits_of(shape), matrix.scales, nodes.constant([-1], np.int64)
    float_scales = nodes.op(f"{name}/scales", "Cast", [scales], {"to": ir.DataType.FLOAT})
    if factors is not None:
        float_scales = nodes.op(f"{name}/factored", "Mul", [float_scales, nodes.constant(factors, np.float32)])
        scales = nodes.op(f"{name}/half_scales", "Cast", [float_scales], {"to": ir.DataType.FLOAT16})
    if matrix.zeros is None:
        middle = {"value": ir.tensor(np.array([2 ** (bits - 1)], np.float32))}
        block_shape = nodes.constant([rows, blocks], np.int64)
        zero_points = nodes.op(f"{name}/zero_points", "ConstantOfShape", [block_shape], middle)
    else:
        zero_points = _zero_points(nodes, name, matrix.zeros, rows, blocks)
    half_step = _row_steps(nodes, name, float_scales, zero_points, bits)
    # QuantizeLinear in place of Cast, because ONNX Runtime's WebGPU build cannot cast to 4 bits.
    zero_column = nodes.op(f"{name}/zero_column", "Unsqueeze", [zero_points, last])
    integer = ir.DataType.UINT4 if bits == 4 else ir.DataType.UINT8
    one = nodes.constant(1.0, np.float32)
    zero = nodes.op(f"{name}/zero", "QuantizeLinear", [zero_column, one], {"output_dtype": integer})
    column = nodes.op(f"{name}/column", "Unsqueeze", [scales, last])
    integers = _integers(nodes, graph, matrix.packed, integer)
    attributes = {"axis": 2, "block_size": BLOCK_SIZE}
    values = nodes.op(f"{name}/values", "DequantizeLinear", [integers, column, zero], attributes)
    flat = nodes.op(f"{name}/matrix", "Flatten", [values], {"axis": 1})
    row_shape, middle = nodes.constant([rows], np.int64), {"value": ir.tensor(np.array([MIDDLE], np.uint8))}
    middles = nodes.op(f"{name}/middles", "ConstantOfShape", [row_shape], middle)
    levels = nodes.op(f"{name}/levels", "QuantizeLinear", [flat, half_step, middles], {"axis": 0})
    return levels, nodes.op(f"{name}/steps", "Cast", [half_step], {"to": ir.DataType.FLOAT})


def _row_steps(nodes: NodeMaker, name: str, scales: ir.Value, zero_points: ir.Value, bits: int) -> ir.Value:
    """Steps (N,) float16 of rows in 8 bits.

    They depend on scales and zero points (N, K / 32) alone: no weight exceeds its block's scale times the largest
    distance from its zero point.
    """
    above = nodes.op(f"{name}/above", "Sub", [nodes.constant(2**bits - 1, np.float32), zero_points])
    farthest = nodes.op(f"{name}/farthest", "Max", [zero_points, above])
    bounds = nodes.op(f"{name}/sizes", "Mul", [nodes.op(f"{name}/steps_of_blocks", "Abs", [scales]), farthest])
    largest = nodes.op(f"{name}/largest", "ReduceMax", [bounds, nodes.constant([-1], np.int64)], {"keepdims": 0})
    step = nodes.op(f"{name}/step", "Mul", [largest, nodes.constant(1 / LARGEST_LEVEL, np.float32)])
    divisor = nodes.op(f"{name}/divisor", "Max", [step, nodes.constant(SMALLEST_STEP, np.float32)])
    return nodes.op(f"{name}/half_step", "Cast", [divisor], {"to": ir.DataType.FLOAT16})


def _zero_points(nodes: NodeMaker, name: str, zeros: ir.Value, rows: int, blocks: int) -> ir.Value:
    """Stored 4-bit zero points as float32 (N, K / 32)."""
    last, even = nodes.constant([-1], np.int64), blocks + blocks % 2
    low = nodes.op(f"{name}/zeros_low", "BitwiseAnd", [zeros, nodes.constant(15, np.uint8)])
    four = nodes.constant(4, np.uint8)
    high = nodes.op(f"{name}/zeros_high", "BitShift", [zeros, four], {"direction": "RIGHT"})
    pair = [nodes.op(f"{value.name}_column", "Unsqueeze", [value, last]) for value in (low, high)]
    both = nodes.op(f"{name}/zeros_both", "Concat", pair, {"axis": -1})
    integers = nodes.op(f"{name}/zeros", "Reshape", [both, nodes.constant([rows, even], np.int64)])
    if even > blocks:
        start, stop, axis = (nodes.constant([value], np.int64) for value in (0, blocks, 1))
        integers = nodes.op(f"{name}/own_zeros", "Slice", [integers, start, stop, axis])
    return nodes.op(f"{name}/zero_points", "Cast", [integers], {"to": ir.DataType.FLOAT})


def _integers(nodes: NodeMaker, graph: ir.Graph, packed: ir.Value, integer: ir.DataType) -> ir.Value:
    """The stored bytes of `packed` as integers (N, K / 32, 32); stored once if several products read them."""
    name, stored = f"{packed.name}.integers", tensor_of(packed)
    for initializers in (nodes.initializers, graph.initializers):
        if name in initializers:
            return initializers[name]
    shape = ir.Shape([*shape_of(packed)[:2], BLOCK_SIZE])
    if isinstance(stored, ir.ExternalTensor):
        position = (stored.location, stored.offset, stored.length)
        return nodes.stored(ir.ExternalTensor(*position, integer, shape=shape, name=name, base_dir=stored.base_dir))
    if integer == ir.DataType.UINT4:
        return nodes.stored(ir.PackedTensor(stored.numpy().reshape(-1), integer, shape=shape, name=name))
    return nodes.stored(ir.tensor(stored.numpy(), name=name))
