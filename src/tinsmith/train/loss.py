"""Cross-entropy where it counts: the vocabulary head runs at supervised positions only, a few rows at a time."""

from typing import Any

import torch
import torch.nn.functional as F

_CHUNK_BYTES = 128 * 2**20
"""Largest float32 logits block alive at any time."""


class _HeadLoss(torch.autograd.Function):
    """Summed negative log-likelihood of a frozen head, its gradient computed in the same pass.

    The gradient with respect to a hidden state is (softmax - one-hot) @ head. It is known as soon as a chunk's logits
    are, so no logits survive their chunk and nothing is computed twice.
    """

    @staticmethod
    def forward(ctx, hidden: torch.Tensor, head: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        # hidden (N, D), head (V, D), targets (N,)
        needs_grad = ctx.needs_input_grad[0]
        grad = torch.empty_like(hidden) if needs_grad else None
        total = torch.zeros((), dtype=torch.float64, device=hidden.device)
        rows = max(16, _CHUNK_BYTES // (4 * head.shape[0]))
        for start in range(0, hidden.shape[0], rows):
            chunk, wanted = hidden[start : start + rows], targets[start : start + rows, None]
            log_probs = F.log_softmax(F.linear(chunk, head).float(), dim=-1)  # (rows, V)
            total -= log_probs.gather(1, wanted).sum(dtype=torch.float64)
            if needs_grad:
                slope = log_probs.exp_()
                slope.scatter_add_(1, wanted, torch.full_like(wanted, -1, dtype=slope.dtype))
                torch.matmul(slope.to(head.dtype), head, out=grad[start : start + rows])
        if needs_grad:
            ctx.save_for_backward(grad)
        return total.float()

    @staticmethod
    def backward(ctx, upstream: torch.Tensor) -> tuple:
        (grad,) = ctx.saved_tensors
        return grad * upstream.to(grad.dtype), None, None


def head_loss_sum(hidden: torch.Tensor, head: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Summed negative log-likelihood in nats of `targets` (N,) under `softmax(hidden @ head.T)`; a scalar.

    Args:
        hidden: Final hidden states (N, D); receives the gradient.
        head: Frozen vocabulary weights (V, D).

    Raises:
        ValueError: the head is trainable; its gradient is not computed here.
    """
    if head.requires_grad:
        raise ValueError("head_loss_sum computes no gradient for the head; freeze it")
    return _HeadLoss.apply(hidden, head, targets)


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
