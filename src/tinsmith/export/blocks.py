"""The package's block format of 4 or 8 bits, and rounding to it.

A matrix (out features N, in features K) is cut along K into blocks of 32. Each block has one float16 scale and 32
unsigned integers q that stand for (q - 8) * scale in 4 bits, and for (q - 128) * scale in 8. In 4 bits two integers
share a byte, the even one in the low nibble.

Source: MatMulNBits in onnxruntime's docs/ContribOperators.md (without zero points the middle stands for zero).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

BLOCK_SIZE = 32

# A block's scale maps its largest weight to this many steps; negative maps it to the end of the range that has one
# step more (-8 against 7). Below 8 the largest weight is clipped so that the others are rounded more finely.
_STEPS_OF_LARGEST = (-8.0, -7.4, -6.8, -6.2, 8.0, 7.4, 6.8, 6.2)


@dataclass(frozen=True, slots=True)
class Blocks:
    """A matrix in blocks, as stored in the package."""

    packed: np.ndarray
    """uint8 (N, K / 32, 16) in 4 bits, (N, K / 32, 32) in 8."""
    scales: np.ndarray
    """float16 (N, K / 32)."""

    @property
    def bits(self) -> int:
        """Of an integer: 4 or 8."""
        return bits_of(self.packed.shape)

    @property
    def nbytes(self) -> int:
        """Stored bytes."""
        return self.packed.nbytes + self.scales.nbytes


@dataclass(frozen=True, slots=True)
class Refinement:
    """Four more bits for the head's rows of the tokens that are predicted most; the embedding has no use for them."""

    places: np.ndarray
    """For every token its row in `blocks` (V,), int32."""
    blocks: Blocks
    """What is added to the head's rows (R + 1, D); the last one is zero, for all other tokens."""

    @property
    def nbytes(self) -> int:
        """Stored bytes."""
        return self.places.nbytes + self.blocks.nbytes


def bits_of(packed_shape: Sequence[int]) -> int:
    """Of an integer in a `packed` array of that shape: its last axis is the bytes of a block."""
    return 8 * packed_shape[-1] // BLOCK_SIZE


def stored_bits(bits: int) -> float:
    """What a weight in `bits` costs with its share of the scale."""
    return bits + 16 / BLOCK_SIZE


def pack(integers: torch.Tensor, scales: torch.Tensor, bits: int = 4) -> Blocks:
    """The stored form of `integers` (N, K), zero in the middle of their range, and `scales` (N, K / 32).

    Raises:
        ValueError: a scale has no float16 of its own; `stored_scale` gives those that have.
    """
    half = scales.to(torch.float16)
    if not torch.equal(half.float(), scales.float()) or not half.isfinite().all():
        raise ValueError("scales are not float16 numbers")
    unsigned = (integers + 2 ** (bits - 1)).to(torch.uint8).reshape(len(integers), -1, BLOCK_SIZE)
    if bits == 4:
        unsigned = unsigned[..., 0::2] | (unsigned[..., 1::2] << 4)
    return Blocks(unsigned.contiguous().cpu().numpy(), half.contiguous().cpu().numpy())


def integers_of(blocks: Blocks) -> np.ndarray:
    """int8 (N, K / 32, 32): the stored integers with zero in the middle, -8..7 or -128..127."""
    if blocks.bits == 8:
        return (blocks.packed ^ 128).view(np.int8)
    nibbles = np.stack([blocks.packed & 15, blocks.packed >> 4], axis=-1)
    return nibbles.reshape(*blocks.packed.shape[:2], BLOCK_SIZE).view(np.int8) - np.int8(8)


def unpack(blocks: Blocks) -> np.ndarray:
    """float32 (N, K): what the stored integers stand for. The numpy oracle of the package's graph."""
    values = integers_of(blocks) * blocks.scales.astype(np.float32)[:, :, None]
    return values.reshape(len(values), -1)


def stored_scale(scale: torch.Tensor) -> torch.Tensor:
    """The nearest float32 scales that float16 can hold; 1 in place of 0, which a block of zeros asks for."""
    half = scale.to(torch.float16).float()
    return torch.where(half == 0, torch.ones_like(half), half)


def block_scales(weight: torch.Tensor, importance: torch.Tensor) -> torch.Tensor:
    """4-bit scales (N) for one block (N, 32): of a few clippings and both signs, the one with the least weighted error.

    Args:
        weight: float32 (N, 32).
        importance: float32 (32), how much an error in each column costs.
    """
    position = weight.abs().argmax(dim=1, keepdim=True)
    largest = weight.gather(1, position).squeeze(1)  # (N), with its sign
    best_scale = torch.ones_like(largest)
    best_error = torch.full_like(largest, torch.inf)
    for steps in _STEPS_OF_LARGEST:
        scale = stored_scale(largest / steps)
        error = (to_integers(weight, scale[:, None]) * scale[:, None] - weight).square() @ importance  # (N)
        better = error < best_error
        best_scale = torch.where(better, scale, best_scale)
        best_error = torch.where(better, error, best_error)
    return best_scale


def to_integers(weight: torch.Tensor, scale: torch.Tensor, bits: int = 4) -> torch.Tensor:
    """Nearest representable integers as float32, zero in the middle; `scale` broadcasts with `weight`."""
    middle = 2 ** (bits - 1)
    return (weight / scale).round_().clamp_(-middle, middle - 1)


def round_to_nearest(weight: torch.Tensor, bits: int = 4) -> Blocks:
    """`weight` (N, K) rounded block by block, the largest weight of each block mapped to the lowest integer.

    Raises:
        ValueError: K is not a multiple of 32.
    """
    rows, columns = weight.shape
    if columns % BLOCK_SIZE:
        raise ValueError(f"in features {columns} is not a multiple of {BLOCK_SIZE}")
    blocks = weight.float().reshape(-1, BLOCK_SIZE)
    largest = blocks.gather(1, blocks.abs().argmax(dim=1, keepdim=True))
    scale = stored_scale(largest / -(2 ** (bits - 1)))  # (blocks, 1)
    return pack(to_integers(blocks, scale, bits).reshape(rows, columns), scale.reshape(rows, -1), bits)
