"""GPTQ: choose a matrix's integers so that its outputs, not its weights, change least.

A matrix is quantized column by column, and the error of a column is spread over the columns not yet done, weighed by
how the inputs correlate. Columns come in the order of what they cost (activation order); scales are chosen before, so
that blocks stay where the format has them. If the quantized model's inputs have drifted from the full-precision
model's, the weights are first moved to where the drifted inputs give the outputs nearest to the full-precision ones.

Source: GPTQ (arXiv 2210.17323), its activation order with static groups; the move is that of GPTAQ (arXiv 2504.02692)
in closed form.
"""

from dataclasses import dataclass

import torch

from tinsmith.export.blocks import BLOCK_SIZE, Blocks, block_scales, pack, to_integers

_DAMPING = 0.01  # of the mean diagonal; keeps the Hessian invertible with few calibration tokens
_GRAM_BLOCK = 384  # columns; small enough to leave half of the products out, large enough for quick ones
_DRIFT_ROWS = 2048  # summed in float32 from products in the model's format, whose rounding averages out
_ROWS_AT_ONCE = 16384  # a 262,144-row head is quantized in pieces; rows do not depend on each other


@dataclass(frozen=True, slots=True)
class Inputs:
    """What `quantize_matrix` needs of a matrix's inputs (T, K)."""

    order: torch.Tensor
    """Columns (K,) as they are quantized, the dearest first."""
    upper: torch.Tensor
    """Upper Cholesky factor of the damped inverse Hessian (K, K), rows and columns in that order, float32."""
    move: torch.Tensor | None
    """What the weights (N, K) are moved by, as a factor on their right (K, K), float32."""


def gram(x: torch.Tensor, row_weights: torch.Tensor) -> torch.Tensor:
    """Sum over rows of the outer products of `x` (T, K) with itself, times `row_weights` (T,): float64 (K, K).

    Only blocks on and below the diagonal are computed, in float32: what is left of a Hessian after rounding its large
    entries to bfloat16 need not be positive.
    """
    rows = x.float()
    weighted, columns = rows * row_weights[:, None], rows.shape[1]
    found = torch.empty(columns, columns, device=x.device)
    for start in range(0, columns, _GRAM_BLOCK):
        stop = min(start + _GRAM_BLOCK, columns)
        found[start:stop, :stop] = weighted[:, start:stop].T @ rows[:, :stop]
        found[:start, start:stop] = found[start:stop, :start].T
    return found.double()


def _drift(x: torch.Tensor, full_precision: torch.Tensor, row_weights: torch.Tensor) -> torch.Tensor:
    """Sum over rows of the outer products of what `x` (T, K) lacks with `x` itself: float64 (K, K)."""
    lacking = (full_precision.float() - x.float()).mul_(row_weights[:, None]).to(x.dtype)
    found = torch.zeros(x.shape[1], x.shape[1], device=x.device)
    for some, rows in zip(lacking.split(_DRIFT_ROWS), x.split(_DRIFT_ROWS), strict=True):
        found += some.T @ rows
    return found.double()


def prepare(
    x: torch.Tensor, row_weights: torch.Tensor | None = None, full_precision: torch.Tensor | None = None
) -> Inputs:
    """From the inputs `x` (T, K) that the matrix gets, each row counting as often as `row_weights` (T,) says.

    Args:
        full_precision: The inputs (T, K) that it gets in the full-precision model.
    """
    if row_weights is None:
        row_weights = torch.ones(len(x), device=x.device)
    hessian = gram(x, row_weights)
    diagonal = hessian.diagonal()
    diagonal += _DAMPING * diagonal.mean() + 1e-8
    order = diagonal.argsort(descending=True)
    inverse = torch.cholesky_inverse(torch.linalg.cholesky(hessian[order][:, order]))
    move = None
    if full_precision is not None:
        back = order.argsort()
        move = (_drift(x, full_precision, row_weights) @ inverse[back][:, back]).float()
    return Inputs(order, torch.linalg.cholesky(inverse, upper=True).float(), move)


def moved(weight: torch.Tensor, inputs: Inputs) -> torch.Tensor:
    """`weight` (N, K) where the drifted inputs give the outputs nearest to the full-precision ones, float32."""
    weight = weight.float()
    return weight if inputs.move is None else weight + weight @ inputs.move


def quantize_matrix(weight: torch.Tensor, inputs: Inputs) -> tuple[Blocks, float]:
    """A matrix (N, K) in blocks of 4 bits, and the weighted square error of its outputs over all rows of its inputs."""
    pieces = [_quantize_rows(moved(rows, inputs), inputs) for rows in weight.detach().split(_ROWS_AT_ONCE)]
    integers, scales, errors = zip(*pieces, strict=True)
    return pack(torch.cat(integers), torch.cat(scales)), sum(errors)


def _quantize_rows(weight: torch.Tensor, inputs: Inputs) -> tuple[torch.Tensor, torch.Tensor, float]:
    """Integers (N, K), zero in the middle, scales (N, K / 32) and error of some rows."""
    order, upper = inputs.order, inputs.upper
    places = order.argsort()
    importance = upper.diagonal().pow(-2)[places]
    blocks = weight.split(BLOCK_SIZE, dim=1)
    scales = torch.stack([
        block_scales(block.contiguous(), part)
        for block, part in zip(blocks, importance.split(BLOCK_SIZE), strict=True)
    ])  # (K / 32, N)
    # Worked on transposed, so that a column of the matrix is contiguous.
    remaining = weight.t()[order].contiguous()  # (K, N)
    column_scales = scales.repeat_interleave(BLOCK_SIZE, 0)[order]
    integers = torch.empty(remaining.shape, dtype=torch.int8, device=weight.device)
    total = 0.0
    for start in range(0, len(remaining), BLOCK_SIZE):
        stop = start + BLOCK_SIZE
        part = remaining[start:stop]  # (32, N), a view
        errors = torch.empty_like(part)
        for offset in range(BLOCK_SIZE):
            column = start + offset
            scale = column_scales[column]
            chosen = to_integers(part[offset], scale)
            integers[column] = chosen.to(torch.int8)
            errors[offset] = (part[offset] - chosen * scale) / upper[column, column]
            if offset + 1 < BLOCK_SIZE:
                part[offset + 1 :].addr_(upper[column, column + 1 : stop], errors[offset], alpha=-1)
        total += errors.square().sum(dtype=torch.float64).item()
        if stop < len(remaining):
            remaining[stop:].addmm_(upper[start:stop, stop:].t(), errors, alpha=-1)
    return integers[places].t().contiguous(), scales.t().contiguous(), total
