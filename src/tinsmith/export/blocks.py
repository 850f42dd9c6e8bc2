"""The package's block format of 4 or 8 bits, and rounding to it.

A matrix (N out features, K in features) is cut along K into blocks of 32. Each block has one float16 scale and 32
unsigned integers q. In 4 bits it also has a zero point z, and q stands for (q - z) * scale, so that the sixteen values
cover the block's range. In 8 bits q stands for (q - 128) * scale. A byte holds two 4-bit integers or zero points, the
even one in the low nibble.

Source: MatMulNBits in onnxruntime's docs/ContribOperators.md.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

BLOCK_SIZE = 32

_STEPS = 15
"""Steps between the lowest and the highest 4-bit integer."""
_COVERED = (1.0, 0.95, 0.9, 0.85, 0.8)
"""Fractions of a block's range to try. A smaller range rounds inner weights more finely and clips the outermost."""
_SHIFTS = (-0.5, 0.5)
"""Shifts of the covered range to try, in steps: clip more above, or more below."""


@dataclass(frozen=True, slots=True)
class Blocks:
    """A matrix in blocks, as stored in the package."""

    packed: np.ndarray
    """uint8 (N, K / 32, 16) in 4 bits, (N, K / 32, 32) in 8."""
    scales: np.ndarray
    """float16 (N, K / 32)."""
    zeros: np.ndarray | None = None
    """Packed 4-bit zero points, uint8 (N, K / 64 rounded up); None in 8 bits, where the zero point is 128."""

    @property
    def bits(self) -> int:
        """Bits per integer: 4 or 8."""
        return bits_of(self.packed.shape)

    @property
    def nbytes(self) -> int:
        """Stored bytes."""
        return self.packed.nbytes + self.scales.nbytes + (0 if self.zeros is None else self.zeros.nbytes)


@dataclass(frozen=True, slots=True)
class Refinement:
    """Four more bits for the head's rows of the most frequent tokens; the embedding does not need them."""

    rows: np.ndarray
    """Each token's row in `blocks` (V,), int32."""
    blocks: Blocks
    """Rows to add to the head's (R + 1, D). The last one is zero; all other tokens use it."""

    @property
    def nbytes(self) -> int:
        """Stored bytes."""
        return self.rows.nbytes + self.blocks.nbytes


def bits_of(packed_shape: Sequence[int]) -> int:
    """Bits per integer in a `packed` array of this shape, whose last axis is the bytes of a block."""
    return 8 * packed_shape[-1] // BLOCK_SIZE


def stored_bits(bits: int) -> float:
    """Stored bits per weight, including its share of the block's scale and zero point."""
    return bits + (20 if bits == 4 else 16) / BLOCK_SIZE


def pack(integers: torch.Tensor, scales: torch.Tensor, lowest: torch.Tensor | None = None) -> Blocks:
    """Convert a rounded matrix to its stored form.

    Args:
        integers: (N, K), where 0 stands for a weight of zero.
        scales: (N, K / 32).
        lowest: Each 4-bit block's lowest integer (N, K / 32), -15 to 0; its highest is 15 more. None for 8 bits, whose
            integers are -128 to 127.

    Raises:
        ValueError: a scale is not exactly a float16 number; `stored_scale` rounds to one.
    """
    half = scales.to(torch.float16)
    if not torch.equal(half.float(), scales.float()) or not half.isfinite().all():
        raise ValueError("scales are not float16 numbers; round them with stored_scale first")
    stored_scales, blocks = half.contiguous().cpu().numpy(), integers.reshape(len(integers), -1, BLOCK_SIZE)
    if lowest is None:
        return Blocks((blocks + 128).to(torch.uint8).contiguous().cpu().numpy(), stored_scales)
    unsigned = (blocks - lowest[..., None]).to(torch.uint8).cpu().numpy()
    zeros = (-lowest).to(torch.uint8).cpu().numpy()
    even_zeros = np.pad(zeros, ((0, 0), (0, zeros.shape[1] % 2)))
    return Blocks(_pack_nibbles(unsigned), stored_scales, _pack_nibbles(even_zeros))


def _pack_nibbles(nibbles: np.ndarray) -> np.ndarray:
    return nibbles[..., 0::2] | (nibbles[..., 1::2] << 4)


def nibbles_of(stored: np.ndarray) -> np.ndarray:
    """The 4-bit numbers in uint8 (..., M) as uint8 (..., 2 M), the low nibble first."""
    return np.stack([stored & 15, stored >> 4], axis=-1).reshape(*stored.shape[:-1], -1)


