"""Files of an encoder: weights in 4 bits, their layout, the graph, and unpacking weights for the graph."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from onnx import TensorProto

from tinsmith.core.run_dir import read_json, write_bytes, write_json
from tinsmith.model.answers.encoder_graph import Shape, Slot, write_graph
from tinsmith.model.answers.q4 import int8_levels, pack_rows, row_bytes, unpack_rows

_ALIGNMENT = 64
"""Bytes; initializers in the unpacked buffer start at multiples of it."""


@dataclass(frozen=True, slots=True)
class EncoderWeights:
    """An encoder as published, in float32."""

    shape: Shape
    words: np.ndarray
    """(V, D): one row per token."""
    positions: np.ndarray
    """(P, D): position embeddings, with the embedding of the only segment added."""
    matrices: Mapping[str, np.ndarray]
    """Name as in `write_graph`, such as `0.qkv` -> (out, in)."""
    vectors: Mapping[str, np.ndarray]
    """Name as in `write_graph`, such as `0.qkv.bias` -> (out,)."""


def write_encoder(folder: Path, name: str, weights: EncoderWeights) -> None:
    """Write `<name>.bin`, `<name>.json` and `<name>.onnx` to `folder`. The formats are in docs/answers-format.md."""
    content, data = bytearray(), bytearray()
    slots: dict[str, Slot] = {}
    content += pack_rows(weights.words).tobytes()
    positions_at = len(content)
    content += weights.positions.astype("<f2").tobytes()
    matrices, copies = [], []
    for key, matrix in weights.matrices.items():
        packed = pack_rows(matrix)
        levels, scales = int8_levels(unpack_rows(packed))
        levels_at, scales_at = _append(data, levels.tobytes()), _append(data, scales.astype("<f4").tobytes())
        slots[f"{key}.levels"] = Slot(TensorProto.INT8, levels.shape, levels_at)
        slots[f"{key}.scales"] = Slot(TensorProto.FLOAT, scales.shape, scales_at)
        rows, columns = matrix.shape
        places = {"at": len(content), "levels_at": levels_at, "scales_at": scales_at}
        matrices.append({"rows": rows, "columns": columns, **places})
        content += packed.tobytes()
    for key, vector in weights.vectors.items():
        stored = vector.astype("<f4").tobytes()
        slots[key] = Slot(TensorProto.FLOAT, vector.shape, _append(data, stored))
        copies.append({"at": len(content), "bytes": len(stored), "to": slots[key].at})
        content += stored
    layout = {
        "vocabulary": len(weights.words),
        "dimension": weights.shape.dimension,
        "words": {"at": 0},
        "positions": {"at": positions_at, "count": len(weights.positions)},
        "data_bytes": len(data),
        "data_sha256": hashlib.sha256(data).hexdigest(),
        "matrices": matrices,
        "copies": copies,
    }
    write_bytes(folder / f"{name}.bin", bytes(content))
    write_json(folder / f"{name}.json", layout)
    write_graph(folder / f"{name}.onnx", weights.shape, slots, f"{name}.data")


def _append(buffer: bytearray, content: bytes) -> int:
    """Append `content` at the next aligned offset, which is returned."""
    buffer += bytes(-len(buffer) % _ALIGNMENT)
    at = len(buffer)
    buffer += content
    return at


@dataclass(frozen=True, slots=True)
class EncoderFile:
    """An encoder's weights, ready for its graph."""

    data: bytes
    """The buffer that the graph's initializers refer to."""
    words: np.ndarray
    """Packed rows, uint8 (V, D / 32 * 18)."""
    positions: np.ndarray
    """float32 (P, D)."""


def read_encoder(folder: Path, name: str) -> EncoderFile:
    """Read and unpack `<name>.bin`.

    Raises:
        ValueError: the unpacked buffer is not the one that was written.
    """
    content = np.fromfile(folder / f"{name}.bin", np.uint8)
    layout: dict[str, Any] = read_json(folder / f"{name}.json")
    dimension, count = layout["dimension"], layout["positions"]["count"]
    data = np.zeros(layout["data_bytes"], np.uint8)
    for matrix in layout["matrices"]:
        rows, width = matrix["rows"], row_bytes(matrix["columns"])
        packed = content[matrix["at"] : matrix["at"] + rows * width].reshape(rows, width)
        levels, scales = int8_levels(unpack_rows(packed))
        _place(data, matrix["levels_at"], levels)
        _place(data, matrix["scales_at"], scales)
    for copied in layout["copies"]:
        _place(data, copied["to"], content[copied["at"] : copied["at"] + copied["bytes"]])
    unpacked = data.tobytes()
    if hashlib.sha256(unpacked).hexdigest() != layout["data_sha256"]:
        raise ValueError(f"{name}.bin: its unpacked weights are not those that were written")
    words = content[: layout["vocabulary"] * row_bytes(dimension)].reshape(layout["vocabulary"], -1)
    at = layout["positions"]["at"]
    positions = content[at : at + 2 * count * dimension].view("<f2").reshape(count, dimension)
    return EncoderFile(unpacked, words, positions.astype(np.float32))


def _place(data: np.ndarray, at: int, values: np.ndarray) -> None:
    raw = np.ascontiguousarray(values).view(np.uint8).reshape(-1)
    data[at : at + len(raw)] = raw
