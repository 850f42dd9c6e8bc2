"""Rewrites the 4-bit graph so that its products are computed in INT8, for processors.

ONNX Runtime's WASM build has no fast product with 4-bit weights: it expands them to float32 for every token. Here each
weight matrix is unpacked once, to 8 bits with a scale for each row. Inputs of products are rounded to 8 bits with a
scale for each token, and integers are multiplied. The downloaded weights stay the 4-bit ones: either the page unpacks
them (`unpack_plan.py`) or ONNX Runtime does when it loads the graph (`int8_constants.py`).
"""

from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
import onnx_ir as ir
from onnx_ir.convenience import replace_all_uses_with

from tinsmith.export.blocks import BLOCK_SIZE
from tinsmith.export.decoder_graph import REFINED_ROWS
from tinsmith.export.onnx_nodes import (
    CONTRIB,
    NodeMaker,
    drop_unused,
    input_of,
    name_of,
    producer_of,
    replace_value,
    tensor_of,
)
from tinsmith.model.int8_weights import LARGEST_LEVEL, MIDDLE, padded, width_of

_FINE_STEP = 0.5 / LARGEST_LEVEL
"""Step of the second rounding, in levels of the first, which leaves at most half a level."""
_NORMS = {"SimplifiedLayerNormalization": 1, "SkipSimplifiedLayerNormalization": 2}
"""Normalization operators -> position of the weight among their inputs."""


@dataclass(frozen=True, slots=True)
class Rounding:
    """How inputs of products are rounded to 8 bits. An input goes by the name of the first product that reads it."""

    factors: Mapping[str, np.ndarray] = field(default_factory=dict)
    """Factors that divide the input's blocks of 32 and multiply the weights' blocks: (K / 32,) float32."""
    twice: Set[str] = frozenset()
    """Inputs whose rounding error is rounded too and multiplied as another row."""


class WeightSource(Protocol):
    """Where INT8 products get their weights."""

    def weights(
        self, nodes: NodeMaker, graph: ir.Graph, products: Sequence[ir.Node], factors: np.ndarray | None
    ) -> tuple[ir.Value, ir.Value]:
        """Weights (K, N) uint8 around 128 and scales (N,) float32 of `products` side by side.

        A wide product is cut into M matrices: (M, K, N / M) and (M, 1, N / M); see `int8_weights.width_of`.
        """
        ...


@dataclass(frozen=True, slots=True)
class StoredMatrix:
    """Initializers of one 4- or 8-bit matrix (N, K)."""

    packed: ir.Value
    scales: ir.Value
    """float16 (N, K / 32)."""
    zeros: ir.Value | None

    @classmethod
    def of(cls, graph: ir.Graph, product: ir.Node) -> "StoredMatrix":
        """The matrix that `product`, a MatMulNBits, multiplies by."""
        packed = input_of(product, 1)
        scales = graph.initializers[name_of(packed).removesuffix(".packed") + ".scales"]
        return cls(packed, scales, product.inputs[3] if len(product.inputs) > 3 else None)


def products_by_input(graph: ir.Graph) -> Iterator[list[ir.Node]]:
    """Products that share an input, such as a layer's 4-bit and 8-bit projections."""
    groups: dict[ir.Value, list[ir.Node]] = {}
    for node in graph:
        if node.op_type == "MatMulNBits":
            groups.setdefault(input_of(node, 0), []).append(node)
    yield from groups.values()


def with_int8_products(model: ir.Model, rounding: Rounding, source: WeightSource) -> ir.Model:
    """Replace every MatMulNBits of `model`, a packaged graph loaded from its file; changes it in place."""
    graph = model.graph
    nodes = NodeMaker(constants="int8/constant_", single_output="output_0", has_types=False)
    for products in products_by_input(graph):
        _replace(nodes, graph, products, rounding, source)
    _cast_after_gathering(nodes, graph)
    _add_refined_logits_alone(nodes, graph)
    drop_unused(graph)
    return model


