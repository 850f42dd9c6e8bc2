"""The INT4 block format, written out by hand, and GPTQ against rounding on what matters: the outputs."""

import numpy as np
import torch

from tinsmith.export.gptq import inverse_factor, outer_product, quantize_matrix
from tinsmith.export.int4 import Int4Matrix, pack, round_to_nearest, unpack


def test_pack_puts_even_integers_in_the_low_nibble():
    integers = np.arange(64).reshape(2, 32) % 16
    matrix = pack(integers, np.array([[0.5], [2.0]]))
    assert matrix.packed.shape == (2, 1, 16)
    assert matrix.packed[0, 0, :3].tolist() == [0x10, 0x32, 0x54]  # 0,1  2,3  4,5
    assert unpack(matrix)[0, :4].tolist() == [-4.0, -3.5, -3.0, -2.5]  # (q - 8) * 0.5
    assert unpack(matrix)[1, 15] == 14.0  # (15 - 8) * 2


def test_rounding_maps_the_largest_weight_exactly_and_others_within_half_a_step():
    weight = torch.randn(5, 96, generator=torch.Generator().manual_seed(0))
    matrix = round_to_nearest(weight)
    error = np.abs(unpack(matrix) - weight.numpy()).reshape(5, 3, 32)
    blocks = np.abs(weight.numpy()).reshape(5, 3, 32)
    largest = np.take_along_axis(error, blocks.argmax(2)[..., None], 2)
    assert largest.max() < 1e-6
    # One step is |largest| / 8; only weights near +8 steps (opposite sign, clipped to 7) may be a whole step off.
    assert (error <= np.abs(matrix.scales)[..., None] * 1.0001).all()
    assert np.mean(error <= np.abs(matrix.scales)[..., None] * 0.5001) > 0.95


def test_a_zero_block_stays_zero():
    matrix = round_to_nearest(torch.zeros(1, 32))
    assert isinstance(matrix, Int4Matrix) and not unpack(matrix).any()


def test_gptq_halves_the_output_error_of_rounding_on_correlated_inputs():
    generator = torch.Generator().manual_seed(1)
    mixing = torch.randn(64, 64, generator=generator)
    inputs = torch.randn(512, 8, generator=generator) @ torch.randn(8, 64, generator=generator)
    inputs = inputs @ mixing * 0.1 + 0.3 * torch.randn(512, 64, generator=generator)
    weight = torch.randn(48, 64, generator=generator)
    factor = inverse_factor(outer_product(inputs))
    expected = inputs @ weight.t()
    gptq = (inputs @ torch.from_numpy(unpack(quantize_matrix(weight, factor))).t() - expected).square().mean()
    rounded = (inputs @ torch.from_numpy(unpack(round_to_nearest(weight))).t() - expected).square().mean()
    assert gptq < 0.5 * rounded
