"""A second graph over the package's weights whose products are computed in INT8, for processors.

ONNX Runtime's WASM build has no fast product with 4-bit weights: it expands them to float32 at every token. Here the
runtime unpacks them once, when it loads the graph, to one 8-bit matrix with a scale for each row; what goes in is rounded to
8 bits with a scale for each token, and integers are multiplied. The file that is downloaded stays the 4-bit one.

The unpacking is written as constants that ONNX Runtime folds: DequantizeLinear, one operator, QuantizeLinear. Without the
one between, it would keep DequantizeLinear (`CanConstantFoldQDQNodeUnit` in onnxruntime/core/optimizer/constant_folding.cc).
Halves are enough on the way, and need half the memory.
"""

from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field

import numpy as np
import onnx_ir as ir
from onnx_ir.convenience import replace_all_uses_with

from tinsmith.export.blocks import BLOCK_SIZE, bits_of
from tinsmith.export.nodes import CONTRIB, PLACES, drop_unused
from tinsmith.export.unpack import Plan
from tinsmith.model.int8_weights import LARGEST_LEVEL, MIDDLE, SMALLEST_STEP, padded, width_of

_FINE_STEP = 0.5 / LARGEST_LEVEL
"""Of what is left after rounding, in levels: at most half of one."""
_NORMS = {"SimplifiedLayerNormalization": 1, "SkipSimplifiedLayerNormalization": 2}
"""Operators that end in a product with a weight, and which input that is."""


@dataclass(frozen=True, slots=True)
class Rounding:
    """How inputs of products are rounded, each by the name of its first product."""

    factors: Mapping[str, np.ndarray] = field(default_factory=dict)
    """What its blocks of 32 are divided by before, and their weights multiplied by (K / 32,) float32."""
    twice: Set[str] = frozenset()
    """Inputs of which what rounding left is rounded too, and multiplied as another row."""


def with_int8_products(model: ir.Model, rounding: Rounding = Rounding()) -> ir.Model:
    """`model`, a packaged graph as loaded from its file, with every MatMulNBits replaced; changed in place."""
    _Rewriter(model.graph, rounding).rewrite()
    return model


def with_unpacked_weights(model: ir.Model, rounding: Rounding, plan: Plan) -> ir.Model:
    """The same, but for its weights, which are expected in a file `UNPACKED_DATA` as `plan` says; changed in place."""
    _Rewriter(model.graph, rounding, plan).rewrite()
    return model


def products_by_input(graph: ir.Graph) -> Iterator[list[ir.Node]]:
    """Products that share what they multiply, such as a layer's 4-bit and 8-bit projections."""
    groups: dict[ir.Value, list[ir.Node]] = {}
    for node in graph:
        if node.op_type == "MatMulNBits":
            groups.setdefault(node.inputs[0], []).append(node)
    yield from groups.values()


