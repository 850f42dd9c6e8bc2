"""Packs: the conversations of one forward pass as a tree, so that shared tokens are computed once.

Conversations of one domain open with the same system prompt, and often with the same question. A pack contains each
shared span of tokens once, followed by its continuations. Rows are in depth-first order: a row sees exactly the earlier
rows whose subtree contains it. There is no padding.
"""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch

from tinsmith.model.tokens import Tokens

_MIN_SHARED_TOKENS = 16
"""Shorter shared spans are computed once per conversation: splitting attention there costs more than it saves."""

NO_TARGET = -1
"""Target of a filler row. The loss leaves it out."""

_MIN_FILLED_ROWS = 512
_MIN_FILLED_TARGETS = 128
_SIZES_PER_DOUBLING = 4


@dataclass(frozen=True, slots=True)
class Node:
    """A span of tokens that the same conversations share, in rows `start` to `stop` (exclusive) of the pack."""

    start: int
    stop: int
    subtree_stop: int
    """End of the rows of its continuations, which begin at `stop`."""
    ancestors: tuple[tuple[int, int], ...]
    """Row ranges of the spans before it, in order."""
    position: int
    """Position of its first token in the conversation."""


@dataclass(frozen=True, slots=True)
class Pack:
    """The token tree of one forward pass; its tensors are on the device of the model."""

    ids: torch.Tensor
    """Token ids (T,)."""
    positions: torch.Tensor
    """Position of each row in its conversations (T,)."""
    subtree_stops: torch.Tensor
    """Rows t to `subtree_stops[t]` (exclusive) see row t (T,)."""
    nodes: tuple[Node, ...]
    predictors: torch.Tensor
    """The row whose hidden state predicts each supervised token (N,)."""
    targets: torch.Tensor
    """Supervised tokens (N,), grouped by conversation; `NO_TARGET` for filler."""
    supervised: tuple[int, ...]
    """Number of targets of each conversation. Here and in `targets`, conversations are sorted by token ids."""
    paths: tuple[tuple[tuple[int, int], ...], ...]
    """The row ranges of each conversation, in the same order."""
    tokens: int
    """Number of tokens of all conversations; a shared token counts once per conversation."""

    @property
    def rows(self) -> int:
        """Tokens that are computed."""
        return len(self.ids)

    def rows_of(self, conversation: int) -> list[int]:
        """The row of every token of a conversation, given by its index in `paths`."""
        return _rows_of(self.paths[conversation])


def packing_order(conversations: Sequence[Tokens], indices: Sequence[int]) -> list[int]:
    """Sort `indices` by token ids, so that conversations with the longest shared openings are neighbours."""
    # Big-endian bytes sort as the ids do, and take a tenth of the memory.
    return sorted(indices, key=lambda index: np.array(conversations[index].ids, ">u4").tobytes())


def pack_groups(
    conversations: Sequence[Tokens], indices: Sequence[int], batch_size: int, max_rows: int
) -> list[list[int]]:
    """Split `indices` into groups of at most `batch_size` conversations whose pack has at most `max_rows` rows.

    A conversation longer than `max_rows` gets a group of its own.
    """
    groups: list[list[int]] = []
    rows = 0
    for index in packing_order(conversations, indices):
        ids = conversations[index].ids
        added = len(ids) - (_shared(conversations[groups[-1][-1]].ids, ids) if groups else 0)
        if not groups or len(groups[-1]) == batch_size or rows + added > max_rows:
            groups.append([index])
            rows = len(ids)
        else:
            groups[-1].append(index)
            rows += added
    return groups


def packed_rows(conversations: Sequence[Tokens]) -> int:
    """Estimate the rows of a pack. The pack itself has a few more if a shared opening is very short."""
    ordered = sorted(conversations, key=lambda tokens: tokens.ids)
    shared = sum(_shared(one.ids, other.ids) for one, other in itertools.pairwise(ordered))
    return sum(len(tokens.ids) for tokens in ordered) - shared


def make_pack(conversations: Sequence[Tokens], device: torch.device) -> Pack:
    """Pack `conversations`.

    A token shared by several conversations is one row; if it is supervised in each, it is a target for each.
    """
    tree = _Tree()
    tree.add(sorted(conversations, key=lambda tokens: tokens.ids), depth=0, ancestors=())
    positions = [node.position + offset for node in tree.nodes for offset in range(node.stop - node.start)]
    stops = [node.subtree_stop for node in tree.nodes for _ in range(node.start, node.stop)]

    def rows(values: Sequence[int]) -> torch.Tensor:
        return torch.tensor(values, dtype=torch.long, device=device)

    return Pack(
        rows(tree.ids),
        rows(positions),
        rows(stops),
        tuple(tree.nodes),
        rows(tree.predictors),
        rows(tree.targets),
        tuple(tree.supervised),
        tuple(tree.paths),
        sum(len(tokens.ids) for tokens in conversations),
    )


