"""The block format, written out by hand."""

import numpy as np
import pytest
import torch

from tinsmith.export.blocks import integers_of, pack, round_to_nearest, stored_scale, unpack


def test_pack_puts_even_integers_in_the_low_nibble():
    integers = torch.arange(64).reshape(2, 32) % 16 - 8
    blocks = pack(integers, torch.tensor([[0.5], [2.0]]))
    assert blocks.packed.shape == (2, 1, 16) and blocks.bits == 4
    assert blocks.packed[0, 0, :3].tolist() == [0x10, 0x32, 0x54]  # 0,1  2,3  4,5
    assert unpack(blocks)[0, :4].tolist() == [-4.0, -3.5, -3.0, -2.5]  # (q - 8) * 0.5
    assert unpack(blocks)[1, 15] == 14.0  # (15 - 8) * 2
    assert blocks.nbytes == 32 + 4


def test_pack_in_8_bits_stores_a_byte_with_128_for_zero():
    integers = torch.arange(32).reshape(1, 32) - 128
    integers[0, 31] = 127
    blocks = pack(integers, torch.tensor([[0.25]]), bits=8)
    assert blocks.packed.shape == (1, 1, 32) and blocks.bits == 8 and blocks.nbytes == 32 + 2
    assert blocks.packed[0, 0, [0, 1, 31]].tolist() == [0, 1, 255]
    assert unpack(blocks)[0, [0, 1, 31]].tolist() == [-32.0, -31.75, 31.75]
    assert (integers_of(blocks)[0, 0] == integers[0].numpy()).all()


def test_scales_that_float16_cannot_hold_are_refused():
    with pytest.raises(ValueError, match="float16"):
        pack(torch.zeros(1, 32), torch.tensor([[0.1]]))
    assert stored_scale(torch.tensor([0.1, 0.0, 1e-9])).tolist() == [0.0999755859375, 1.0, 1.0]


@pytest.mark.parametrize("bits", [4, 8])
def test_rounding_maps_the_largest_weight_exactly_and_others_within_half_a_step(bits):
    weight = torch.randn(5, 96, generator=torch.Generator().manual_seed(0))
    matrix = round_to_nearest(weight, bits)
    error = np.abs(unpack(matrix) - weight.numpy()).reshape(5, 3, 32)
    blocks = np.abs(weight.numpy()).reshape(5, 3, 32)
    largest = np.take_along_axis(error, blocks.argmax(2)[..., None], 2)
    assert (largest <= blocks.max(2, keepdims=True) * 2**-11).all()  # a float16 scale's rounding
    # Only weights near the highest step (opposite sign, clipped to one less) may be a whole step off.
    steps = np.abs(matrix.scales.astype(np.float32))[..., None]
    assert (error <= steps * (1 + 2 ** (bits - 1) * 2**-11)).all()  # and a float16 scale's rounding
    assert np.mean(error <= steps * 0.5001) > 0.95


def test_a_zero_block_stays_zero():
    assert not unpack(round_to_nearest(torch.zeros(1, 32))).any()
