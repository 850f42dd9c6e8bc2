"""GPTQ: choose a matrix's integers so that its outputs, not its weights, change least.

A matrix is quantized column by column. Columns still to be quantized compensate each column's error, according to how
their inputs correlate. The most expensive columns come first (activation order). Scales are chosen beforehand, so
blocks of neighbouring columns stay together. If the quantized model's inputs have drifted from the full-precision
model's, the weights are first corrected, so that drifted inputs produce outputs close to the full-precision ones.

Source: GPTQ (arXiv 2210.17323) with activation order and static groups, in the form of LDLQ (QuIP, arXiv 2307.13304),
which needs one Cholesky factor of the Hessian and no inverse. The correction is that of GPTAQ (arXiv 2504.02692) in
closed form.
"""

from dataclasses import dataclass

import torch

from tinsmith.export.blocks import BLOCK_SIZE, Blocks, block_steps, pack, stored_scale, to_integers

_DAMPING = 0.1
"""Fraction of the mean diagonal added to a Hessian: a few thousand tokens say little about its rarer directions."""
_CORRECTION_DAMPING = 0.3
_SMALLEST = 1e-8
"""Keeps the Hessian of inputs that are all zero invertible."""
_GRAM_BLOCK = 384
"""Columns multiplied at once: few enough to skip nearly half of the work, enough for fast products."""
_ROWS_AT_ONCE = 16384
"""A 262,144-row head is quantized in pieces; rows do not depend on each other."""


@dataclass(frozen=True, slots=True)
class Inputs:
    """Statistics of a matrix's inputs (T, K) that `quantize_matrix` needs."""

    hessian: torch.Tensor
    """Damped sum over rows of outer products (K, K), float32."""
    x: torch.Tensor
    """The inputs themselves (T, K)."""
    drift: torch.Tensor | None
    """Full-precision inputs minus these, times the rows' weights (T, K)."""
    factor: torch.Tensor | None
    """Lower Cholesky factor of the correction's Hessian (K, K), float32."""


@dataclass(frozen=True, slots=True)
class _Elimination:
    """How later columns compensate the errors of earlier ones."""

    order: torch.Tensor
    """Columns (K,) in the order of quantization, the most expensive first."""
    upper: torch.Tensor
    """U (K, K), triangular with ones on its diagonal: the Hessian in that order is U D U^T."""
    cost: torch.Tensor
    """D (K,) in the matrix's original column order: the cost of an error after later columns have compensated it."""


def gram(x: torch.Tensor, row_weights: torch.Tensor) -> torch.Tensor:
    """Sum of outer products of the rows of `x` (T, K), weighted by `row_weights` (T,): float32 (K, K).

    Only blocks on and below the diagonal are computed. They are computed in float32, because a Hessian rounded to
    bfloat16 need not be positive definite.
    """
    rows, columns = x.float(), x.shape[1]
    weighted = rows * row_weights[:, None]
    products = torch.empty(columns, columns, device=x.device)
    for start in range(0, columns, _GRAM_BLOCK):
        stop = min(start + _GRAM_BLOCK, columns)
        products[start:stop, :stop] = weighted[:, start:stop].T @ rows[:, :stop]
        products[:start, start:stop] = products[start:stop, :start].T
    return products


def _damped(hessian: torch.Tensor, damping: float) -> torch.Tensor:
    damped = hessian.clone()
    damped.diagonal().add_(damping * damped.diagonal().mean() + _SMALLEST)
    return damped


def prepare(
    x: torch.Tensor, row_weights: torch.Tensor | None = None, full_precision: torch.Tensor | None = None
) -> Inputs:
    """Collect the statistics of a matrix's inputs.

    Args:
        x: The inputs (T, K) in the quantized model.
        row_weights: How much each row counts (T,); all the same if left out.
        full_precision: The inputs (T, K) in the full-precision model, if the drift from them is to be corrected.
    """
    if row_weights is None:
        row_weights = torch.ones(len(x), device=x.device)
    products = gram(x, row_weights)
    hessian = _damped(products, _DAMPING)
    drift = factor = None
    if full_precision is not None:
        drift = (full_precision.float() - x.float()).mul_(row_weights[:, None]).to(x.dtype)
        factor = torch.linalg.cholesky(_damped(products, _CORRECTION_DAMPING))
    return Inputs(hessian, x, drift, factor)


def corrected(weight: torch.Tensor, inputs: Inputs) -> torch.Tensor:
    """Correct `weight` (N, K) so that drifted inputs produce outputs close to the full-precision ones; float32."""
    if inputs.drift is None or inputs.factor is None:
        return weight.float()
    # Computed in the model's format: rounding errors average out. `multi_dot` picks the cheaper order of products.
    pull = torch.linalg.multi_dot([weight.to(inputs.x.dtype), inputs.drift.T, inputs.x]).float()
    return weight.float() + torch.cholesky_solve(pull.T, inputs.factor).T


