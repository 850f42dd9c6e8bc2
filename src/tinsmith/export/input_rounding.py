"""Chooses how to round each product's input to 8 bits with little loss.

A token's activations share one scale, so a few large ones leave few levels for the others. Dividing each block of 32
activations by a factor, and multiplying the blocks' scales by it, leaves the product unchanged and uses the levels
better. Where rounding still loses too much, the rounding error is itself rounded and multiplied too. Losses are
measured on the packaged graph: its inputs on training conversations times its own weights.

Source: Xiao et al. 2023, SmoothQuant, arXiv 2211.10438. It scales single channels; scaling whole blocks leaves the
stored integers unchanged.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx_ir as ir

from tinsmith.export.blocks import BLOCK_SIZE, Blocks, unpack
from tinsmith.export.int8_products import Rounding, StoredMatrix, products_by_input
from tinsmith.export.onnx_nodes import input_of, name_of, shape_of, tensor_of
from tinsmith.model.int8_weights import LARGEST_LEVEL
from tinsmith.model.onnx_decoder import load_onnx
from tinsmith.model.tokens import Tokens

_ROWS = 256
"""Input rows sampled for each product."""
_FEATURES = 2048
"""Output features sampled for each product."""
_ROW_STEP = 5
_HEAD_ROWS = 16
_POWERS = (0.25, 0.5, 0.75)
_MIN_SHARE = 0.02
_WORTHWHILE_ERROR = 0.8
"""Factors must reduce the error to this share, because they cost an operator unless a norm can absorb them."""
_MAX_LOSS = 5e-4
"""Largest loss from rounding an input once, as a share of the product's square. Above it, inputs are rounded twice.

Rounding twice costs little for a single token, but doubles a product's work for a prompt.
"""


def choose_rounding(onnx_path: Path, conversations: Sequence[Tokens]) -> Rounding:
    """Choose smoothing factors for each input of the graph at `onnx_path`.

    Outlier-heavy inputs and the head's input are rounded twice, because nothing after the head can absorb its error.
    """
    graph = ir.load(onnx_path).graph
    weights = {
        name_of(products[0]): [_weight(graph, node) for node in products] for products in products_by_input(graph)
    }
    factors, twice = {}, {list(weights)[-1]}
    for name, rows in _inputs(onnx_path, conversations).items():
        weight = np.concatenate(weights.pop(name))
        best = _best_factors(rows, weight)
        if best is not None:
            factors[name] = best
        if _rounding_loss(rows, weight, best) > _MAX_LOSS:
            twice.add(name)
    return Rounding(factors, twice)


def _inputs(onnx_path: Path, conversations: Sequence[Tokens]) -> dict[str, np.ndarray]:
    """Up to `_ROWS` inputs (rows, K) of every product while the graph reads `conversations`."""
    model = ir.load(onnx_path)
    watched = {name_of(products[0]): input_of(products[0], 0) for products in products_by_input(model.graph)}
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
            all_rows = outputs[name_of(value)].numpy()[0]
            step = _ROW_STEP if len(all_rows) > _HEAD_ROWS else 1
            rows[name].append(all_rows[index % step :: step].copy())
    return {name: np.concatenate(pieces)[:_ROWS] for name, pieces in rows.items()}


def _weight(graph: ir.Graph, product: ir.Node) -> np.ndarray:
    """Evenly spaced rows of a product's weights, at most `_FEATURES`: float32 (N, K)."""
    matrix = StoredMatrix.of(graph, product)
    step = -(-shape_of(matrix.packed)[0] // _FEATURES)
    packed, scales = (tensor_of(value).numpy()[::step] for value in (matrix.packed, matrix.scales))
    return unpack(Blocks(packed, scales, None if matrix.zeros is None else tensor_of(matrix.zeros).numpy()[::step]))


def _best_factors(rows: np.ndarray, weight: np.ndarray) -> np.ndarray | None:
    """Factors (K / 32,) with the least error, or None if no factors reduce it enough.

    Candidates are powers of each block's relative size: its largest value over the row's largest, averaged over rows.
    """
    exact = rows @ weight.T
    blocks = np.abs(rows).reshape(len(rows), -1, BLOCK_SIZE).max(axis=2)
    share = (blocks / np.maximum(blocks.max(axis=1, keepdims=True), 1e-30)).mean(axis=0)
    share = np.maximum(share / share.max(), _MIN_SHARE)
    least = _WORTHWHILE_ERROR * _error(rows, weight, exact)
    best = None
    for power in _POWERS:
        factors = share**power
        factors = (factors / np.exp(np.log(factors).mean())).astype(np.float32)
        columns = np.repeat(factors, BLOCK_SIZE)
        error = _error(rows / columns, weight * columns, exact)
        if error < least:
            least, best = error, factors
    return best


def _rounding_loss(rows: np.ndarray, weight: np.ndarray, factors: np.ndarray | None) -> float:
    """Error of rounding the input alone, as a share of the product's square."""
    columns = np.float32(1) if factors is None else np.repeat(factors, BLOCK_SIZE)
    return _relative(((_in_8_bits(rows / columns) * columns) - rows) @ weight.T, rows @ weight.T)


def _error(rows: np.ndarray, weight: np.ndarray, exact: np.ndarray) -> float:
    """Mean over rows of the squared error in 8 bits, as a share of the exact product's square."""
    return _relative(_in_8_bits(rows) @ _in_8_bits(weight).T - exact, exact)


def _relative(error: np.ndarray, exact: np.ndarray) -> float:
    return float((np.square(error).sum(axis=1) / np.maximum(np.square(exact).sum(axis=1), 1e-30)).mean())


def _in_8_bits(matrix: np.ndarray) -> np.ndarray:
    """Round every row with the scale that its largest value needs."""
    step = np.maximum(np.abs(matrix).max(axis=1, keepdims=True), 1e-30) / LARGEST_LEVEL
    return np.rint(matrix / step) * step