class _Rewriter:
    """Builds the nodes that take a product's place."""

    def __init__(self, graph: ir.Graph, rounding: Rounding, plan: Plan | None = None) -> None:
        self.graph = graph
        self._factors = rounding.factors
        self._twice = rounding.twice
        self._plan = plan
        self._added: list[ir.Node] = []
        self._constants: dict[tuple, ir.Value] = {}

    def rewrite(self) -> None:
        """Replace every MatMulNBits; the weights as it wanted them go, and their scales in float32."""
        for products in products_by_input(self.graph):
            self.replace(products)
        self._cast_after_gathering()
        self._add_refined_logits_alone()
        drop_unused(self.graph)

    def _cast_after_gathering(self) -> None:
        """Cast the rows that the embedding takes, not all: no product needs the others, and a page folds no constants."""
        for node in [node for node in self.graph if node.op_type == "Gather"]:
            cast, rows = node.inputs[0].producer(), node.outputs[0]
            if cast is None or cast.op_type != "Cast" or cast.inputs[0].name not in self.graph.initializers:
                continue
            self._added = []
            found = self._op(f"{node.name}/cast", "Cast", [rows], {"to": cast.attributes["to"].as_int()})
            replace_all_uses_with(rows, found)
            self._added[0].replace_input_with(0, rows)
            node.replace_input_with(0, cast.inputs[0])
            rows.type = None
            self.graph.insert_after(node, self._added)

    def _add_refined_logits_alone(self) -> None:
        """Add the head's refined rows to their logits: to spread them over all first costs a processor 7 % of a token (Gemma 3 270M)."""
        places = self.graph.initializers.get(PLACES)
        if places is None:
            return
        ((spread, _),) = places.uses()
        ((add, at),) = spread.outputs[0].uses()
        shares, logits, found = spread.inputs[0], add.inputs[1 - at], add.outputs[0]
        where = places.const_value.numpy()
        tokens = np.zeros(where.max() + 1, np.int64)  # the last row adds nothing, wherever it goes
        refined = np.flatnonzero(where < where.max())
        tokens[where[refined]] = refined
        self._added = []
        shape = self._op("logits/shares_shape", "Shape", [shares])
        indices = self._op(
            "logits/tokens", "Expand", [self._constant(tokens[None, None], np.int64), shape]
        )  # (B, kept, refined)
        added = self._op(
            "logits/scattered", "ScatterElements", [logits, indices, shares], {"axis": 2, "reduction": "add"}
        )
        self.graph.insert_before(add, self._added)
        replace_all_uses_with(found, added, replace_graph_outputs=True)
        added.name, added.type, added.shape, found.name = found.name, found.type, found.shape, None
        self.graph.remove(add, safe=True)

    def replace(self, products: Sequence[ir.Node]) -> None:
        """One INT8 product in the place of `products`, which have one input."""
        self._added = []
        name, rows = products[0].name, [node.attributes["N"].as_int() for node in products]
        if self._plan is None:
            unpacked = [self._unpacked(node, self._factors.get(name)) for node in products]
            weights, scales = self._together(f"{name}/int8", unpacked, sum(rows))
        else:
            weights, scales = map(
                self._initializer, self._plan.add(name, *map(self._stored, products), factors=self._factors.get(name))
            )
        levels, token_scale = self._quantized(self._smoothed(products), f"{name}/input", name in self._twice)
        one, middle = self._constant(1.0, np.float32), self._constant(MIDDLE, np.uint8)
        is_wide = width_of(sum(rows)) < padded(sum(rows))
        if is_wide:
            levels = self._op(
                f"{name}/levels_once", "Unsqueeze", [levels, self._constant([1], np.int64)]
            )  # (B, 1, S, K)
        summed = self._op(
            f"{name}/integers", "MatMulIntegerToFloat", [levels, weights, one, scales, middle, middle], domain=CONTRIB
        )
        if is_wide:
            beside = self._op(f"{name}/beside", "Transpose", [summed], {"perm": [0, 2, 1, 3]})  # (B, S, M, N / M)
            summed = self._op(
                f"{name}/joined", "Reshape", [beside, self._constant([0, 0, padded(sum(rows))], np.int64)]
            )
        if name in self._twice:
            once, left = self._ops(f"{name}/halves", "Split", [summed], 2, {"axis": 1, "num_outputs": 2})
            summed = self._op(
                f"{name}/twice",
                "Add",
                [once, self._op(f"{name}/fine", "Mul", [left, self._constant(_FINE_STEP, np.float32)])],
            )
        found = self._op(f"{name}/product", "Mul", [summed, token_scale])
        outputs: Sequence[ir.Value] = [found]
        lengths = [*rows, *filter(None, [padded(sum(rows)) - sum(rows)])]
        if len(lengths) > 1:
            outputs = self._ops(
                f"{name}/parts", "Split", [found, self._constant(lengths, np.int64)], len(lengths), {"axis": -1}
            )
        self.graph.insert_before(products[0], self._added)
        for node, output in zip(products, outputs, strict=False):  # what fills the last matrix has no node
            before = node.outputs[0]
            replace_all_uses_with(before, output, replace_graph_outputs=True)
            output.name, output.type, output.shape = before.name, before.type, before.shape
            before.name = None
            self.graph.remove(node, safe=True)

    def _stored(self, node: ir.Node) -> tuple[ir.ExternalTensor, ir.ExternalTensor, ir.ExternalTensor | None]:
        """A product's integers, scales and zero points, as they lie in the package's files."""
        scales, zeros = self._beside(node)
        return node.inputs[1].const_value, scales.const_value, zeros and zeros.const_value

    def _beside(self, node: ir.Node) -> tuple[ir.Value, ir.Value | None]:
        """The float16 scales of a product's weights, and its zero points."""
        scales = self.graph.initializers[node.inputs[1].name.removesuffix(".packed") + ".scales"]
        return scales, node.inputs[3] if len(node.inputs) > 3 else None

    def _initializer(self, tensor: ir.ExternalTensor) -> ir.Value:
        value = ir.Value(name=tensor.name, const_value=tensor, type=ir.TensorType(tensor.dtype), shape=tensor.shape)
        self.graph.register_initializer(value)
        return value

    def _smoothed(self, products: Sequence[ir.Node]) -> ir.Value:
        """The input of `products` with its blocks divided by their factors; by the norm before it, if only they read that."""
        hidden, name = products[0].inputs[0], products[0].name
        if name not in self._factors:
            return hidden
        shares = self._constant((1 / self._factors[name])[:, None], np.float32)  # (K / 32, 1)
        blocks, vector = (
            self._constant([len(self._factors[name]), BLOCK_SIZE], np.int64),
            self._constant([-1], np.int64),
        )
        norm = hidden.producer()
        if norm is None or norm.op_type not in _NORMS or any(node not in products for node, _ in hidden.uses()):
            ones = self._op(
                f"{name}/ones", "ConstantOfShape", [blocks], {"value": ir.tensor(np.array([1], np.float32))}
            )
            columns = self._op(f"{name}/smooth", "Reshape", [self._op(f"{name}/shares", "Mul", [ones, shares]), vector])
            return self._op(f"{name}/smoothed", "Mul", [hidden, columns])
        before, self._added = self._added, []
        at = _NORMS[norm.op_type]
        shaped = self._op(f"{name}/norm", "Reshape", [norm.inputs[at], blocks])
        norm.replace_input_with(
            at, self._op(f"{name}/smooth", "Reshape", [self._op(f"{name}/shares", "Mul", [shaped, shares]), vector])
        )
        self.graph.insert_before(norm, self._added)
        self._added = before
        return hidden

    def _unpacked(self, node: ir.Node, factors: np.ndarray | None) -> tuple[ir.Value, ir.Value]:
        """Weights (N, K) uint8 around 128 and their scales (N,) float32, computed when the graph is loaded."""
        name, packed = node.name, node.inputs[1]
        rows, blocks, _ = packed.shape
        integer = ir.DataType.UINT4 if bits_of(packed.shape) == 4 else ir.DataType.UINT8
        scales, zeros = self._beside(node)
        last = self._constant([-1], np.int64)
        wide = self._op(f"{name}/scales", "Cast", [scales], {"to": ir.DataType.FLOAT})
        if factors is not None:
            wide = self._op(f"{name}/factored", "Mul", [wide, self._constant(factors, np.float32)])
            scales = self._op(f"{name}/half_scales", "Cast", [wide], {"to": ir.DataType.FLOAT16})
        points = (
            self._zero_points(name, zeros, rows, blocks)
            if zeros
            else self._op(
                f"{name}/zero_points",
                "ConstantOfShape",
                [self._constant([rows, blocks], np.int64)],
                {"value": ir.tensor(np.array([2 ** (bits_of(packed.shape) - 1)], np.float32))},
            )
        )
        # The integer farthest from zero times its block's scale bounds a row without looking at it.
        above = self._op(f"{name}/above", "Sub", [self._constant(2 ** bits_of(packed.shape) - 1, np.float32), points])
        farthest = self._op(f"{name}/farthest", "Max", [points, above])
        sizes = self._op(f"{name}/sizes", "Mul", [self._op(f"{name}/steps_of_blocks", "Abs", [wide]), farthest])
        largest = self._op(f"{name}/largest", "ReduceMax", [sizes, last], {"keepdims": 0})
        step = self._op(f"{name}/step", "Mul", [largest, self._constant(1 / LARGEST_LEVEL, np.float32)])
        step = self._op(f"{name}/divisor", "Max", [step, self._constant(SMALLEST_STEP, np.float32)])
        half_step = self._op(f"{name}/half_step", "Cast", [step], {"to": ir.DataType.FLOAT16})
        # Cast would do, but the runtime's build for WebGPU has none to 4 bits.
        zero = self._op(
            f"{name}/zero",
            "QuantizeLinear",
            [self._op(f"{name}/zero_column", "Unsqueeze", [points, last]), self._constant(1.0, np.float32)],
            {"output_dtype": integer},
        )
        column = self._op(f"{name}/column", "Unsqueeze", [scales, last])
        values = self._op(
            f"{name}/values",
            "DequantizeLinear",
            [self._integers(packed), column, zero],
            {"axis": 2, "block_size": BLOCK_SIZE},
        )
        matrix = self._op(f"{name}/matrix", "Flatten", [values], {"axis": 1})
        middles = self._op(
            f"{name}/middles",
            "ConstantOfShape",
            [self._constant([rows], np.int64)],
            {"value": ir.tensor(np.array([MIDDLE], np.uint8))},
        )
        levels = self._op(f"{name}/levels", "QuantizeLinear", [matrix, half_step, middles], {"axis": 0})
        return levels, self._op(f"{name}/steps", "Cast", [half_step], {"to": ir.DataType.FLOAT})

    def _zero_points(self, name: str, zeros: ir.Value, rows: int, blocks: int) -> ir.Value:
        """Stored zero points of 4 bits as float32 (N, K / 32)."""
        last, even = self._constant([-1], np.int64), blocks + blocks % 2
        low = self._op(f"{name}/zeros_low", "BitwiseAnd", [zeros, self._constant(15, np.uint8)])
        high = self._op(f"{name}/zeros_high", "BitShift", [zeros, self._constant(4, np.uint8)], {"direction": "RIGHT"})
        pair = [self._op(f"{value.name}_column", "Unsqueeze", [value, last]) for value in (low, high)]
        both = self._op(f"{name}/zeros_both", "Concat", pair, {"axis": -1})
        found = self._op(f"{name}/zeros", "Reshape", [both, self._constant([rows, even], np.int64)])
        if even > blocks:
            found = self._op(
                f"{name}/own_zeros", "Slice", [found, *(self._constant([value], np.int64) for value in (0, blocks, 1))]
            )
        return self._op(f"{name}/zero_points", "Cast", [found], {"to": ir.DataType.FLOAT})

    def _together(
        self, name: str, weights: Sequence[tuple[ir.Value, ir.Value]], rows: int
    ) -> tuple[ir.Value, ir.Value]:
        """All weights as one matrix (K, N) uint8 with its scales (N,), or as `Plan.add` has them if they are wide."""
        matrix, scales = weights[0]
        if len(weights) > 1:
            matrix = self._op(f"{name}/rows", "Concat", [one for one, _ in weights], {"axis": 0})
            scales = self._op(f"{name}/scales", "Concat", [one for _, one in weights], {"axis": 0})
        width, filled = width_of(rows), padded(rows)
        if filled > rows:
            room, axis = self._constant([0, filled - rows], np.int64), self._constant([0], np.int64)
            matrix = self._op(f"{name}/filled", "Pad", [matrix, room, self._constant(0, np.uint8), axis])
            scales = self._op(f"{name}/filled_scales", "Pad", [scales, room, self._constant(0, np.float32), axis])
        if width < filled:
            matrix = self._op(
                f"{name}/matrices", "Reshape", [matrix, self._constant([filled // width, width, -1], np.int64)]
            )
            scales = self._op(
                f"{name}/scale_rows", "Reshape", [scales, self._constant([filled // width, 1, width], np.int64)]
            )
        return self._op(
            f"{name}/turned", "Transpose", [matrix], {"perm": [0, 2, 1] if width < filled else [1, 0]}
        ), scales

    def _quantized(self, hidden: ir.Value, name: str, twice: bool) -> tuple[ir.Value, ir.Value]:
        """`hidden` (B, S, K) as uint8 around 128, and each token's scale (B, S, 1) float32.

        With `twice` it is (B, 2 S, K): behind all tokens, what is left of each in steps of `_FINE_STEP`.
        """
        last = self._constant([-1], np.int64)
        largest = self._op(
            f"{name}/largest", "ReduceMax", [self._op(f"{name}/sizes", "Abs", [hidden]), last], {"keepdims": 1}
        )
        scale = self._op(f"{name}/scale", "Mul", [largest, self._constant(1 / LARGEST_LEVEL, np.float32)])
        exact = self._op(f"{name}/levels", "Div", [hidden, scale])
        one, middle = self._constant(1.0, np.float32), self._constant(MIDDLE, np.uint8)
        levels = self._op(name, "QuantizeLinear", [exact, one, middle])
        if twice:
            left = self._op(f"{name}/left", "Sub", [exact, self._op(f"{name}/rounded", "Round", [exact])])
            fine = self._op(f"{name}/fine", "QuantizeLinear", [left, self._constant(_FINE_STEP, np.float32), middle])
            levels = self._op(f"{name}/both", "Concat", [levels, fine], {"axis": 1})
        return levels, scale

    def _integers(self, packed: ir.Value) -> ir.Value:
        """The same stored bytes, (N, K / 32, 32) integers of 4 or 8 bits."""
        rows, blocks, _ = packed.shape
        stored, name = packed.const_value, f"{packed.name}.integers"
        dtype = ir.DataType.UINT4 if bits_of(packed.shape) == 4 else ir.DataType.UINT8
        shape = ir.Shape([rows, blocks, BLOCK_SIZE])
        if name not in self.graph.initializers:
            if isinstance(stored, ir.ExternalTensor):
                view = ir.ExternalTensor(
                    stored.location,
                    stored.offset,
                    stored.length,
                    dtype,
                    shape=shape,
                    name=name,
                    base_dir=stored.base_dir,
                )
            else:
                view = (
                    ir.PackedTensor(stored.numpy().reshape(-1), dtype, shape=shape, name=name)
                    if dtype == ir.DataType.UINT4
                    else stored
                )
            self.graph.register_initializer(
                ir.Value(name=name, const_value=view, type=ir.TensorType(dtype), shape=shape)
            )
        return self.graph.initializers[name]

    def _op(self, name: str, op_type: str, inputs: list, attributes: dict | None = None, domain: str = "") -> ir.Value:
        return self._ops(name, op_type, inputs, 1, attributes, domain)[0]

    def _ops(
        self, name: str, op_type: str, inputs: list, count: int, attributes: dict | None = None, domain: str = ""
    ) -> Sequence[ir.Value]:
        node = ir.node(op_type, inputs, attributes or {}, domain=domain, name=name, num_outputs=count)
        for index, value in enumerate(node.outputs):
            value.name = f"{name}/output_{index}"
        self._added.append(node)
        return node.outputs

    def _constant(self, values: object, dtype: object) -> ir.Value:
        array = np.array(values, dtype)
        key = (array.tobytes(), array.shape, str(array.dtype))
        if key not in self._constants:
            name = f"int8/constant_{len(self._constants)}"
            self._constants[key] = ir.Value(name=name, const_value=ir.tensor(array, name=name))
            self.graph.register_initializer(self._constants[key])
        return self._constants[key]
