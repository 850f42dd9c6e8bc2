"""How the summed loss of a group of conversations is computed: over packs, or over padded batches with Unsloth."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch

from tinsmith.core.device import return_freed_memory
from tinsmith.model.packed.decoder import PackedDecoder
from tinsmith.model.packed.loss import head_loss_sum, pack_loss_sum
from tinsmith.model.packed.packing import make_pack, pack_groups
from tinsmith.model.tokens import Tokens
from tinsmith.train.batching import padded, padded_groups


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


def batch_loss_sum(model: Any, ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Summed negative log-likelihood in nats over the supervised tokens of a right-padded batch; a scalar.

    Args:
        model: A Transformers causal language model, adapters inside or not.
        ids: Token ids (B, T). No attention mask is needed: attention is causal, so padding on the right is
            never seen by a real token, and rows never see each other.
        mask: Whether each token is a target (B, T); False on padding.
    """
    hidden = model.get_decoder()(input_ids=ids, use_cache=False).last_hidden_state  # (B, T, D)
    is_target = mask[:, 1:]
    return head_loss_sum(hidden[:, :-1][is_target], model.get_output_embeddings().weight, ids[:, 1:][is_target])
