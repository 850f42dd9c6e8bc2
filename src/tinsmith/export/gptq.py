"""GPTQ: choose the integers so that each layer's outputs, not its weights, change least.

One forward pass over a pack of calibration conversations does it: each matrix is quantized when its input arrives,
which by then has come through the already quantized part of the model, and the pass goes on with the quantized matrix.
A matrix is quantized column by column, and the error of a column is spread over the columns not yet done, weighed by
how the inputs correlate. The head goes first, on the full-precision model's final states, because the embedding shares
its storage and every layer's calibration should see the embedding that ships.

Source: GPTQ (arXiv 2210.17323); scales per block are chosen when its columns come up, as in its grouped variant.
"""

from collections.abc import Sequence
from typing import Any

import torch
from tqdm import tqdm

from tinsmith.export.int4 import (
    BLOCK_SIZE,
    ZERO_POINT,
    Int4Matrix,
    block_scales,
    pack,
    round_to_nearest,
    to_integers,
    unpack,
)
from tinsmith.packed.decoder import Frozen, PackedDecoder, Take
from tinsmith.packed.packing import Pack

_DAMPING = 0.01  # of the mean diagonal; keeps the Hessian invertible with few calibration tokens
_ROWS_AT_ONCE = 16384  # a 262,144-row head is quantized in pieces; rows do not depend on each other

EMBEDDING = "model.embed_tokens.weight"
HEAD = "lm_head.weight"

Factor = tuple[torch.Tensor, torch.Tensor]
"""Upper Cholesky factor of a damped inverse Hessian (K, K), and each column's cost (K), both float32."""


@torch.no_grad()
def calibrate(model: Any, pack_: Pack) -> dict[str, Int4Matrix]:
    """Every matrix of `model` in INT4, by parameter name, calibrated on the conversations in `pack_`.

    Args:
        model: A Transformers causal language model; its weights are replaced by what the INT4 matrices stand for.
    """
    finals = PackedDecoder(model, Frozen.of).hidden(pack_)  # (N, D)
    matrices = _quantize_head(model, finals)
    calibration = _Calibration(model, pack_.conversations_of_rows)
    with tqdm(total=calibration.count, desc="GPTQ", unit="matrix", dynamic_ncols=True) as calibration.progress:
        PackedDecoder(model, calibration.linear).hidden(pack_)
    return matrices | calibration.matrices


@torch.no_grad()
def round_all(model: Any) -> dict[str, Int4Matrix]:
    """Every matrix of `model` in INT4 by rounding to nearest; like `calibrate`, without looking at data."""
    matrices = {}
    for name, weight in model.named_parameters():
        if weight.dim() == 2:
            matrices[name] = round_to_nearest(weight)
            _replace(weight, matrices[name])
    return matrices


class _Calibration:
    """Quantizes each linear layer of a model when its input arrives."""

    progress: tqdm

    def __init__(self, model: Any, row_weights: torch.Tensor):
        self._row_weights = row_weights
        self.matrices: dict[str, Int4Matrix] = {}
        self._names = {id(module): f"{name}.weight" for name, module in model.named_modules()}
        self._input: torch.Tensor | None = None
        self._factor: Factor | None = None
        self.count = 7 * model.config.num_hidden_layers

    def linear(self, module: Any) -> "_CalibratedLinear":
        return _CalibratedLinear(self, module)

    def quantize(self, module: Any, x: torch.Tensor) -> None:
        if x is not self._input:  # queries, keys and values share an input, and so do gate and up
            # Past the last attention, only rows that predict a target are left, once for each target.
            weights = self._row_weights if len(x) == len(self._row_weights) else None
            self._input, self._factor = x, inverse_factor(outer_product(x, weights))
        matrix = quantize_matrix(module.weight, self._factor)
        self.matrices[self._names[id(module)]] = matrix
        _replace(module.weight, matrix)
        self.progress.update()