def quantize_matrix(weight: torch.Tensor, inputs: Inputs) -> Blocks:
    """Quantize a matrix (N, K) to blocks of 4 bits so that its outputs change little over all rows of its inputs."""
    elimination = _eliminate(inputs.hessian)
    pieces = [
        _quantize_rows(corrected(rows, inputs), inputs.hessian, elimination)
        for rows in weight.detach().split(_ROWS_AT_ONCE)
    ]
    return pack(*(torch.cat(parts) for parts in zip(*pieces, strict=True)))


def _eliminate(hessian: torch.Tensor) -> _Elimination:
    """Factor a Hessian (K, K): the Cholesky factor of its reverse, reversed."""
    order = hessian.diagonal().argsort(descending=True)
    backwards = order.flip(0)
    lower = torch.linalg.cholesky(hessian[backwards][:, backwards])
    diagonal = lower.diagonal().clone()
    upper = lower.div_(diagonal).flip((0, 1))
    return _Elimination(order, upper, diagonal.square().flip(0)[order.argsort()])


def _quantize_rows(weight: torch.Tensor, hessian: torch.Tensor, elimination: _Elimination) -> tuple[torch.Tensor, ...]:
    """Integers (N, K), scales and lowest integers (N, K / 32) of some rows.

    Works on the transposed matrix, so that a column is contiguous.
    """
    blocks = zip(weight.split(BLOCK_SIZE, dim=1), elimination.cost.split(BLOCK_SIZE), strict=True)
    steps = zip(*(block_steps(block.contiguous(), part) for block, part in blocks), strict=True)
    scales, lowest = map(torch.stack, steps)  # (K / 32, N)
    columns = weight.t().contiguous()
    integers = _quantize_columns(columns, scales, lowest, elimination)
    _refit(columns, integers, scales, lowest, hessian)
    return integers.t().to(torch.int8).contiguous(), scales.t().contiguous(), lowest.t().contiguous()


def _quantize_columns(
    columns: torch.Tensor, scales: torch.Tensor, lowest: torch.Tensor, elimination: _Elimination
) -> torch.Tensor:
    """Integers (K, N) as float32. Each column compensates the errors of those before it, then is rounded itself."""
    order, upper = elimination.order, elimination.upper
    blocks = order // BLOCK_SIZE
    exact, column_scales, column_lowest = columns[order], scales[blocks], lowest[blocks]
    compensated, integers = exact.clone(), torch.empty_like(exact)
    for start in range(0, len(exact), BLOCK_SIZE):
        stop = start + BLOCK_SIZE
        errors = torch.empty_like(exact[start:stop])
        for offset, column in enumerate(range(start, stop)):
            integers[column] = to_integers(compensated[column], column_scales[column], column_lowest[column])
            errors[offset] = exact[column] - integers[column] * column_scales[column]
            compensated[column + 1 : stop].addr_(upper[column, column + 1 : stop], errors[offset])
        compensated[stop:].addmm_(upper[start:stop, stop:].t(), errors)
    return integers[order.argsort()]


def _refit(
    columns: torch.Tensor, integers: torch.Tensor, scales: torch.Tensor, lowest: torch.Tensor, hessian: torch.Tensor
) -> None:
    """Refit each block's scale and then its integers to the least error given all other blocks, in place.

    Args:
        columns: The exact weights (K, N).
        integers: Their integers as float32 (K, N); changed.
        scales: (K / 32, N); changed.
        lowest: Each block's lowest integer (K / 32, N).
        hessian: (K, K).
    """
    pull = hessian @ (columns - integers * scales.repeat_interleave(BLOCK_SIZE, 0))  # minus half the error's gradient
    for block, start in enumerate(range(0, len(columns), BLOCK_SIZE)):
        own = slice(start, start + BLOCK_SIZE)
        curvature, block_integers, block_pull = hessian[own, own], integers[own], pull[own].clone()
        before = block_integers * scales[block]
        norm = (block_integers * (curvature @ block_integers)).sum(0).clamp_min(_SMALLEST)
        scales[block] = stored_scale(scales[block] + (block_integers * block_pull).sum(0) / norm)
        block_pull.addmm_(curvature, block_integers * scales[block] - before, alpha=-1)
        for offset in range(BLOCK_SIZE):
            best = block_integers[offset] * scales[block] + block_pull[offset] / curvature[offset, offset]
            integer = to_integers(best, scales[block], lowest[block])
            block_pull.addr_(curvature[:, offset], (integer - block_integers[offset]) * scales[block], alpha=-1)
            block_integers[offset] = integer
        pull.addmm_(hessian[:, own], block_integers * scales[block] - before, alpha=-1)
