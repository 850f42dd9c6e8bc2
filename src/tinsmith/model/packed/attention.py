"""Attention over a pack's tree: every row sees the rows before it in its own conversations, and no others.

On a CPU, each small block of rows is multiplied only by the keys that it can see. This wastes few products on masked
pairs, stores no probabilities, and keeps scores in cache. On a GPU the same rule is a block mask for PyTorch's
FlexAttention.
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
"""Query rows per tile: few enough that scores fit in cache and little of the causal diagonal is wasted."""

Allocate = Callable[[tuple[int, ...], torch.dtype], torch.Tensor]
"""`(shape, dtype) -> tensor`: allocates a result."""


class Rotation(Protocol):
    """Norms and RoPE of projected queries or keys."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Split a projection (T, H * D) into rotated heads (H, T, D) in float32."""

    def backward(self, grad: torch.Tensor, x: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """The gradient of `x`, as a tuple of one. `grad` is the gradient of `forward(x)`."""


@dataclass(frozen=True, slots=True)
class Tile:
    """A block of a node's query rows, and the range of the node's keys that they see."""

    rows: slice
    keys: slice
    mask: torch.Tensor
    """(rows, M) for the last M keys: 0 where a query sees a key, else -inf. Every query sees the keys before."""


@dataclass(frozen=True, slots=True)
class TiledNode:
    """A node's query rows in tiles, and the row ranges of all keys that they see."""

    keys: tuple[tuple[int, int], ...]
    tiles: tuple[Tile, ...]


def attention_over(pack: Pack) -> Callable[..., torch.Tensor]:
    """The function `attend(allocate, queries, keys, values, rotate_queries, rotate_keys, window)` for `pack`.

    It maps projected queries (T, H * D), keys and values (T, K * D) to (T, H * D). The rotation of queries includes the
    attention scale. A row sees its own and the latest positions, `window` in all, or all positions if `window` is 0.
    `allocate` is used on a CPU only.
    """
    return _flex_over(pack, _compiled_flex()) if pack.ids.device.type == "cuda" else _tiles_over(pack)


def _tiles_over(pack: Pack) -> Callable[..., torch.Tensor]:
    tiled_nodes: dict[int, list[TiledNode]] = {}

    def attend(
        allocate: Allocate,
        queries: torch.Tensor,
        keys: torch.Tensor,
        values: torch.Tensor,
        rotate_queries: Rotation,
        rotate_keys: Rotation,
        window: int,
    ) -> torch.Tensor:
        if window not in tiled_nodes:
            tiled_nodes[window] = [_tiled(node, window) for node in pack.nodes]
        nodes = tiled_nodes[window]
        return _TiledAttention.apply(allocate, queries, keys, values, rotate_queries, rotate_keys, nodes)

    return attend


@lru_cache(maxsize=1)
def _compiled_flex() -> Callable[..., torch.Tensor]:
    return cast(Callable[..., torch.Tensor], torch.compile(flex_attention, dynamic=True))


def _flex_over(pack: Pack, flex: Callable[..., torch.Tensor]) -> Callable[..., torch.Tensor]:
    """The function `attend` with `flex`: `flex_attention`, compiled or not."""
    stops, positions = pack.subtree_stops, pack.positions
    masks: dict[int, BlockMask] = {}

    def mask_for(window: int) -> BlockMask:
        def sees(batch: torch.Tensor, head: torch.Tensor, row: torch.Tensor, key: torch.Tensor) -> torch.Tensor:
            visible = (key <= row) & (row < stops[key])
            return visible & (positions[row] - positions[key] < window) if window else visible

        return create_block_mask(sees, None, None, pack.rows, pack.rows, device=str(stops.device))

    def attend(
        allocate: Allocate,
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
    """Runs `step.forward(*inputs)` and saves only the inputs, for `step.backward(grad, *inputs)`."""

    @staticmethod
    def forward(ctx: Any, step: Rotation, *inputs: torch.Tensor) -> torch.Tensor:
        ctx.step = step
        ctx.save_for_backward(*inputs)
        return step.forward(*inputs)

    @staticmethod
    def backward(ctx: Any, grad: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        return None, *ctx.step.backward(grad, *ctx.saved_tensors)


def _tiled(node: Node, window: int) -> TiledNode:
    oldest = max(0, node.position - window + 1) if window else 0  # the first position that its first row sees
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
    return TiledNode(tuple(ranges), tuple(tiles))


def _block_bounds(node: Node) -> list[int]:
    """Start of each block of rows and end of the last, counted from the node's first row.

    Blocks end at multiples of `_BLOCK_ROWS` in the conversation, so most tiles have the same shapes, even across packs
    with the same opening. The CPU's matrix library compiles a kernel for each new shape.
    """
    rows = node.stop - node.start
    first = _BLOCK_ROWS - node.position % _BLOCK_ROWS
    return [0, *range(first, rows, _BLOCK_ROWS), rows]


def _tile(start: int, first: int, last: int, before: int, window: int) -> Tile:
    """Rows `first` to `last` of a node that starts at row `start` and sees `before` keys ahead of its own."""
    high = before + last
    low = max(0, before + first - window + 1) if window else 0
    rows, keys = slice(start + first, start + last), slice(low, high)
    if not window or high - low <= window:
        return Tile(rows, keys, _causal(last - first))
    age = torch.arange(before + first, high)[:, None] - torch.arange(low, high)[None, :]
    return Tile(rows, keys, _additive_mask((age < 0) | (age >= window)))


@lru_cache(maxsize=_BLOCK_ROWS)
def _causal(rows: int) -> torch.Tensor:
    return _additive_mask(torch.ones(rows, rows, dtype=torch.bool).triu_(1))


def _additive_mask(is_hidden: torch.Tensor) -> torch.Tensor:
    return torch.zeros(is_hidden.shape).masked_fill_(is_hidden, -torch.inf)


class _TiledAttention(torch.autograd.Function):
    """Attention in tiles. Scores are float32; products with probabilities have the dtype of the values.

    The backward pass recomputes the probabilities, and the rotation of queries and keys, which is cheap.
    """

    @staticmethod
    def forward(
        ctx: Any,
        allocate: Allocate,
        queries: torch.Tensor,
        keys: torch.Tensor,
        values: torch.Tensor,
        rotate_queries: Rotation,
        rotate_keys: Rotation,
        nodes: Sequence[TiledNode],
    ) -> torch.Tensor:
        q, k = rotate_queries.forward(queries), rotate_keys.forward(keys)
        groups, width = len(q) // len(k), q.shape[2]
        v = values.view(len(values), -1, width).transpose(0, 1)  # (K, T, D)
        out = allocate(queries.shape, queries.dtype)
        by_row = out.view(len(out), -1, width)  # (T, H, D)
        for node in nodes:
            node_k, node_v = _gather(k, node.keys, groups), _gather(v, node.keys, groups)
            for tile in node.tiles:
                probabilities = _probabilities(q, node_k, tile, v.dtype)
                by_row[tile.rows] = torch.bmm(probabilities, node_v[:, tile.keys]).transpose(0, 1)
        ctx.save_for_backward(queries, keys, values)
        ctx.rotate_queries, ctx.rotate_keys, ctx.nodes = rotate_queries, rotate_keys, nodes
        return out

    @staticmethod
    def backward(ctx: Any, grad_out: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        queries, keys, values = ctx.saved_tensors
        q, k = ctx.rotate_queries.forward(queries), ctx.rotate_keys.forward(keys)
        groups, width = len(q) // len(k), q.shape[2]
        v = values.view(len(values), -1, width).transpose(0, 1)
        grad_out = grad_out.view(len(queries), -1, width).transpose(0, 1).contiguous()  # (H, T, D)
        grad_q, grad_k, grad_v = torch.empty_like(q), torch.zeros_like(k), torch.zeros_like(k)
        cast_q = q.to(v.dtype)
        for node in ctx.nodes:
            node_k, node_v = _gather(k, node.keys, groups), _gather(v, node.keys, groups)
            cast_k = node_k.to(v.dtype)
            node_grad_k, node_grad_v = torch.zeros_like(node_k), torch.zeros_like(node_k)
            for tile in node.tiles:
                grad = grad_out[:, tile.rows]
                probabilities = _probabilities(q, node_k, tile, v.dtype)  # (H, rows, keys)
                node_grad_v[:, tile.keys] += torch.bmm(probabilities.mT, grad)
                grad_scores = torch.ops.aten._softmax_backward_data(
                    torch.bmm(grad, node_v[:, tile.keys].mT), probabilities, -1, v.dtype
                )
                grad_q[:, tile.rows] = torch.bmm(grad_scores, cast_k[:, tile.keys])
                node_grad_k[:, tile.keys] += torch.bmm(grad_scores.mT, cast_q[:, tile.rows])
            _scatter(grad_k, node.keys, node_grad_k)
            _scatter(grad_v, node.keys, node_grad_v)
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
    scores[..., -tile.mask.shape[1] :] += tile.mask
    return scores.softmax(-1).to(dtype)


def _gather(tensor: torch.Tensor, ranges: Sequence[tuple[int, int]], groups: int) -> torch.Tensor:
    """Join the rows of (K, T, D) in `ranges` and repeat each head `groups` times: (H, rows, D)."""
    joined = torch.cat([tensor[:, low:high] for low, high in ranges], dim=1)
    return joined if groups == 1 else joined.repeat_interleave(groups, dim=0)


def _scatter(total: torch.Tensor, ranges: Sequence[tuple[int, int]], part: torch.Tensor) -> None:
    """Undo `_gather`: add `part` (H, rows, D) to the rows of `total` (K, T, D) in `ranges`."""
    part = part.view(len(total), -1, *part.shape[1:]).sum(1)
    start = 0
    for low, high in ranges:
        total[:, low:high] += part[:, start : start + high - low]
        start += high - low