def _replace(
    nodes: NodeMaker, graph: ir.Graph, products: Sequence[ir.Node], rounding: Rounding, source: WeightSource
) -> None:
    """Replace `products`, which share an input, with one INT8 product."""
    name, rows = name_of(products[0]), [node.attributes["N"].as_int() for node in products]
    total = sum(rows)
    factors, is_twice = rounding.factors.get(name), name in rounding.twice
    weights, scales = source.weights(nodes, graph, products, factors)
    hidden = input_of(products[0], 0) if factors is None else _smoothed(nodes, graph, products, factors)
    levels, token_scale = _rounded(nodes, hidden, f"{name}/input", is_twice)
    sums = _multiplied(nodes, name, levels, weights, scales, total)
    if is_twice:
        first, second = nodes.ops(f"{name}/halves", "Split", [sums], 2, {"axis": 1, "num_outputs": 2})
        fine = nodes.op(f"{name}/fine", "Mul", [second, nodes.constant(_FINE_STEP, np.float32)])
        sums = nodes.op(f"{name}/twice", "Add", [first, fine])
    product = nodes.op(f"{name}/product", "Mul", [sums, token_scale])
    outputs: Sequence[ir.Value] = [product]
    lengths = [*rows, *filter(None, [padded(total) - total])]
    if len(lengths) > 1:
        splits = nodes.constant(lengths, np.int64)
        outputs = nodes.ops(f"{name}/parts", "Split", [product, splits], len(lengths), {"axis": -1})
    nodes.insert_before(graph, products[0])
    for node, output in zip(products, outputs, strict=False):  # padding of the last matrix has no node
        replace_value(node.outputs[0], output)
        graph.remove(node, safe=True)


def _multiplied(
    nodes: NodeMaker, name: str, levels: ir.Value, weights: ir.Value, scales: ir.Value, rows: int
) -> ir.Value:
    """Multiply `levels` (B, S, K) by integer weights: (B, S, `padded(rows)`) float32."""
    one, middle = nodes.constant(1.0, np.float32), nodes.constant(MIDDLE, np.uint8)
    is_wide = width_of(rows) < padded(rows)
    if is_wide:
        levels = nodes.op(f"{name}/levels_once", "Unsqueeze", [levels, nodes.constant([1], np.int64)])  # (B, 1, S, K)
    operands = [levels, weights, one, scales, middle, middle]
    sums = nodes.op(f"{name}/integers", "MatMulIntegerToFloat", operands, domain=CONTRIB)
    if not is_wide:
        return sums
    beside = nodes.op(f"{name}/beside", "Transpose", [sums], {"perm": [0, 2, 1, 3]})  # (B, S, M, N / M)
    return nodes.op(f"{name}/joined", "Reshape", [beside, nodes.constant([0, 0, padded(rows)], np.int64)])


def _smoothed(nodes: NodeMaker, graph: ir.Graph, products: Sequence[ir.Node], factors: np.ndarray) -> ir.Value:
    """The input of `products`, its blocks divided by `factors`.

    If the input comes from a norm that only `products` read, the norm's weight is divided: no cost at run time.
    """
    hidden, name = input_of(products[0], 0), name_of(products[0])
    shares = nodes.constant((1 / factors)[:, None], np.float32)  # (K / 32, 1)
    blocks, vector = nodes.constant([len(factors), BLOCK_SIZE], np.int64), nodes.constant([-1], np.int64)
    norm = hidden.producer()
    if norm is None or norm.op_type not in _NORMS or any(node not in products for node, _ in hidden.uses()):
        ones = nodes.op(f"{name}/ones", "ConstantOfShape", [blocks], {"value": ir.tensor(np.array([1], np.float32))})
        columns = nodes.op(f"{name}/smooth", "Reshape", [nodes.op(f"{name}/shares", "Mul", [ones, shares]), vector])
        return nodes.op(f"{name}/smoothed", "Mul", [hidden, columns])
    weight_at = _NORMS[norm.op_type]
    with nodes.inserting_before(graph, norm):
        shaped = nodes.op(f"{name}/norm", "Reshape", [norm.inputs[weight_at], blocks])
        weight = nodes.op(f"{name}/smooth", "Reshape", [nodes.op(f"{name}/shares", "Mul", [shaped, shares]), vector])
        norm.replace_input_with(weight_at, weight)
    return hidden


