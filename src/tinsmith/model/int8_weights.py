"""Unpack the INT8 graph's weights from the 4- and 8-bit weights of a package, following the package's plan.

`web/unpack.js` does the same in a page. The arithmetic is that of ONNX Runtime's constant folding, which unpacks the
weights of the other INT8 graph: products and steps are rounded to float16, quotients to float32.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np

from tinsmith.model.package_format import UNPACK_PLAN_FILE

LARGEST_LEVEL = 127
"""Largest 8-bit level. -128 is not used, so that every level has a negative."""
MIDDLE = 128
"""8-bit level of the value zero. Weights are unsigned, like activations: with signed weights, x86 processors without
VNNI would add two products in 16 bits, which overflows silently (`vpmaddubsw`)."""
SMALLEST_STEP = 2.0**-24
"""Smallest positive float16."""
_WIDE = 1024
_WIDTH = 128
_BLOCK_SIZE = 32
_ROWS = 4096
"""Rows unpacked at a time: a whole head in float32 would be gigabytes."""


def width_of(rows: int) -> int:
    """Number of output columns stored together, for a matrix with this many rows (out features).

    ONNX Runtime's WASM build multiplies 128 columns at a time, 8 bytes of each row, and repacks them for every product.
    In a wide matrix these bytes are in different memory pages. If its width is a multiple of a large power of two, they
    also compete for the same few cache lines. Matrices of 128 columns are read in order, 1.7 to 5 times as fast for one
    token.
    """
    return _WIDTH if rows >= _WIDE else rows


def padded(rows: int) -> int:
    """`rows` rounded up to whole matrices of `width_of(rows)` columns. Added columns have zero scales and levels."""
    width = width_of(rows)
    return -(-rows // width) * width


def unpacked_weights(graphs_dir: Path) -> np.ndarray:
    """The content of `UNPACKED_DATA`, uint8 (bytes,), from the plan and weights in a package's folder of graphs."""
    plan = json.loads((graphs_dir / Path(UNPACK_PLAN_FILE).name).read_text())
    return unpack(plan["products"], plan["bytes"], graphs_dir)


def unpack(products: list[dict[str, Any]], nbytes: int, folder: Path) -> np.ndarray:
    """Unpack the products of a plan, which `web/unpack.js` describes, from the files in `folder`: uint8 (`nbytes`,)."""
    files = {part["file"] for product in products for part in product["parts"]}
    stored = {name: np.memmap(folder / name, np.uint8, "r") for name in files}
    data = np.zeros(nbytes, np.uint8)
    for product in products:
        columns, width, first = product["columns"], product["width"], 0
        rows = padded(sum(part["rows"] for part in product["parts"]))
        levels = data[product["weights_at"] :][: columns * rows].reshape(-1, columns, width).transpose(0, 2, 1)
        scales = data[product["scales_at"] :][: 4 * rows].view(np.float32)
        for part in product["parts"]:
            for start in range(0, part["rows"], _ROWS):
                chunk = range(start, min(start + _ROWS, part["rows"]))
                rows_at = first + np.arange(chunk.start, chunk.stop)
                levels[rows_at // width, rows_at % width], scales[rows_at] = _levels(
                    part, chunk, columns, product["factors"], stored[part["file"]]
                )
            first += part["rows"]
    return data


def _levels(
    part: dict, chunk: range, columns: int, factors: list[float] | None, stored: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Levels (rows, K) uint8 of a chunk of the part's rows, and the scale of each row (rows,) float32."""
    bits, blocks, rows = part["bits"], columns // _BLOCK_SIZE, len(chunk)
    zero_points = np.full((rows, blocks), 2 ** (bits - 1), np.float32)
    if "zeros_at" in part:
        zero_bytes = -(-blocks // 2)
        zeros = stored[part["zeros_at"] + chunk.start * zero_bytes :][: rows * zero_bytes].reshape(rows, zero_bytes)
        zero_points = np.stack([zeros & 15, zeros >> 4], axis=2).reshape(rows, -1)[:, :blocks].astype(np.float32)
    row_bytes = columns * bits // 8
    packed = stored[part["packed_at"] + chunk.start * row_bytes :][: rows * row_bytes].reshape(rows, blocks, -1)
    scales = (
        stored[part["scales_at"] + 2 * chunk.start * blocks :][: 2 * rows * blocks]
        .view(np.float16)
        .reshape(rows, blocks)
    )
    integers = packed if bits == 8 else np.stack([packed & 15, packed >> 4], axis=3).reshape(rows, blocks, _BLOCK_SIZE)
    float_scales = scales.astype(np.float32)
    if factors is not None:
        float_scales = float_scales * np.array(factors, np.float32)
        scales = float_scales.astype(np.float16)
    farthest = np.maximum(zero_points, np.float32(2**bits - 1) - zero_points)
    step = np.maximum(
        (np.abs(float_scales) * farthest).max(axis=1) * np.float32(1 / LARGEST_LEVEL), np.float32(SMALLEST_STEP)
    )
    step = step.astype(np.float16).astype(np.float32)
    centred = integers.astype(np.float32) - zero_points[:, :, None]
    values = (centred * scales.astype(np.float32)[:, :, None]).astype(np.float16)
    levels = np.rint(values.astype(np.float32) / step[:, None, None]) + MIDDLE
    return levels.clip(0, 255).astype(np.uint8).reshape(rows, columns), step
