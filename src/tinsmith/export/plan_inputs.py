"""What a decoder plan says of a graph's inputs: how tokens become vectors, and positions rotations."""

import math
from typing import Any

import onnx_ir as ir

from tinsmith.export.graph_patterns import GraphPatterns, attribute
from tinsmith.export.onnx_nodes import input_of
from tinsmith.export.plan_weights import matrix_of

_LOW_NIBBLE = 15
_NIBBLE_BITS = 4
_MAX_ERROR_OF_A_TURN = 1e-7


def embedding_of(graph: GraphPatterns, embedded: ir.Value) -> tuple[dict[str, Any], float]:
    """The matrix whose rows are gathered, and the factor on them."""
    scale = 1.0
    if graph.is_made_by(embedded, "Mul"):
        scaled = graph.node(embedded, "Mul")
        embedded, scale = input_of(scaled, 0), graph.number(scaled.inputs[1])
    product = graph.node(graph.chain(embedded, "Reshape"), "Mul")
    scales = _gathered(graph, graph.chain(input_of(product, 1), "Unsqueeze"))
    centred = graph.node(input_of(product, 0), "Sub")
    packed = _nibbles(graph, input_of(centred, 0))
    zero_points = input_of(centred, 1)
    if graph.is_made_by(zero_points, "Slice"):
        zero_points = graph.chain(zero_points, "Slice")
    return matrix_of(graph, packed, scales, _nibbles(graph, zero_points)), scale


def _gathered(graph: GraphPatterns, rows: ir.Value) -> ir.Value:
    """The table that rows are gathered from, by token."""
    node = graph.node(rows, "Gather")
    graph.require_same(input_of(node, 1), graph.inputs["input_ids"], "the tokens")
    return input_of(node, 0)


def _nibbles(graph: GraphPatterns, floats: ir.Value) -> ir.Value:
    """The table whose rows' nibbles, the low one of a byte first, are `floats`."""
    pair = graph.node(graph.chain(floats, "Cast", "Reshape", attributes=("to",)), "Concat", ("axis",))
    low = graph.node(graph.chain(input_of(pair, 0), "Unsqueeze"), "BitwiseAnd")
    high = graph.node(graph.chain(input_of(pair, 1), "Unsqueeze"), "BitShift", ("direction",))
    graph.require(graph.number(low.inputs[1]) == _LOW_NIBBLE, f"{low.name} does not cut out the low nibble")
    graph.require(graph.number(high.inputs[1]) == _NIBBLE_BITS, f"{high.name} does not cut out the high nibble")
    graph.require(attribute(high, "direction") == "RIGHT", f"{high.name} shifts to the left")
    graph.require_same(input_of(low, 0), input_of(high, 0), "the bytes of two nibbles")
    return _gathered(graph, input_of(low, 0))


def rotation_of(graph: GraphPatterns, rows: ir.Value, cosines: ir.Value, sines: ir.Value) -> dict[str, Any]:
    """Frequencies of a rotation (head size / 2), and the factor on its cosines and sines."""
    positions = graph.inputs["position_ids"]
    shape = _row_numbers_of(graph, rows)
    graph.require_same(shape, positions, "the positions of rows")
    cos_factor, cos_angles = _factor_and_angles(graph, cosines, "Cos")
    sin_factor, sin_angles = _factor_and_angles(graph, sines, "Sin")
    graph.require(cos_factor == sin_factor, "cosines and sines have different factors")
    graph.require_same(cos_angles, sin_angles, "the angles of a rotation")
    rotated = graph.node(_whole_angles(graph, cos_angles), "Mul")
    column = graph.chain(input_of(rotated, 0), "Reshape", "Cast", attributes=("to",))
    graph.require_same(column, positions, "the positions of a rotation")
    return {"frequencies": graph.constant(rotated.inputs[1]).reshape(-1).tolist(), "factor": cos_factor}


def _row_numbers_of(graph: GraphPatterns, rows: ir.Value) -> ir.Value:
    """The value whose elements `rows` numbers."""
    numbered = graph.node(rows, "Reshape")
    shaped = graph.chain(input_of(numbered, 1), "Shape")
    counted = graph.node(input_of(numbered, 0), "Range")
    counted_shape = graph.chain(input_of(counted, 1), "ReduceProd", "Shape", attributes=("keepdims",))
    graph.require_same(shaped, counted_shape, "the shape of positions")
    return shaped


def _factor_and_angles(graph: GraphPatterns, table: ir.Value, function: str) -> tuple[float, ir.Value]:
    factor = 1.0
    if graph.is_made_by(table, "Mul"):
        scaled = graph.node(table, "Mul")
        table, factor = input_of(scaled, 0), graph.number(scaled.inputs[1])
    return factor, graph.chain(table, function)


def _whole_angles(graph: GraphPatterns, angles: ir.Value) -> ir.Value:
    """The angles before whole turns, in two parts, were taken off."""
    turn, rest = 0.0, angles
    turns: set[ir.Value] = set()
    for _ in range(2):
        less = graph.node(rest, "Sub")
        part = graph.node(input_of(less, 1), "Mul")
        rest, turn = input_of(less, 0), turn + graph.number(part.inputs[1])
        turns.add(input_of(part, 0))
    graph.require(len(turns) == 1, "two different numbers of turns are taken off an angle")
    graph.require(abs(turn - 2 * math.pi) < _MAX_ERROR_OF_A_TURN, f"a turn is {turn}")
    nearest = graph.node(graph.chain(turns.pop(), "Floor"), "Add")
    in_turns = graph.node(input_of(nearest, 0), "Mul")
    graph.require_same(input_of(in_turns, 0), rest, "an angle and its number of turns")
    return rest
