"""The block format, written out by hand."""

import numpy as np
import pytest
import torch

from tinsmith.export.blocks import block_steps, integers_of, pack, round_to_nearest, stored_scale, to_integers, unpack


def test_pack_puts_even_integers_in_the_low_nibble():
    integers = torch.arange(64).reshape(2, 32) % 16 - torch.tensor([[8], [3]])
    blocks = pack(integers, torch.tensor([[0.5], [2.0]]), torch.tensor([[-8.0], [-3.0]]))
    assert blocks.packed.shape == (2, 1, 16) and blocks.bits == 4
    assert blocks.packed[0, 0, :3].tolist() == [0x10, 0x32, 0x54]  # 0,1  2,3  4,5
    assert blocks.zeros.tolist() == [[8], [3]]
    assert unpack(blocks)[0, :4].tolist() == [-4.0, -3.5, -3.0, -2.5]  # (q - 8) * 0.5
    assert unpack(blocks)[1, [0, 3, 15]].tolist() == [-6.0, 0.0, 24.0]  # (q - 3) * 2
    assert blocks.nbytes == 32 + 4 + 2


def test_zero_points_of_two_blocks_share_a_byte():
    lowest = -torch.tensor([[1.0, 15.0, 9.0]])
    blocks = pack(lowest.repeat_interleave(32, 1), torch.ones(1, 3), lowest)
    assert blocks.zeros.tolist() == [[0xF1, 0x09]] and not blocks.packed.any()
    assert unpack(blocks)[0, [0, 32, 64]].tolist() == [-1.0, -15.0, -9.0]


def test_pack_in_8_bits_stores_a_byte_with_128_for_zero():
    integers = torch.arange(32).reshape(1, 32) - 128
    integers[0, 31] = 127
    blocks = pack(integers, torch.tensor([[0.25]]))
    assert blocks.packed.shape == (1, 1, 32) and blocks.bits == 8 and blocks.nbytes == 32 + 2
    assert blocks.packed[0, 0, [0, 1, 31]].tolist() == [0, 1, 255]
    assert unpack(blocks)[0, [0, 1, 31]].tolist() == [-32.0, -31.75, 31.75]
    assert (integers_of(blocks)[0, 0] == integers[0].numpy()).all()


def test_scales_that_float16_cannot_hold_are_refused():
    with pytest.raises(ValueError, match="float16"):
        pack(torch.zeros(1, 32), torch.tensor([[0.1]]), torch.zeros(1, 1))
    assert stored_scale(torch.tensor([0.1, 0.0, 1e-9])).tolist() == [0.0999755859375, 1.0, 1.0]


def test_rounding_to_8_bits_maps_the_largest_weight_exactly_and_others_within_half_a_step():
    weight = torch.randn(5, 96, generator=torch.Generator().manual_seed(0))
    matrix = round_to_nearest(weight, 8)
    error = np.abs(unpack(matrix) - weight.numpy()).reshape(5, 3, 32)
    blocks = np.abs(weight.numpy()).reshape(5, 3, 32)
    largest = np.take_along_axis(error, blocks.argmax(2)[..., None], 2)
    assert (largest <= blocks.max(2, keepdims=True) * 2**-11).all()  # a float16 scale's rounding
    # Only weights near the highest step (opposite sign, clipped to one less) may be a whole step off.
    steps = np.abs(matrix.scales.astype(np.float32))[..., None]
    assert (error <= steps * (1 + 128 * 2**-11)).all()  # and a float16 scale's rounding
    assert np.mean(error <= steps * 0.5001) > 0.95


@pytest.mark.parametrize("shift", [0.0, 0.4, -3.0, 3.0])
def test_rounding_to_4_bits_spends_its_steps_where_a_blocks_weights_are(shift):
    """From the lowest to the highest weight, and to zero where all are on one side of it."""
    weight = torch.rand(5, 96, generator=torch.Generator().manual_seed(0)) - 0.5 + shift
    matrix = round_to_nearest(weight)
    blocks = weight.numpy().reshape(5, 3, 32)
    steps = (np.maximum(blocks.max(2), 0) - np.minimum(blocks.min(2), 0)) / 15
    np.testing.assert_allclose(matrix.scales.astype(np.float32), steps, rtol=2**-10)
    error = np.abs(unpack(matrix) - weight.numpy()).reshape(5, 3, 32)
    # Zero has an integer of its own, which moves both ends by up to half a step; then a float16 scale's rounding.
    assert (error <= steps[..., None] * (1 + 15 * 2**-11)).all() and np.mean(error <= steps[..., None] * 0.51) > 0.95


def test_a_blocks_range_is_narrowed_where_its_ends_matter_less():
    weight = torch.randn(200, 32, generator=torch.Generator().manual_seed(1))
    weight[:, 0], importance = 8.0, torch.ones(32)
    importance[0] = 0.01
    scales, lowest = block_steps(weight, importance)
    assert (lowest + 15 >= 0).all() and (lowest <= 0).all()
    narrowed = to_integers(weight, scales[:, None], lowest[:, None]) * scales[:, None]
    losses = [
        ((values - weight).square() @ importance).sum()
        for values in (narrowed, torch.from_numpy(unpack(round_to_nearest(weight))))
    ]
    assert losses[0] < 0.85 * losses[1]


def test_a_zero_block_stays_zero():
    assert not unpack(round_to_nearest(torch.zeros(1, 32))).any()
