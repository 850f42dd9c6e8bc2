"""The schedule's numbers by hand, and float32 masters that keep what bfloat16 would lose."""

import pytest
import torch

from tinsmith.core.config import TrainConfig
from tinsmith.train.optimizer import MasterAdamW, learning_rate_at


def test_schedules_by_hand():
    def rates(schedule):
        config = TrainConfig(learning_rate=1.0, schedule=schedule, warmup_fraction=0.2)
        return [learning_rate_at(step, 10, config) for step in (0, 1, 2, 6, 9)]

    assert rates("constant") == pytest.approx([1 / 3, 2 / 3, 1, 1, 1])
    assert rates("linear") == pytest.approx([1 / 3, 2 / 3, 1, 0.5, 0.125])
    assert rates("cosine") == pytest.approx([1 / 3, 2 / 3, 1, 0.5, 0.0380602])


def optimizer(value, dtype=torch.bfloat16, **config):
    live = torch.nn.Parameter(torch.tensor(value))
    return live, MasterAdamW({"w": live}, dtype, TrainConfig(**config))


def test_updates_below_bfloat16_resolution_add_up():
    live, adamw = optimizer([1.0])
    for _ in range(20):
        live.grad = torch.ones_like(live)
        adamw.accumulate()
        adamw.step(1e-4)
    # AdamW with a constant gradient moves by the learning rate; one such step is a 78th of bfloat16's spacing at 1.
    assert adamw.weights()["w"].item() == pytest.approx(1 - 20e-4, abs=1e-5)
    assert live.dtype == torch.bfloat16 and live.item() != 1.0


def test_gradients_accumulate_in_float32():
    live, adamw = optimizer([1.0], max_grad_norm=1e6)
    for gradient in [256.0] + [1.0] * 8:
        live.grad = torch.full_like(live, gradient)
        adamw.accumulate()
    assert adamw.step(1e-4) == pytest.approx(264.0)  # bfloat16 would stay at 256


def test_two_steps_equal_torch_adamw_on_gradients_clipped_by_hand():
    live, adamw = optimizer([0.3, -0.2], torch.float32, max_grad_norm=0.5, weight_decay=0.1)
    other = torch.nn.Parameter(torch.tensor([0.3, -0.2]))
    reference = torch.optim.AdamW([other], lr=1e-2, weight_decay=0.1)
    # A first step alone would not show the clipping: AdamW's first update does not depend on the gradient's size.
    for gradient, norm, clipped in (([3.0, 4.0], 5.0, [0.3, 0.4]), ([0.0, -0.1], 0.1, [0.0, -0.1])):
        live.grad = torch.tensor(gradient)
        adamw.accumulate()
        assert adamw.step(1e-2) == pytest.approx(norm)
        other.grad = torch.tensor(clipped)
        reference.step()
    torch.testing.assert_close(live.detach(), other.detach())


def test_gradient_that_is_not_finite_changes_nothing():
    live, adamw = optimizer([1.0], torch.float32)
    live.grad = torch.tensor([float("inf")])
    adamw.accumulate()
    assert not torch.isfinite(torch.tensor(adamw.step(1e-2)))
    assert live.item() == 1.0
