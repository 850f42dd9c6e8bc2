"""Engines that compute the summed loss of a group of conversations: over packs, or over padded batches."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch

from tinsmith.core.device import return_freed_memory
from tinsmith.model.packed.decoder import PackedDecoder
from tinsmith.model.packed.loss import head_loss_sum, pack_loss_sum
from tinsmith.model.packed.packing import make_pack, pack_groups
from tinsmith.model.padding import padded, padded_groups
from tinsmith.model.tokens import Tokens


class Engine(Protocol):
    """What the training loop needs from a model."""

    def groups(self, conversations: Sequence[Tokens], indices: Sequence[int]) -> list[list[int]]:
        """Split `indices` of conversations into groups, one forward pass each."""

    def loss_sum(self, group: Sequence[Tokens]) -> torch.Tensor:
        """Negative log-likelihood in nats, summed over the group's supervised tokens; a scalar."""

    def backward(self, group: Sequence[Tokens], divisor: float) -> torch.Tensor:
        """Add the gradients of `loss_sum(group) / divisor` to those of the parameters, and return `loss_sum(group)`."""


@dataclass(frozen=True)
class PackedEngine:
    """Packs conversations, so that a shared opening is computed once. Works for every family of `families.py`."""

    decoder: PackedDecoder
    batch_size: int
    """Maximum number of conversations in one pass."""
    max_rows: int
    """Maximum number of rows in one pass; a single longer conversation still gets a pass."""
    device: torch.device

    def groups(self, conversations: Sequence[Tokens], indices: Sequence[int]) -> list[list[int]]:
        return pack_groups(conversations, indices, self.batch_size, self.max_rows)

    def loss_sum(self, group: Sequence[Tokens]) -> torch.Tensor:
        if self.device.type == "cpu":
            # The last pass left free blocks of its own sizes, and a pass with other row counts cannot reuse them.
            return_freed_memory()
        return pack_loss_sum(self.decoder, make_pack(group, self.device))

    def backward(self, group: Sequence[Tokens], divisor: float) -> torch.Tensor:
        return _backward(self.loss_sum(group), divisor)


@dataclass(frozen=True)
class PaddedEngine:
    """Runs the model's own forward pass over padded batches, because Unsloth replaces that pass with its kernels."""

    model: Any
    batch_size: int
    max_tokens: int
    """Maximum number of tokens in one pass, padding included."""
    pad_id: int
    device: torch.device

    def groups(self, conversations: Sequence[Tokens], indices: Sequence[int]) -> list[list[int]]:
        return padded_groups(conversations, indices, self.batch_size, self.max_tokens)

    def loss_sum(self, group: Sequence[Tokens]) -> torch.Tensor:
        return batch_loss_sum(self.model, *padded(group, self.pad_id, self.device))

    def backward(self, group: Sequence[Tokens], divisor: float) -> torch.Tensor:
        return _backward(self.loss_sum(group), divisor)


def _backward(loss_sum: torch.Tensor, divisor: float) -> torch.Tensor:
    (loss_sum / divisor).backward()
    return loss_sum.detach()


def batch_loss_sum(model: Any, ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Negative log-likelihood in nats, summed over the supervised tokens of a right-padded batch; a scalar.

    Args:
        model: A Transformers causal language model, with or without adapters.
        ids: Token ids (B, T). They need no attention mask: attention is causal, so real tokens never see the
            padding on their right, and rows never see each other.
        mask: Whether each token is a target (B, T); False on padding.
    """
    hidden = model.get_decoder()(input_ids=ids, use_cache=False).last_hidden_state  # (B, T, D)
    is_target = mask[:, 1:]
    return head_loss_sum(hidden[:, :-1][is_target], model.get_output_embeddings().weight, ids[:, 1:][is_target])