def integers_of(blocks: Blocks) -> np.ndarray:
    """The stored integers as int8 (N, K / 32, 32), where 0 stands for a weight of zero: -15 to 15, or -128 to 127."""
    if blocks.bits == 8:
        return (blocks.packed ^ 128).view(np.int8)
    assert blocks.zeros is not None  # 4-bit matrices always have zero points
    zeros = nibbles_of(blocks.zeros)[:, : blocks.packed.shape[1], None]
    return nibbles_of(blocks.packed).view(np.int8) - zeros.view(np.int8)


def unpack(blocks: Blocks) -> np.ndarray:
    """Unpack the weights (N, K) float32 of `blocks`. The package's graph is checked against this numpy version."""
    values = integers_of(blocks) * blocks.scales.astype(np.float32)[:, :, None]
    return values.reshape(len(values), -1)


def stored_scale(scale: torch.Tensor) -> torch.Tensor:
    """Round scales to float16, and return them as float32. Zeros, such as the scale of a block of zeros, become 1."""
    half = scale.to(torch.float16).float()
    return torch.where(half == 0, torch.ones_like(half), half)


def block_steps(weight: torch.Tensor, importance: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Choose scales and lowest integers (N) of one 4-bit block, by trying ranges for the least weighted error.

    Args:
        weight: float32 (N, 32).
        importance: float32 (32), the cost of an error in each column.
    """
    low, high = _range(weight)
    best_scale, best_lowest, best_error = torch.ones_like(low), torch.zeros_like(low), torch.full_like(low, torch.inf)
    for covered in _COVERED:
        scale = stored_scale(covered * (high - low) / _STEPS)
        start = (low + (1 - covered) / 2 * (high - low)) / scale
        for shift in _SHIFTS:
            lowest = (start + shift).round_().clamp_(-_STEPS, 0)
            rounded = to_integers(weight, scale[:, None], lowest[:, None]) * scale[:, None]
            error = (rounded - weight).square() @ importance  # (N)
            better = error < best_error
            best_scale = torch.where(better, scale, best_scale)
            best_lowest = torch.where(better, lowest, best_lowest)
            best_error = torch.where(better, error, best_error)
    return best_scale, best_lowest


def _range(weight: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Lowest and highest weight of each row (N) of `weight` (N, 32). The range always includes zero."""
    return weight.amin(1).clamp_max_(0), weight.amax(1).clamp_min_(0)


def step_sizes(weight: torch.Tensor) -> torch.Tensor:
    """Step between adjacent 4-bit values (N, K / 32) when `weight` (N, K) is rounded to nearest."""
    low, high = _range(weight.float().reshape(-1, BLOCK_SIZE))
    return ((high - low) / _STEPS).reshape(len(weight), -1)


def to_integers(weight: torch.Tensor, scale: torch.Tensor, lowest: torch.Tensor) -> torch.Tensor:
    """Nearest 4-bit integers as float32; `scale` and each block's `lowest` integer broadcast with `weight`."""
    return (weight / scale).round_().clamp_(lowest, lowest + _STEPS)


def round_to_nearest(weight: torch.Tensor, bits: int = 4) -> Blocks:
    """Round `weight` (N, K) block by block.

    In 4 bits, the integers span the block's range. In 8 bits, the weight of largest magnitude becomes -128.

    Raises:
        ValueError: K is not a multiple of 32.
    """
    rows, columns = weight.shape
    if columns % BLOCK_SIZE:
        raise ValueError(f"{columns} in features are not a multiple of {BLOCK_SIZE}")
    blocks = weight.float().reshape(-1, BLOCK_SIZE)
    if bits == 8:
        largest = blocks.gather(1, blocks.abs().argmax(dim=1, keepdim=True))
        scale = stored_scale(largest / -128)  # (blocks, 1)
        integers = (blocks / scale).round_().clamp_(-128, 127)
        return pack(integers.reshape(rows, columns), scale.reshape(rows, -1))
    low, high = _range(blocks)
    scale = stored_scale((high - low) / _STEPS)
    lowest = (low / scale).round_().clamp_(-_STEPS, 0)
    integers = to_integers(blocks, scale[:, None], lowest[:, None])
    return pack(integers.reshape(rows, columns), scale.reshape(rows, -1), lowest.reshape(rows, -1))
