"""How each product's input is rounded to 8 bits, so that little of it is lost.

A token's activations share one scale, so a few loud ones leave few levels to all others. Activations divided by a factor
for each block of 32, and the blocks' scales multiplied by it, give the same product and use the levels better. Where too much
is lost all the same, what rounding left is rounded and multiplied too. How much is lost is measured: inputs that the packaged
graph had on training conversations, multiplied by its own weights.

Source: Xiao et al. 2023, SmoothQuant, arXiv 2211.10438, there for single channels; blocks keep the stored integers.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx_ir as ir

from tinsmith.export.blocks import BLOCK_SIZE, Blocks, unpack
from tinsmith.export.int8 import Rounding, products_by_input
from tinsmith.model.int8_weights import LARGEST_LEVEL
from tinsmith.model.onnx_decoder import load_onnx
from tinsmith.model.tokens import Tokens

_ROWS = 256
"""Inputs of a product that are looked at."""
_FEATURES = 2048
"""Outputs of a product that are looked at."""
_ROW_STEP = 5
_HEAD_ROWS = 16
_POWERS = (0.25, 0.5, 0.75)
_LEAST_SHARE = 0.02
_WORTH_IT = 0.8
"""What must be left of the error at most: a factor costs an operator, unless a norm can take it."""
_MOST_LOST = 5e-4
"""Of a product's square by rounding its input once; a second row costs a token little, but doubles the work of a prompt's product."""


def chosen_rounding(onnx_path: Path, conversations: Sequence[Tokens]) -> Rounding:
    """Factors for inputs that gain by them; the loudest twice, and the head's, whose loss nothing behind it evens out."""
    graph = ir.load(onnx_path).graph
    weights = {products[0].name: [_weight(graph, node) for node in products] for products in products_by_input(graph)}
    factors, twice = {}, {list(weights)[-1]}
    for name, rows in _inputs(onnx_path, conversations).items():
        weight = np.concatenate(weights.pop(name))
        best = _best_factors(rows, weight)
        if best is not None:
            factors[name] = best
        if _lost(rows, weight, best) > _MOST_LOST:
            twice.add(name)
    return Rounding(factors, twice)


def _inputs(onnx_path: Path, conversations: Sequence[Tokens]) -> dict[str, np.ndarray]:
    """Up to `_ROWS` inputs (rows, K) of every product while the graph reads `conversations`."""
    model = ir.load(onnx_path)
    watched = {products[0].name: products[0].inputs[0] for products in products_by_input(model.graph)}
    for value in watched.values():
        value.type = ir.TensorType(ir.DataType.FLOAT)
        model.graph.outputs.append(value)
    watched_path = onnx_path.with_name("watched.onnx")  # beside its weights
    ir.save(model, watched_path)
    decoder = load_onnx(watched_path)
    watched_path.unlink()
    rows: dict[str, list[np.ndarray]] = {name: [] for name in watched}
    count = 0
    for index, tokens in enumerate(conversations):
        if count >= _ROWS * _ROW_STEP:
            break
        count += len(tokens.ids)
        outputs = decoder.start().outputs(tokens.ids, keep=min(_HEAD_ROWS, len(tokens.ids)))
        for name, value in watched.items():
            found = outputs[value.name].numpy()[0]
            step = _ROW_STEP if len(found) > _HEAD_ROWS else 1
            rows[name].append(found[index % step :: step].copy())
    return {name: np.concatenate(found)[:_ROWS] for name, found in rows.items()}


def _weight(graph: ir.Graph, node: ir.Node) -> np.ndarray:
    """Some rows (N, K) float32 of a product's weights."""
    packed = node.inputs[1]
    scales = graph.initializers[packed.name.removesuffix(".packed") + ".scales"]
    step = -(-packed.shape[0] // _FEATURES)
    zeros = node.inputs[3].const_value.numpy()[::step] if len(node.inputs) > 3 else None
    return unpack(Blocks(packed.const_value.numpy()[::step], scales.const_value.numpy()[::step], zeros))


def _best_factors(rows: np.ndarray, weight: np.ndarray) -> np.ndarray | None:
    """Of some powers of the blocks' usual share of a row's largest value, the one with the least error."""
    exact = rows @ weight.T
    blocks = np.abs(rows).reshape(len(rows), -1, BLOCK_SIZE).max(axis=2)
    share = (blocks / np.maximum(blocks.max(axis=1, keepdims=True), 1e-30)).mean(axis=0)
    share = np.maximum(share / share.max(), _LEAST_SHARE)
    most = _WORTH_IT * _error(rows, weight, exact)
    best = None
    for power in _POWERS:
        factors = share**power
        factors = (factors / np.exp(np.log(factors).mean())).astype(np.float32)
        columns = np.repeat(factors, BLOCK_SIZE)
        error = _error(rows / columns, weight * columns, exact)
        if error < most:
            most, best = error, factors
    return best


def _lost(rows: np.ndarray, weight: np.ndarray, factors: np.ndarray | None) -> float:
    """The error of rounding the input alone."""
    columns = np.float32(1) if factors is None else np.repeat(factors, BLOCK_SIZE)
    return _relative(((_in_8_bits(rows / columns) * columns) - rows) @ weight.T, rows @ weight.T)


def _error(rows: np.ndarray, weight: np.ndarray, exact: np.ndarray) -> float:
    """Mean over rows of the squared error in 8 bits, as a share of the exact product's square."""
    return _relative(_in_8_bits(rows) @ _in_8_bits(weight).T - exact, exact)


def _relative(error: np.ndarray, exact: np.ndarray) -> float:
    return float((np.square(error).sum(axis=1) / np.maximum(np.square(exact).sum(axis=1), 1e-30)).mean())


def _in_8_bits(matrix: np.ndarray) -> np.ndarray:
    """Every row rounded with the scale that its largest value needs."""
    step = np.maximum(np.abs(matrix).max(axis=1, keepdims=True), 1e-30) / LARGEST_LEVEL
    return np.rint(matrix / step) * step