class _CalibratedLinear:
    """A linear layer for one forward pass; see `tinsmith.packed.decoder.Linear`."""

    trained = ()

    def __init__(self, calibration: _Calibration, module: Any):
        self._calibration, self._module = calibration, module

    def forward(self, take: Take, x: torch.Tensor) -> tuple[torch.Tensor, tuple[torch.Tensor, ...]]:
        self._calibration.quantize(self._module, x)
        return Frozen.of(self._module).forward(take, x)


def _quantize_head(model: Any, finals: torch.Tensor) -> dict[str, Int4Matrix]:
    embedding, head = model.get_input_embeddings().weight, model.get_output_embeddings().weight
    is_tied = embedding.data_ptr() == head.data_ptr()
    matrix = quantize_matrix(head, inverse_factor(outer_product(finals)))
    _replace(head, matrix)
    if is_tied:
        return {EMBEDDING: matrix}
    rounded = round_to_nearest(embedding)
    _replace(embedding, rounded)
    return {HEAD: matrix, EMBEDDING: rounded}


def _replace(weight: torch.Tensor, matrix: Int4Matrix) -> None:
    weight.data.copy_(torch.from_numpy(unpack(matrix)))


def outer_product(x: torch.Tensor, weights: torch.Tensor | None = None) -> torch.Tensor:
    """Sum over all rows of `x` (T, K) of their outer products with themselves, times `weights` (T,): float64 (K, K)."""
    rows = x.float()
    return ((rows if weights is None else rows * weights[:, None]).T @ rows).double()


def inverse_factor(hessian: torch.Tensor) -> Factor:
    """What `quantize_matrix` needs of a matrix's inputs, from their `outer_product`; `hessian` is overwritten."""
    diagonal = hessian.diagonal()
    diagonal += _DAMPING * diagonal.mean() + 1e-8
    upper = torch.linalg.cholesky(torch.cholesky_inverse(torch.linalg.cholesky(hessian)), upper=True)
    return upper.float(), upper.diagonal().pow(-2).float()


def quantize_matrix(weight: torch.Tensor, factor: Factor) -> Int4Matrix:
    """GPTQ of one matrix (N, K)."""
    pieces = [_quantize_rows(rows.float(), *factor) for rows in weight.detach().split(_ROWS_AT_ONCE)]
    integers = torch.cat([piece[0] for piece in pieces])
    scales = torch.cat([piece[1] for piece in pieces])
    return pack(integers.numpy(), scales.numpy())


def _quantize_rows(weight: torch.Tensor, upper: torch.Tensor, importance: torch.Tensor) -> Sequence[torch.Tensor]:
    """Integers (N, K) and scales (N, K / 32) of some rows."""
    # Worked on transposed, so that a column of the matrix is contiguous.
    remaining = weight.t().contiguous()  # (K, N)
    columns, rows = remaining.shape
    integers = torch.empty(columns, rows, dtype=torch.uint8)
    scales = torch.empty(columns // BLOCK_SIZE, rows)
    for start in range(0, columns, BLOCK_SIZE):
        stop = start + BLOCK_SIZE
        block = remaining[start:stop]  # (32, N), a view
        scale = block_scales(block.t().contiguous(), importance[start:stop])
        scales[start // BLOCK_SIZE] = scale
        errors = torch.empty_like(block)
        for offset in range(BLOCK_SIZE):
            column = start + offset
            chosen = to_integers(block[offset].unsqueeze(1), scale).squeeze(1)
            integers[column] = chosen.to(torch.uint8)
            errors[offset] = (block[offset] - (chosen - ZERO_POINT) * scale) / upper[column, column]
            if offset + 1 < BLOCK_SIZE:
                block[offset + 1 :].addr_(upper[column, column + 1 : stop], errors[offset], alpha=-1)
        if stop < columns:
            remaining[stop:].addmm_(upper[start:stop, stop:].t(), errors, alpha=-1)
    return integers.t().contiguous(), scales.t().contiguous()
