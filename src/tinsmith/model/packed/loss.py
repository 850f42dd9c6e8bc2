"""Cross-entropy at supervised positions only: the vocabulary head runs on a few rows at a time."""

from typing import Any

import torch
import torch.nn.functional as F

from tinsmith.model.packed.decoder import PackedDecoder
from tinsmith.model.packed.packing import NO_TARGET, Pack

_BLOCKS = {"cpu": (512, 4096), "cuda": (1024, 32768)}
"""Rows and vocabulary entries of one block of logits. On a CPU it fits in the cache; on a GPU it fills the device."""


class _HeadLoss(torch.autograd.Function):
    """Summed negative log-likelihood of a frozen head, and its gradient in the same pass.

    The gradient of a hidden state is softmax @ head minus the target's row of the head. The sum of exponentials and
    their product with the head are accumulated over blocks of the vocabulary, and rescaled when a block has a larger
    logit. So each logit is computed only once.

    Source: Milakov and Gimelshein, Online normalizer calculation for softmax, 2018.
    """

    @staticmethod
    def forward(ctx: Any, hidden: torch.Tensor, head: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        # hidden (N, D), head (V, D), targets (N,)
        needs_grad = ctx.needs_input_grad[0]
        grad = torch.empty_like(hidden) if needs_grad else None
        total = torch.zeros((), dtype=torch.float64, device=hidden.device)
        chunk, entries = _BLOCKS[hidden.device.type]
        for start in range(0, hidden.shape[0], chunk):
            rows = slice(start, start + chunk)
            logsum, mean = _logsum_and_mean_row(hidden[rows], head, entries, needs_grad)
            is_target = targets[rows] != NO_TARGET
            target_rows = head[targets[rows].clamp(min=0)].float()  # (rows, D)
            # Round to the head's dtype, so that this equals the target's logit in the log-sum-exp.
            target_logits = (hidden[rows].float() * target_rows).sum(-1).to(head.dtype).float()
            total += ((logsum - target_logits) * is_target).sum(dtype=torch.float64)
            if grad is not None:
                grad[rows] = mean.sub_(target_rows).mul_(is_target[:, None])
        if grad is not None:
            ctx.save_for_backward(grad)
        return total.float()

    @staticmethod
    def backward(ctx: Any, upstream: torch.Tensor) -> tuple:
        (grad,) = ctx.saved_tensors
        return grad * upstream.to(grad.dtype), None, None


def _logsum_and_mean_row(
    hidden: torch.Tensor, head: torch.Tensor, entries: int, needs_mean: bool
) -> tuple[torch.Tensor, torch.Tensor]:
    """Log-sum-exp of the logits (rows,), and the softmax-weighted mean of the head's rows (rows, D).

    `entries` of the vocabulary are computed at a time.
    """
    highest = torch.full((len(hidden), 1), -torch.inf, device=hidden.device)
    total = torch.zeros_like(highest)
    weighted = torch.zeros(hidden.shape, dtype=torch.float32, device=hidden.device)
    for block in head.split(entries):
        logits = F.linear(hidden, block).float()  # (rows, block)
        higher = torch.maximum(highest, logits.amax(-1, keepdim=True))
        shrink = (highest - higher).exp_()
        exponentials = logits.sub_(higher).exp_()
        total.mul_(shrink).add_(exponentials.sum(-1, keepdim=True))
        if needs_mean:
            weighted.mul_(shrink).add_(exponentials.to(head.dtype) @ block)
        highest = higher
    return (highest + total.log())[:, 0], weighted.div_(total)


def head_loss_sum(hidden: torch.Tensor, head: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Summed negative log-likelihood in nats of `targets` (N,) under `softmax(hidden @ head.T)`; a scalar.

    Args:
        hidden: Final hidden states (N, D); gradients flow to them.
        head: Frozen vocabulary weights (V, D).
        targets: Token ids (N,). Rows with `NO_TARGET` count for nothing.

    Raises:
        ValueError: `head` requires a gradient, which this does not compute.
    """
    if head.requires_grad:
        raise ValueError("head_loss_sum computes no gradient for the head; freeze it")
    return _HeadLoss.apply(hidden, head, targets)


def pack_loss_sum(decoder: PackedDecoder, pack: Pack) -> torch.Tensor:
    """Summed negative log-likelihood in nats of a pack's supervised tokens; a scalar."""
    return head_loss_sum(decoder.hidden(pack), decoder.head, pack.targets)
