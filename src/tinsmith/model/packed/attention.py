"""Attention over a pack's tree: every row sees the rows before it in its own conversations, and no others.

On a CPU, small blocks of rows are multiplied by exactly the keys they can see: no product is wasted on masked pairs, no
probabilities are kept, and scores stay in cache. On a GPU the same rule is a block mask for PyTorch's FlexAttention.
"""

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Protocol, cast

import torch
from torch.nn.attention.flex_attention import BlockMask, create_block_mask, flex_attention

from tinsmith.model.packed.packing import Node, Pack

_BLOCK_ROWS = 128
"""Query rows of one tile: their scores fit in cache, and little of the causal diagonal is wasted."""

Take = Callable[[tuple[int, ...], torch.dtype], torch.Tensor]
"""`(shape, dtype) -> tensor`: allocates a result that the backward pass needs."""


class Rotation(Protocol):
    """Norms and RoPE of projected queries or keys."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Heads (H, T, D) float32 of a projection (T, H * D)."""

    def backward(self, grad: torch.Tensor, x: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """A tuple of one: the gradient of `x`, from `grad`, that of `forward(x)`."""


@dataclass(frozen=True, slots=True)
class Tile:
    """A block of query rows and the range of its run's keys that they see."""

    rows: slice
    keys: slice
    hidden: torch.Tensor
    """0 where a query sees a key and -inf where not (rows, M), for the last M of the keys; all see the others."""


@dataclass(frozen=True, slots=True)
class Run:
    """One node's query rows in tiles, and the ranges of rows with their keys."""

    keys: tuple[tuple[int, int], ...]
    tiles: tuple[Tile, ...]


def attention_over(pack: Pack) -> Callable[..., torch.Tensor]:
    """`attend(take, queries, keys, values, rotate_queries, rotate_keys, window)` over the rows of `pack`.

    It takes projected queries (T, H * D), keys and values (T, K * D) and returns (T, H * D). The queries' rotation
    includes the attention scale. `window` is how many of the latest positions a row sees, itself included; 0 means all.
    `take(shape, dtype)` allocates the result on a CPU.
    """
    return _flex_over(pack, _compiled_flex()) if pack.ids.device.type == "cuda" else _tiles_over(pack)


def _tiles_over(pack: Pack) -> Callable[..., torch.Tensor]:
    runs: dict[int, list[Run]] = {}

    def attend(
        take: Take,
        queries: torch.Tensor,
        keys: torch.Tensor,
        values: torch.Tensor,
        rotate_queries: Rotation,
        rotate_keys: Rotation,
        window: int,
    ) -> torch.Tensor:
        if window not in runs:
            runs[window] = [_run(node, window) for node in pack.nodes]
        return _TiledAttention.apply(take, queries, keys, values, rotate_queries, rotate_keys, runs[window])

    return attend


@lru_cache(maxsize=1)
def _compiled_flex() -> Callable[..., torch.Tensor]:
    return cast(Callable[..., torch.Tensor], torch.compile(flex_attention, dynamic=True))


def _flex_over(pack: Pack, flex: Callable[..., torch.Tensor]) -> Callable[..., torch.Tensor]:
    """Do the same with `flex`, which is `flex_attention` or compiled from it."""
    stops, positions = pack.subtree_stops, pack.positions
    masks: dict[int, BlockMask] = {}

    def mask_for(window: int) -> BlockMask:
        def sees(batch: torch.Tensor, head: torch.Tensor, row: torch.Tensor, key: torch.Tensor) -> torch.Tensor:
            visible = (key <= row) & (row < stops[key])
            return visible & (positions[row] - positions[key] < window) if window else visible

        return create_block_mask(sees, None, None, pack.rows, pack.rows, device=str(stops.device))

    def attend(
        take: Take,
        queries: torch.Tensor,
        keys: torch.Tensor,
        values: torch.Tensor,
        rotate_queries: Rotation,
        rotate_keys: Rotation,
        window: int,
    ) -> torch.Tensor:
        if window not in masks:
            masks[window] = mask_for(window)
        q, k = (
            Recomputed.apply(rotation, x).to(values.dtype)[None]
            for rotation, x in ((rotate_queries, queries), (rotate_keys, keys))
        )  # (1, H, T, D), (1, K, T, D)
        v = values.view(len(values), -1, q.shape[-1]).transpose(0, 1)[None]
        out = flex(q, k, v, block_mask=masks[window], scale=1.0, enable_gqa=q.shape[1] != k.shape[1])
        return out[0].transpose(0, 1).reshape(queries.shape)

    return attend


class Recomputed(torch.autograd.Function):
    """Computes `step.forward(*inputs)` and keeps only the inputs, for `step.backward(grad, *inputs)`."""

    @staticmethod
    def forward(ctx: Any, step: Rotation, *inputs: torch.Tensor) -> torch.Tensor:
        ctx.step = step
        ctx.save_for_backward(*inputs)
        return step.forward(*inputs)

    @staticmethod
    def backward(ctx: Any, grad: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        return None, *ctx.step.backward(grad, *ctx.saved_tensors)


def _run(node: Node, window: int) -> Run:
    oldest = max(0, node.position - window + 1) if window else 0  # position that the node's first row sees
    ranges, position = [], 0
    for low, high in (*node.ancestors, (node.start, node.stop)):
        skipped = min(max(0, oldest - position), high - low)
        if low + skipped < high:
            ranges.append((low + skipped, high))
        position += high - low
    tiles = [
        _tile(node.start, first, last, node.position - oldest, window)
        for first, last in itertools.pairwise(_block_bounds(node))
    ]
    return Run(tuple(ranges), tuple(tiles))


def _block_bounds(node: Node) -> list[int]:
    """First row of each of the node's blocks and the end of the last, counted from the node's first row.

    Blocks end at multiples of `_BLOCK_ROWS` in the conversation, so that most tiles of a pack, and of all packs with
    the same opening, have the same shapes: the CPU's matrix library compiles and caches a kernel for every shape.
    """
    rows = node.stop - node.start
    first = _BLOCK_ROWS - node.position % _BLOCK_ROWS
    return [0, *range(first, rows, _BLOCK_ROWS), rows]


def _tile(start: int, first: int, last: int, before: int, window: int) -> Tile:
    """Rows `first` to `last` of a node at `start`, whose run has `before` keys ahead of the node's own."""
    high = before + last
    low = max(0, before + first - window + 1) if window else 0
    rows, keys = slice(start + first, start + last), slice(low, high)
    if not window or high - low <= window:
        return Tile(rows, keys, _causal(last - first))
    age = torch.arange(before + first, high)[:, None] - torch.arange(low, high)[None, :]
    return Tile(rows, keys, _minus_infinity_where((age < 0) | (age >= window)))


@lru_cache(maxsize=_BLOCK_ROWS)
def _causal(rows: int) -> torch.Tensor:
    return _minus_infinity_where(torch.ones(rows, rows, dtype=torch.bool).triu_(1))


def _minus_infinity_where(hidden: torch.Tensor) -> torch.Tensor:
    return torch.zeros(hidden.shape).masked_fill_(hidden, -torch.inf)


class _TiledAttention(torch.autograd.Function):
    """Attention in tiles, with scores in float32 and products with probabilities in the compute format.

    The backward pass computes probabilities again, and the cheap rotation of queries and keys too.
    """

    @staticmethod
    def forward(
        ctx: Any,
        take: Take,
        queries: torch.Tensor,
        keys: torch.Tensor,
        values: torch.Tensor,
        rotate_queries: Rotation,
        rotate_keys: Rotation,
        runs: Sequence[Run],
    ) -> torch.Tensor:
        q, k = rotate_queries.forward(queries), rotate_keys.forward(keys)
        groups, width = len(q) // len(k), q.shape[2]
        v = values.view(len(values), -1, width).transpose(0, 1)  # (K, T, D)
        out = take(queries.shape, queries.dtype)
        by_row = out.view(len(out), -1, width)  # (T, H, D)
        for run in runs:
            run_k, run_v = _gather(k, run.keys, groups), _gather(v, run.keys, groups)
            for tile in run.tiles:
                probabilities = _probabilities(q, run_k, tile, v.dtype)
                by_row[tile.rows] = torch.bmm(probabilities, run_v[:, tile.keys]).transpose(0, 1)
        ctx.save_for_backward(queries, keys, values)
        ctx.rotate_queries, ctx.rotate_keys, ctx.runs = rotate_queries, rotate_keys, runs
        return out

    @staticmethod
    def backward(ctx: Any, grad_out: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        queries, keys, values = ctx.saved_tensors
        q, k = ctx.rotate_queries.forward(queries), ctx.rotate_keys.forward(keys)
        groups, width = len(q) // len(k), q.shape[2]
        v = values.view(len(values), -1, width).transpose(0, 1)
        grad_out = grad_out.view(len(queries), -1, width).transpose(0, 1).contiguous()  # (H, T, D)
        grad_q, grad_k, grad_v = torch.empty_like(q), torch.zeros_like(k), torch.zeros_like(k)
        low_q = q.to(v.dtype)
        for run in ctx.runs:
            run_k, run_v = _gather(k, run.keys, groups), _gather(v, run.keys, groups)
            low_k = run_k.to(v.dtype)
            run_grad_k, run_grad_v = torch.zeros_like(run_k), torch.zeros_like(run_k)
            for tile in run.tiles:
                grad = grad_out[:, tile.rows]
                probabilities = _probabilities(q, run_k, tile, v.dtype)  # (H, rows, keys)
                run_grad_v[:, tile.keys] += torch.bmm(probabilities.mT, grad)
                slopes = torch.ops.aten._softmax_backward_data(
                    torch.bmm(grad, run_v[:, tile.keys].mT), probabilities, -1, v.dtype
                )
                grad_q[:, tile.rows] = torch.bmm(slopes, low_k[:, tile.keys])
                run_grad_k[:, tile.keys] += torch.bmm(slopes.mT, low_q[:, tile.rows])
            _scatter(grad_k, run.keys, run_grad_k)
            _scatter(grad_v, run.keys, run_grad_v)
        return (
            None,
            *ctx.rotate_queries.backward(grad_q, queries),
            *ctx.rotate_keys.backward(grad_k, keys),
            grad_v.transpose(0, 1).reshape(values.shape).to(values.dtype),
            None,
            None,
            None,
        )


def _probabilities(q: torch.Tensor, keys: torch.Tensor, tile: Tile, dtype: torch.dtype) -> torch.Tensor:
    """Attention probabilities (H, rows, keys) of a tile."""
    scores = torch.bmm(q[:, tile.rows], keys[:, tile.keys].mT)
    scores[..., -tile.hidden.shape[1] :] += tile.hidden
    return scores.softmax(-1).to(dtype)


def _gather(tensor: torch.Tensor, ranges: Sequence[tuple[int, int]], groups: int) -> torch.Tensor:
    """Join the rows of (K, T, D) in `ranges` and repeat each head `groups` times: (H, rows, D)."""
    joined = torch.cat([tensor[:, low:high] for low, high in ranges], dim=1)
    return joined if groups == 1 else joined.repeat_interleave(groups, dim=0)


def _scatter(total: torch.Tensor, ranges: Sequence[tuple[int, int]], part: torch.Tensor) -> None:
    """Add `part` (H, rows, D) to the rows of `total` (K, T, D) it was gathered from."""
    part = part.view(len(total), -1, *part.shape[1:]).sum(1)
    start = 0
    for low, high in ranges:
        total[:, low:high] += part[:, start : start + high - low]
        start += high - low