def _rounded(nodes: NodeMaker, hidden: ir.Value, name: str, is_twice: bool) -> tuple[ir.Value, ir.Value]:
    """Round `hidden` (B, S, K) to uint8 around 128, with a float32 scale (B, S, 1) for each token.

    With `is_twice` the result is (B, 2 S, K): first the tokens, then their rounding errors in steps of `_FINE_STEP`.
    """
    last = nodes.constant([-1], np.int64)
    sizes = nodes.op(f"{name}/sizes", "Abs", [hidden])
    largest = nodes.op(f"{name}/largest", "ReduceMax", [sizes, last], {"keepdims": 1})
    scale = nodes.op(f"{name}/scale", "Mul", [largest, nodes.constant(1 / LARGEST_LEVEL, np.float32)])
    exact = nodes.op(f"{name}/levels", "Div", [hidden, scale])
    one, middle = nodes.constant(1.0, np.float32), nodes.constant(MIDDLE, np.uint8)
    levels = nodes.op(name, "QuantizeLinear", [exact, one, middle])
    if is_twice:
        error = nodes.op(f"{name}/left", "Sub", [exact, nodes.op(f"{name}/rounded", "Round", [exact])])
        fine = nodes.op(f"{name}/fine", "QuantizeLinear", [error, nodes.constant(_FINE_STEP, np.float32), middle])
        levels = nodes.op(f"{name}/both", "Concat", [levels, fine], {"axis": 1})
    return levels, scale


def _cast_after_gathering(nodes: NodeMaker, graph: ir.Graph) -> None:
    """Cast the rows that the embedding gathers instead of all rows: no product needs the others any more."""
    for node in [node for node in graph if node.op_type == "Gather"]:
        cast, rows = input_of(node, 0).producer(), node.outputs[0]
        if cast is None or cast.op_type != "Cast" or input_of(cast, 0).name not in graph.initializers:
            continue
        floats = nodes.op(f"{node.name}/cast", "Cast", [rows], {"to": cast.attributes["to"].as_int()})
        replace_all_uses_with(rows, floats)
        producer_of(floats).replace_input_with(0, rows)
        node.replace_input_with(0, cast.inputs[0])
        rows.type = None
        nodes.insert_after(graph, node)


def _add_refined_logits_alone(nodes: NodeMaker, graph: ir.Graph) -> None:
    """Add the head's refined rows to their own logits only.

    Spreading them over all logits first costs a processor 7 % of a token's time (Gemma 3 270M).
    """
    initializer = graph.initializers.get(REFINED_ROWS)
    if initializer is None:
        return
    ((spread, _),) = initializer.uses()
    ((add, position),) = spread.outputs[0].uses()
    shares, logits, refined_logits = spread.inputs[0], add.inputs[1 - position], add.outputs[0]
    rows = tensor_of(initializer).numpy()  # row of each token; the last row is zero, so it may be added to any token
    tokens = np.zeros(rows.max() + 1, np.int64)
    refined = np.flatnonzero(rows < rows.max())
    tokens[rows[refined]] = refined
    shape = nodes.op("logits/shares_shape", "Shape", [shares])
    # (B, kept, refined)
    indices = nodes.op("logits/tokens", "Expand", [nodes.constant(tokens[None, None], np.int64), shape])
    attributes = {"axis": 2, "reduction": "add"}
    scattered = nodes.op("logits/scattered", "ScatterElements", [logits, indices, shares], attributes)
    nodes.insert_before(graph, add)
    replace_value(refined_logits, scattered)
    graph.remove(add, safe=True)
