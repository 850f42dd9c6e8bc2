"""How the summed loss of a group of conversations is computed: over packs, or over padded batches with Unsloth."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch

from tinsmith.device import return_freed_memory
from tinsmith.tokens import Tokens
from tinsmith.train.batching import padded, padded_groups
from tinsmith.train.decoder import PackedDecoder
from tinsmith.train.loss import batch_loss_sum, pack_loss_sum
from tinsmith.train.packing import make_pack, pack_groups


class Engine(Protocol):
    """What the training loop needs of a model."""

    def groups(self, conversations: Sequence[Tokens], indices: Sequence[int]) -> list[list[Tokens]]:
        """The conversations at `indices` in groups for one forward pass each."""

    def loss_sum(self, group: Sequence[Tokens]) -> torch.Tensor:
        """Negative log-likelihood in nats summed over the group's supervised tokens; a scalar with a graph."""


@dataclass(frozen=True)
class PackedEngine:
    """Common openings computed once; any architecture of `families.py`."""

    decoder: PackedDecoder
    batch_size: int
    """Most conversations in one pass."""
    max_rows: int
    """Most rows in one pass, unless a single conversation has more."""
    device: torch.device

    def groups(self, conversations: Sequence[Tokens], indices: Sequence[int]) -> list[list[Tokens]]:
        groups = pack_groups(conversations, indices, self.batch_size, self.max_rows)
        return [[conversations[index] for index in group] for group in groups]

    def loss_sum(self, group: Sequence[Tokens]) -> torch.Tensor:
        if self.device.type == "cpu":
            # What the last pass freed lies in pieces that a pass with other row counts does not fit into.
            return_freed_memory()
        return pack_loss_sum(self.decoder, make_pack(group, self.device))


@dataclass(frozen=True)
class PaddedEngine:
    """The model's own forward pass over padded batches, for kernels that replace it (Unsloth)."""

    model: Any
    batch_size: int
    max_tokens: int
    """Most tokens in one pass, padding included."""
    pad_id: int
    device: torch.device

    def groups(self, conversations: Sequence[Tokens], indices: Sequence[int]) -> list[list[Tokens]]:
        groups = padded_groups(conversations, indices, self.batch_size, self.max_tokens)
        return [[conversations[index] for index in group] for group in groups]

    def loss_sum(self, group: Sequence[Tokens]) -> torch.Tensor:
        return batch_loss_sum(self.model, *padded(group, self.pad_id, self.device))
