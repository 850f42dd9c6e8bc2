"""The vocabulary head's loss equals PyTorch's for large logits and any block, and computes only needed gradients."""

import pytest
import torch
import torch.nn.functional as F

from tinsmith.model.packed import loss
from tinsmith.model.packed.packing import NO_TARGET


def test_logits_of_any_size_and_a_maximum_in_any_block(monkeypatch):
    monkeypatch.setattr(loss, "_BLOCKS", {"cpu": (512, 3)})
    torch.manual_seed(0)
    head = torch.randn(10, 4) * 60
    hidden = (torch.randn(6, 4) * 5).requires_grad_()
    targets = torch.tensor([0, 9, 3, 4, 7, 2])
    expected = F.cross_entropy(hidden @ head.T, targets, reduction="sum")
    assert (hidden @ head.T).abs().max() > 500
    total = loss.head_loss_sum(hidden, head, targets)
    torch.testing.assert_close(total, expected.detach(), rtol=1e-5, atol=1e-3)
    torch.testing.assert_close(
        *(torch.autograd.grad(value, hidden)[0] for value in (total, expected)), rtol=1e-4, atol=1e-4
    )


def test_a_row_without_a_target_counts_for_nothing():
    hidden, head = torch.randn(4, 8, requires_grad=True), torch.randn(11, 8)
    targets = torch.tensor([3, NO_TARGET, 10, NO_TARGET])
    expected = F.cross_entropy(hidden[[0, 2]] @ head.T, targets[[0, 2]], reduction="sum")
    total = loss.head_loss_sum(hidden, head, targets)
    torch.testing.assert_close(total, expected)
    (grad,), (expected_grad,) = (torch.autograd.grad(value, hidden) for value in (total, expected))
    torch.testing.assert_close(grad, expected_grad)
    assert not grad[[1, 3]].any()


def test_validation_keeps_no_gradient():
    hidden, head, targets = torch.randn(5, 8), torch.randn(11, 8), torch.arange(5)
    with torch.no_grad():
        total = loss.head_loss_sum(hidden, head, targets)
    assert not total.requires_grad
    torch.testing.assert_close(total, F.cross_entropy(hidden @ head.T, targets, reduction="sum"))


def test_trainable_head_is_refused():
    head = torch.randn(11, 8, requires_grad=True)
    with pytest.raises(ValueError, match="freeze it"):
        loss.head_loss_sum(torch.randn(5, 8), head, torch.arange(5))
