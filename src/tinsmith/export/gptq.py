"""GPTQ: choose a matrix's integers so that its outputs, not its weights, change least.

A matrix is quantized column by column, and the error of a column is spread over the columns not yet done, weighed by
how the inputs correlate. Columns come in the order of what they cost (activation order); scales are chosen before, so
that blocks stay where the format has them. If the quantized model's inputs have drifted from the full-precision
model's, the weights are first moved to where the drifted inputs give the outputs nearest to the full-precision ones.

Source: GPTQ (arXiv 2210.17323), its activation order with static groups, in the form of LDLQ (QuIP, arXiv 2307.13304), which
needs one Cholesky factor of the Hessian and no inverse; the move is that of GPTAQ (arXiv 2504.02692) in closed form.
"""

from dataclasses import dataclass

import torch

from tinsmith.export.blocks import BLOCK_SIZE, Blocks, block_steps, pack, stored_scale, to_integers

# Of the mean diagonal. A few thousand tokens say too little about the rarer directions to risk much in them.
_DAMPING = 0.1
_DAMPING_OF_MOVE = 0.3
_SMALLEST = 1e-8  # keeps the Hessian of inputs that are all zero invertible
_GRAM_BLOCK = 384  # columns; small enough to leave half of the products out, large enough for quick ones
_ROWS_AT_ONCE = 16384  # a 262,144-row head is quantized in pieces; rows do not depend on each other


@dataclass(frozen=True, slots=True)
class Inputs:
    """What `quantize_matrix` needs of a matrix's inputs (T, K)."""

    hessian: torch.Tensor
    """Sum over rows of outer products, damped (K, K), float32."""
    x: torch.Tensor
    """The inputs themselves (T, K)."""
    lacking: torch.Tensor | None
    """What they lack of the inputs in the full-precision model, times the rows' weights (T, K)."""
    factor: torch.Tensor | None
    """Lower Cholesky factor of the Hessian that the move is found with (K, K), float32."""


@dataclass(frozen=True, slots=True)
class _Elimination:
    """How the errors of columns already done are made good in the next."""

    order: torch.Tensor
    """Columns (K,) as they are quantized, the dearest first."""
    upper: torch.Tensor
    """U (K, K), triangular with ones on its diagonal: the Hessian in that order is U D U^T."""
    cost: torch.Tensor
    """D (K,), what an error costs once all columns after it have answered to it, in the matrix's own order of columns."""


def gram(x: torch.Tensor, row_weights: torch.Tensor) -> torch.Tensor:
    """Sum over rows of the outer products of `x` (T, K) with itself, times `row_weights` (T,): float32 (K, K).

    Blocks on and below the diagonal are computed, in float32: what is left of a Hessian after rounding its large entries
    to bfloat16 need not be positive.
    """
    rows, columns = x.float(), x.shape[1]
    weighted = rows * row_weights[:, None]
    found = torch.empty(columns, columns, device=x.device)
    for start in range(0, columns, _GRAM_BLOCK):
        stop = min(start + _GRAM_BLOCK, columns)
        found[start:stop, :stop] = weighted[:, start:stop].T @ rows[:, :stop]
        found[:start, start:stop] = found[start:stop, :start].T
    return found


def _damped(hessian: torch.Tensor, damping: float) -> torch.Tensor:
    found = hessian.clone()
    found.diagonal().add_(damping * found.diagonal().mean() + _SMALLEST)
    return found


def prepare(
    x: torch.Tensor, row_weights: torch.Tensor | None = None, full_precision: torch.Tensor | None = None
) -> Inputs:
    """From the inputs `x` (T, K) that the matrix gets, each row counting as often as `row_weights` (T,) says.

    Args:
        full_precision: The inputs (T, K) that it gets in the full-precision model.
    """
    if row_weights is None:
        row_weights = torch.ones(len(x), device=x.device)
    products = gram(x, row_weights)
    hessian = _damped(products, _DAMPING)
    lacking = factor = None
    if full_precision is not None:
        lacking = (full_precision.float() - x.float()).mul_(row_weights[:, None]).to(x.dtype)
        factor = torch.linalg.cholesky(_damped(products, _DAMPING_OF_MOVE))
    return Inputs(hessian, x, lacking, factor)


def moved(weight: torch.Tensor, inputs: Inputs) -> torch.Tensor:
    """`weight` (N, K) where the drifted inputs give the outputs nearest to the full-precision ones, float32."""
    if inputs.lacking is None:
        return weight.float()
    # In the model's format, whose rounding averages out, and in the cheaper order: past K = 2 N by way of the outputs (N, T).
    pull = torch.linalg.multi_dot([weight.to(inputs.x.dtype), inputs.lacking.T, inputs.x]).float()
    return weight.float() + torch.cholesky_solve(pull.T, inputs.factor).T


