"""Padded batches, for models that run their own forward pass."""

from collections.abc import Sequence

import torch

from tinsmith.model.tokens import Tokens


def padded_groups(
    conversations: Sequence[Tokens], indices: Sequence[int], batch_size: int, max_tokens: int
) -> list[list[int]]:
    """Sort `indices` by length and group them: at most `batch_size` conversations and `max_tokens` tokens a group.

    Padding counts as tokens. A conversation longer than `max_tokens` gets a group of its own.
    """
    groups: list[list[int]] = []
    for index in sorted(indices, key=lambda index: len(conversations[index].ids)):
        longest = len(conversations[index].ids)
        if not groups or len(groups[-1]) == batch_size or (len(groups[-1]) + 1) * longest > max_tokens:
            groups.append([])
        groups[-1].append(index)
    return groups


def padded(conversations: Sequence[Tokens], pad_id: int, device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
    """Token ids (B, T), padded on the right, and the mask of supervised tokens (B, T)."""
    longest = max(len(tokens.ids) for tokens in conversations)
    ids = torch.full((len(conversations), longest), pad_id, dtype=torch.long)
    mask = torch.zeros((len(conversations), longest), dtype=torch.bool)
    for row, tokens in enumerate(conversations):
        ids[row, : len(tokens.ids)] = torch.tensor(tokens.ids)
        mask[row, : len(tokens.mask)] = torch.tensor(tokens.mask)
    return ids.to(device), mask.to(device)
