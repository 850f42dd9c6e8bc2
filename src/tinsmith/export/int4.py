"""INT4 block format of the package, and rounding to it.

A matrix (out features N, in features K) is cut along K into blocks of 32. Each block has one float32 scale and 32
integers q in 0..15 that stand for (q - 8) * scale. Two integers share a byte, the even one in the low nibble.

Source: MatMulNBits in onnxruntime's docs/ContribOperators.md (bits = 4, no zero points means 8).
"""

from dataclasses import dataclass

import numpy as np
import torch

BLOCK_SIZE = 32
ZERO_POINT = 8

# A block's scale maps its largest weight to this many steps; negative maps it to the end of the range that has one
# step more (-8 against 7). Below 8 the largest weight is clipped so that the others are rounded more finely.
_STEPS_OF_LARGEST = (-8.0, -7.4, -6.8, -6.2, 8.0, 7.4, 6.8, 6.2)


@dataclass(frozen=True, slots=True)
class Int4Matrix:
    """An INT4 matrix as stored in the package."""

    packed: np.ndarray
    """uint8 (N, K / 32, 16)."""
    scales: np.ndarray
    """float32 (N, K / 32)."""


def pack(integers: np.ndarray, scales: np.ndarray) -> Int4Matrix:
    """The stored form of `integers` (N, K), each in 0..15, and `scales` (N, K / 32)."""
    rows, columns = integers.shape
    pairs = integers.astype(np.uint8).reshape(rows, columns // BLOCK_SIZE, BLOCK_SIZE // 2, 2)
    return Int4Matrix(pairs[..., 0] | (pairs[..., 1] << 4), np.ascontiguousarray(scales, np.float32))


def integers_of(matrix: Int4Matrix) -> np.ndarray:
    """int8 (N, K / 32, 32): the stored integers with zero in the middle, -8..7."""
    rows, blocks, _ = matrix.packed.shape
    nibbles = np.stack([matrix.packed & 15, matrix.packed >> 4], axis=-1)
    return nibbles.reshape(rows, blocks, BLOCK_SIZE).astype(np.int8) - np.int8(ZERO_POINT)


def unpack(matrix: Int4Matrix) -> np.ndarray:
    """float32 (N, K): what the stored integers stand for. The numpy oracle of the INT4 graph."""
    values = integers_of(matrix) * matrix.scales[:, :, None]
    return values.reshape(len(values), -1)


def block_scales(weight: torch.Tensor, importance: torch.Tensor) -> torch.Tensor:
    """Scales (N) for one block (N, 32): of a few clippings and both signs, the one with the least weighted error.

    Args:
        weight: float32 (N, 32).
        importance: float32 (32), how much an error in each column costs.
    """
    position = weight.abs().argmax(dim=1, keepdim=True)
    largest = weight.gather(1, position).squeeze(1)  # (N), with its sign
    best_scale = torch.ones_like(largest)
    best_error = torch.full_like(largest, torch.inf)
    for steps in _STEPS_OF_LARGEST:
        scale = torch.where(largest == 0, torch.ones_like(largest), largest / steps)
        error = ((to_integers(weight, scale) - ZERO_POINT) * scale[:, None] - weight).square() @ importance  # (N)
        better = error < best_error
        best_scale = torch.where(better, scale, best_scale)
        best_error = torch.where(better, error, best_error)
    return best_scale


def to_integers(weight: torch.Tensor, scale: torch.Tensor) -> torch.Tensor:
    """Nearest representable integers (N, n) in 0..15 as float32, for weights (N, n) with one scale per row (N)."""
    return (weight / scale[:, None]).round_().add_(ZERO_POINT).clamp_(0, 15)


def round_to_nearest(weight: torch.Tensor) -> Int4Matrix:
    """`weight` (N, K) rounded block by block, the largest weight of each block mapped to -8.

    Raises:
        ValueError: K is not a multiple of 32.
    """
    rows, columns = weight.shape
    if columns % BLOCK_SIZE:
        raise ValueError(f"in features {columns} is not a multiple of {BLOCK_SIZE}")
    blocks = weight.float().reshape(-1, BLOCK_SIZE)
    largest = blocks.gather(1, blocks.abs().argmax(dim=1, keepdim=True)).squeeze(1)
    scale = torch.where(largest == 0, torch.ones_like(largest), largest / -8)
    integers = to_integers(blocks, scale).reshape(rows, columns)
    return pack(integers.numpy(), scale.reshape(rows, -1).numpy())
