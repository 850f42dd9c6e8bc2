"""Rows of 4-bit numbers, as encoders and indexes store them.

A block of 32 values takes 18 bytes: a float16 scale, then 16 bytes whose low nibbles are the first 16 values and whose
high nibbles are the others. A value is (nibble - 8) * scale.

Source: `block_q4_0` of https://github.com/ggml-org/ggml/blob/master/src/ggml-common.h
"""

import numpy as np

BLOCK_VALUES = 32
BLOCK_BYTES = 18
_SHARES = np.array([1.0, 0.93, 0.86, 0.8], np.float32)
"""Shares of a block's largest magnitude to cover. A smaller one rounds the rest more finely and clips the largest."""
_MAX_LEVEL = 127


def row_bytes(columns: int) -> int:
    """Bytes of a row of `columns` values, which is a multiple of 32."""
    return columns // BLOCK_VALUES * BLOCK_BYTES


def pack_rows(rows: np.ndarray) -> np.ndarray:
    """Round float32 (N, K) to uint8 (N, K / 32 * 18). Each block takes the scale with the smallest squared error.

    Values that are already in this format, with a float16 scale, are kept exactly.
    """
    blocks = np.ascontiguousarray(rows, np.float32).reshape(-1, BLOCK_VALUES)
    largest = np.take_along_axis(blocks, np.abs(blocks).argmax(axis=1)[:, None], axis=1)
    best = np.zeros((len(blocks), BLOCK_BYTES), np.uint8)
    best_errors = np.full(len(blocks), np.inf, np.float32)
    # The lowest of the sixteen levels is -8, so the largest magnitude becomes that one; or 7 for an even range.
    for steps in (-8.0, 7.0):
        for share in _SHARES:
            scales = (largest * share / np.float32(steps)).astype(np.float16) + np.float16(0)  # no negative zero
            wide = np.where(scales == 0, np.float16(1), scales).astype(np.float32)
            nibbles = np.clip(np.rint(blocks / wide) + 8, 0, 15).astype(np.uint8)
            errors = np.square((nibbles.astype(np.float32) - 8) * scales - blocks).sum(axis=1)
            better = errors < best_errors
            best[better] = _packed(nibbles[better], scales[better])
            best_errors[better] = errors[better]
    return best.reshape(len(rows), -1)


def _packed(nibbles: np.ndarray, scales: np.ndarray) -> np.ndarray:
    half = BLOCK_VALUES // 2
    codes = nibbles[:, :half] | (nibbles[:, half:] << 4)
    return np.concatenate([scales.astype("<f2").view(np.uint8).reshape(-1, 2), codes], axis=1)


def unpack_rows(packed: np.ndarray) -> np.ndarray:
    """The float32 values (N, K) of packed rows, uint8 (N, K / 32 * 18)."""
    blocks = packed.reshape(-1, BLOCK_BYTES)
    scales = blocks[:, :2].copy().view("<f2").astype(np.float32)
    codes = blocks[:, 2:]
    nibbles = np.concatenate([codes & 15, codes >> 4], axis=1).astype(np.float32)
    return ((nibbles - 8) * scales).reshape(len(packed), -1)


def int8_levels(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Round float32 (N, K) to levels, int8 (K, N), and a scale for each row, float32 (N,).

    The page computes the same levels, bit for bit: halves are rounded up, in doubles.
    """
    bounds = np.abs(rows).max(axis=1)
    scales = np.where(bounds == 0, np.float32(1), (bounds / np.float32(_MAX_LEVEL)).astype(np.float32))
    levels = np.floor(rows.astype(np.float64) / scales.astype(np.float64)[:, None] + 0.5)
    return np.ascontiguousarray(np.clip(levels, -_MAX_LEVEL, _MAX_LEVEL).astype(np.int8).T), scales