def filled_rows(rows: int) -> int:
    """Rows of a pack after `fill_pack`."""
    return _filled_size(rows, _MIN_FILLED_ROWS)


def fill_pack(pack: Pack) -> Pack:
    """Fill up the rows and targets of `pack` to one of a few sizes, four for each doubling.

    A GPU compiles and records the work for every size once, so sizes must recur. The filler is a conversation of its
    own without targets. It changes neither the loss nor a gradient.
    """
    filler = filled_rows(pack.rows) - pack.rows
    rows = pack.rows + filler
    predictors = _filled_size(len(pack.predictors), _MIN_FILLED_TARGETS) - len(pack.predictors)
    if not filler and not predictors:
        return pack

    def extended(values: torch.Tensor, more: torch.Tensor) -> torch.Tensor:
        return torch.cat([values, more.to(values)])

    return replace(
        pack,
        ids=extended(pack.ids, torch.zeros(filler)),
        positions=extended(pack.positions, torch.arange(filler)),
        subtree_stops=extended(pack.subtree_stops, torch.full((filler,), rows)),
        nodes=(*pack.nodes, Node(pack.rows, rows, rows, (), 0)) if filler else pack.nodes,
        # Each reads another row, because sums of gradients for one row have to wait for each other.
        predictors=extended(pack.predictors, torch.arange(predictors) % rows),
        targets=extended(pack.targets, torch.full((predictors,), NO_TARGET)),
    )


def _filled_size(size: int, smallest: int) -> int:
    """The next of the sizes `smallest * 2^n * (1, 1.25, 1.5, 1.75)`."""
    unit = smallest // _SIZES_PER_DOUBLING
    while size > 2 * _SIZES_PER_DOUBLING * unit:
        unit *= 2
    return max(smallest, -(-size // unit) * unit)


class _Tree:
    """Rows, nodes and targets in depth-first order."""

    def __init__(self) -> None:
        self.ids: list[int] = []
        self.nodes: list[Node] = []
        self.predictors: list[int] = []
        self.targets: list[int] = []
        self.supervised: list[int] = []
        self.paths: list[tuple[tuple[int, int], ...]] = []

    def add(self, sequences: Sequence[Tokens], depth: int, ancestors: tuple[tuple[int, int], ...]) -> None:
        """Add sorted `sequences` that share their first `depth` tokens, which are in the row ranges `ancestors`."""
        for group in _openings(sequences, depth):
            # In sorted order, all sequences of a group share what the first and the last share.
            end = len(group[0].ids) if len(group) == 1 else _shared(group[0].ids, group[-1].ids)
            start, node_index = len(self.ids), len(self.nodes)
            self.ids += group[0].ids[depth:end]
            stop = len(self.ids)
            path = (*ancestors, (start, stop)) if stop > start else ancestors
            if stop > start:
                self.nodes.append(Node(start, stop, stop, ancestors, depth))
            self._add_targets([tokens for tokens in group if len(tokens.ids) == end], path)
            longer = [tokens for tokens in group if len(tokens.ids) > end]
            if longer:
                self.add(longer, end, path)
                self.nodes[node_index] = Node(start, stop, len(self.ids), ancestors, depth)

    def _add_targets(self, complete: Sequence[Tokens], path: tuple[tuple[int, int], ...]) -> None:
        rows = _rows_of(path) if complete else []
        for tokens in complete:
            self.supervised.append(tokens.supervised)
            self.paths.append(path)
            for position, is_target in enumerate(tokens.mask):
                if is_target:
                    self.predictors.append(rows[position - 1])
                    self.targets.append(tokens.ids[position])


def _openings(sequences: Sequence[Tokens], depth: int) -> list[list[Tokens]]:
    """Group sorted `sequences` that share enough tokens after `depth`. Others are groups of one."""
    groups: list[list[Tokens]] = []
    for tokens in sequences:
        if groups and _shared(groups[-1][0].ids, tokens.ids) - depth >= _MIN_SHARED_TOKENS:
            groups[-1].append(tokens)
        else:
            groups.append([tokens])
    return groups


def _rows_of(path: Sequence[tuple[int, int]]) -> list[int]:
    return list(itertools.chain.from_iterable(range(*span) for span in path))


def _shared(first: Sequence[int], second: Sequence[int]) -> int:
    """Number of tokens that two sequences share at the start."""
    for position, (one, other) in enumerate(zip(first, second, strict=False)):
        if one != other:
            return position
    return min(len(first), len(second))
