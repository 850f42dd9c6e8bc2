"""Which conversations go into which optimizer step and forward pass: seeded, little padding, same result for any split."""

import itertools
import math
import random
from collections.abc import Sequence

import torch

from tinsmith.tokens import Tokens

_WINDOW_STEPS = 4
"""Optimizer steps whose conversations are sorted by length together: saves padding, keeps the order random."""


def epoch_steps(lengths: Sequence[int], effective_batch_size: int, seed: int, epoch: int) -> list[list[int]]:
    """Indices of the conversations of every optimizer step of one epoch, each conversation exactly once.

    Steps are as equal in size as they can be, so that none rests on a handful of conversations. They depend on the
    effective batch size alone, not on how it is split into forward passes. Inside a step, lengths ascend.
    """
    generator = random.Random(f"{seed}:{epoch}")
    order = list(range(len(lengths)))
    generator.shuffle(order)
    count = math.ceil(len(order) / effective_batch_size)
    bounds = [len(order) * index // count for index in range(count + 1)]
    steps = []
    for first in range(0, count, _WINDOW_STEPS):
        edges = bounds[first : first + _WINDOW_STEPS + 1]
        window = sorted(order[edges[0] : edges[-1]], key=lambda index: lengths[index])
        steps += [window[low - edges[0] : high - edges[0]] for low, high in itertools.pairwise(edges)]
    generator.shuffle(steps)
    return steps


def forward_passes(step: Sequence[int], lengths: Sequence[int], batch_size: int, max_tokens: int) -> list[list[int]]:
    """A step's conversations in groups of at most `batch_size` that hold at most `max_tokens` with padding.

    A single conversation longer than `max_tokens` makes a group of its own.
    """
    groups: list[list[int]] = []
    longest = 0
    for index in step:
        longest = max(longest, lengths[index]) if groups else lengths[index]
        if not groups or len(groups[-1]) == batch_size or (len(groups[-1]) + 1) * longest > max_tokens:
            groups.append([])
            longest = lengths[index]
        groups[-1].append(index)
    return groups


def padded(conversations: Sequence[Tokens], pad_id: int, device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
    """Token ids (B, T) padded on the right and the mask of supervised tokens (B, T)."""
    longest = max(len(tokens.ids) for tokens in conversations)
    ids = torch.full((len(conversations), longest), pad_id, dtype=torch.long)
    mask = torch.zeros((len(conversations), longest), dtype=torch.bool)
    for row, tokens in enumerate(conversations):
        ids[row, : len(tokens.ids)] = torch.tensor(tokens.ids)
        mask[row, : len(tokens.mask)] = torch.tensor(tokens.mask)
    return ids.to(device), mask.to(device)