def quantize_matrix(weight: torch.Tensor, inputs: Inputs) -> Blocks:
    """A matrix (N, K) in blocks of 4 bits, so that its outputs lose little over all rows of its inputs."""
    elimination = _eliminate(inputs.hessian)
    pieces = [
        _quantize_rows(moved(rows, inputs), inputs.hessian, elimination)
        for rows in weight.detach().split(_ROWS_AT_ONCE)
    ]
    return pack(*(torch.cat(parts) for parts in zip(*pieces, strict=True)))


def _eliminate(hessian: torch.Tensor) -> _Elimination:
    """The factors of a Hessian (K, K): Cholesky's of it backwards, read backwards."""
    order = hessian.diagonal().argsort(descending=True)
    backwards = order.flip(0)
    lower = torch.linalg.cholesky(hessian[backwards][:, backwards])
    diagonal = lower.diagonal().clone()
    upper = lower.div_(diagonal).flip((0, 1))
    return _Elimination(order, upper, diagonal.square().flip(0)[order.argsort()])


def _quantize_rows(weight: torch.Tensor, hessian: torch.Tensor, elimination: _Elimination) -> tuple[torch.Tensor, ...]:
    """Integers (N, K), scales and lowest integers (N, K / 32) of some rows.

    Worked on transposed, so that a column of the matrix is contiguous.
    """
    blocks = zip(weight.split(BLOCK_SIZE, dim=1), elimination.cost.split(BLOCK_SIZE), strict=True)
    steps = zip(*(block_steps(block.contiguous(), part) for block, part in blocks), strict=True)
    scales, lowest = map(torch.stack, steps)  # (K / 32, N)
    columns = weight.t().contiguous()
    integers = _one_by_one(columns, scales, lowest, elimination)
    _settle(columns, integers, scales, lowest, hessian)
    return integers.t().to(torch.int8).contiguous(), scales.t().contiguous(), lowest.t().contiguous()


def _one_by_one(
    columns: torch.Tensor, scales: torch.Tensor, lowest: torch.Tensor, elimination: _Elimination
) -> torch.Tensor:
    """Integers (K, N) as float32; each column of the matrix is moved by what the errors of those before it ask."""
    order, upper = elimination.order, elimination.upper
    blocks = order // BLOCK_SIZE
    exact, column_scales, column_lowest = columns[order], scales[blocks], lowest[blocks]
    wanted, integers = exact.clone(), torch.empty_like(exact)
    for start in range(0, len(exact), BLOCK_SIZE):
        stop = start + BLOCK_SIZE
        errors = torch.empty_like(exact[start:stop])
        for offset, column in enumerate(range(start, stop)):
            integers[column] = to_integers(wanted[column], column_scales[column], column_lowest[column])
            errors[offset] = exact[column] - integers[column] * column_scales[column]
            wanted[column + 1 : stop].addr_(upper[column, column + 1 : stop], errors[offset])
        wanted[stop:].addmm_(upper[start:stop, stop:].t(), errors)
    return integers[order.argsort()]


def _settle(
    columns: torch.Tensor, integers: torch.Tensor, scales: torch.Tensor, lowest: torch.Tensor, hessian: torch.Tensor
) -> None:
    """Every block once more: its scale, then its integers, to the least error given all others; in place.

    Args:
        columns: What is quantized (K, N).
        integers: As float32 (K, N).
        scales: (K / 32, N).
        lowest: What integers end at (K / 32, N).
    """
    pull = hessian @ (columns - integers * scales.repeat_interleave(BLOCK_SIZE, 0))  # minus half the error's gradient
    for block, start in enumerate(range(0, len(columns), BLOCK_SIZE)):
        own = slice(start, start + BLOCK_SIZE)
        curvature, part, here = hessian[own, own], integers[own], pull[own].clone()
        before = part * scales[block]
        along = (part * (curvature @ part)).sum(0).clamp_min(_SMALLEST)
        scales[block] = stored_scale(scales[block] + (part * here).sum(0) / along)
        here.addmm_(curvature, part * scales[block] - before, alpha=-1)
        for offset in range(BLOCK_SIZE):
            wanted = part[offset] * scales[block] + here[offset] / curvature[offset, offset]
            integer = to_integers(wanted, scales[block], lowest[block])
            here.addr_(curvature[:, offset], (integer - part[offset]) * scales[block], alpha=-1)
            part[offset] = integer
        pull.addmm_(hessian[:, own], part * scales[block] - before, alpha=-1)
