"""Read GGUF files strictly: check every count, length, type and offset against the file before using it.

The `gguf` package reads the same files but trusts them, so a damaged one raises errors of many kinds, or none.

Source: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md
"""

import math
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy

from tinsmith.base.gguf_header import UINT32, UINT64, Damaged, Header, shown_name
from tinsmith.core.errors import BaseModelError

_ALIGNMENT = 32
"""Bytes; tensors start at multiples of it unless `general.alignment` says otherwise."""
_MAX_DIMENSIONS = 4


@dataclass(frozen=True, slots=True)
class GgufTensor:
    """One tensor as stored."""

    name: str
    shape: tuple[int, ...]
    """The fastest dimension first, the reverse of PyTorch's order."""
    type: Any
    """`gguf.GGMLQuantizationType`."""
    rows: numpy.ndarray
    """uint8 (rows, bytes per row), mapped from the file."""


@dataclass(frozen=True, slots=True)
class GgufFile:
    """Metadata and tensors of a file; the getters check types, so that callers need not."""

    name: str
    """File name, for messages."""
    fields: dict[str, Any]
    """By key: a number, text, list of texts, or NumPy array of numbers."""
    tensors: tuple[GgufTensor, ...]

    def text(self, key: str, default: str = "") -> str:
        """The text at `key`.

        Raises:
            BaseModelError: the value is not text.
        """
        value = self.fields.get(key, default)
        if not isinstance(value, str):
            raise self._unexpected(key, value, "text")
        return value

    def integer(self, key: str, low: int, high: int, default: int | None = None) -> int:
        """The whole number from `low` to `high` at `key`.

        Raises:
            BaseModelError: the value is something else, or is missing and has no default.
        """
        value = self._value(key, default)
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            raise self._unexpected(key, value, f"a whole number from {low} to {high}")
        return value

    def positive(self, key: str, default: float | None = None) -> float:
        """The number above 0 at `key`.

        Raises:
            BaseModelError: the value is something else, or is missing and has no default.
        """
        value = self._value(key, default)
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < math.inf:
            raise self._unexpected(key, value, "a number above 0")
        return float(value)

    def texts(self, key: str) -> list[str]:
        """The list of texts at `key`.

        Raises:
            BaseModelError: the value is something else or is missing.
        """
        value = self._value(key)
        if not isinstance(value, list):
            raise self._unexpected(key, value, "a list of texts")
        return value

    def integers(self, key: str) -> list[int]:
        """The list of whole numbers at `key`.

        Raises:
            BaseModelError: the value is something else or is missing.
        """
        value = self._value(key)
        if not isinstance(value, numpy.ndarray) or value.dtype.kind not in "iu":
            raise self._unexpected(key, value, "a list of whole numbers")
        return value.tolist()

    def _value(self, key: str, default: float | None = None) -> Any:
        value = self.fields.get(key, default)
        if value is None:
            raise BaseModelError(f"{self.name}: GGUF metadata has no {key}", "Use the model's original files instead.")
        return value

    def _unexpected(self, key: str, value: Any, expected: str) -> BaseModelError:
        shown = repr(value)[:60] if isinstance(value, str | int | float) else f"a list of {len(value)} items"
        return BaseModelError(
            f"{self.name}: GGUF metadata {key} is {shown}, expected {expected}",
            "Fetch the file again; if that does not help, use the model's original files.",
        )


def read_gguf(path: Path) -> GgufFile:
    """Metadata and tensors of a GGUF file; the tensors' data stay on disk until they are used.

    Raises:
        BaseModelError: not a GGUF file, a damaged one, or one with an unreadable tensor type.
    """
    try:
        data = numpy.empty(0, numpy.uint8)
        if path.stat().st_size:
            # A plain array: each part of a `memmap` has a dictionary of its own.
            data = numpy.memmap(path, dtype=numpy.uint8, mode="r").view(numpy.ndarray)
        header = Header(data)
        tensor_count = header.begin()
        fields = header.fields
        return GgufFile(path.name, fields, _tensors(header, tensor_count, data))
    except OSError as error:
        raise BaseModelError(f"{path.name}: cannot be read ({error.strerror})", "Check the file.") from error
    except Damaged as error:
        raise BaseModelError(
            f"{path.name}: not a readable GGUF file ({error})", "Fetch it again; it may be incomplete."
        ) from error


@dataclass(frozen=True, slots=True)
class _Entry:
    """One line of the tensor table."""

    name: str
    shape: tuple[int, ...]
    type: Any
    row_bytes: int
    offset: int

    @property
    def size_bytes(self) -> int:
        return self.row_bytes * math.prod(self.shape[1:])


def _tensors(header: Header, count: int, data: numpy.ndarray) -> tuple[GgufTensor, ...]:
    entries: dict[str, _Entry] = {}
    for index in range(count):
        entry = _entry(header, f"tensor {index + 1} of {count}")
        if entry.name in entries:
            raise Damaged(f"tensor {shown_name(entry.name)} appears twice")
        entries[entry.name] = entry
    alignment = header.fields.get("general.alignment", _ALIGNMENT)
    if not isinstance(alignment, int) or alignment < 1 or alignment & (alignment - 1):
        raise Damaged(f"general.alignment is {alignment!r}, expected a power of two")
    base = -(-header.position // alignment) * alignment  # rounded up
    end = 0
    for entry in sorted(entries.values(), key=lambda entry: entry.offset):
        # Overlapping tensors would let a small file claim any amount of memory.
        if entry.offset % alignment or entry.offset < end:
            raise Damaged(
                f"tensor {shown_name(entry.name)} starts at byte {entry.offset} of the data, overlapping or unaligned"
            )
        end = entry.offset + entry.size_bytes
        if base + end > len(data):
            raise Damaged(f"tensor {shown_name(entry.name)} ends at byte {base + end}, the file ends at {len(data)}")
    return tuple(
        GgufTensor(
            entry.name,
            entry.shape,
            entry.type,
            data[base + entry.offset : base + entry.offset + entry.size_bytes].reshape(-1, entry.row_bytes),
        )
        for entry in entries.values()
    )


def _entry(header: Header, what: str) -> _Entry:
    from gguf import GGML_QUANT_SIZES

    name = header.string(f"name of {what}")
    shown = shown_name(name)
    dimensions = header.number(UINT32, f"number of dimensions of {shown}")
    if not 1 <= dimensions <= _MAX_DIMENSIONS:
        raise Damaged(f"tensor {shown} has {dimensions} dimensions")
    shape = tuple(header.number(UINT64, f"shape of {shown}") for _ in range(dimensions))
    kind = header.number(UINT32, f"type of {shown}")
    offset = header.number(UINT64, f"offset of {shown}")
    type = _readable_type(kind)
    if type is None:
        raise Damaged(f"tensor {shown} has type {kind}, which cannot be read")
    block_values, block_bytes = GGML_QUANT_SIZES[type]
    if 0 in shape or shape[0] % block_values:
        raise Damaged(f"tensor {shown} of type {type.name} has shape {list(shape)}")
    return _Entry(name, shape, type, shape[0] // block_values * block_bytes, offset)


@cache
def _readable_type(number: int) -> Any:
    """The tensor type with this number; None if it is unknown or `gguf.dequantize` cannot expand it."""
    from gguf import GGML_QUANT_SIZES, GGMLQuantizationType, dequantize

    try:
        type = GGMLQuantizationType(number)
        dequantize(numpy.zeros((1, GGML_QUANT_SIZES[type][1]), numpy.uint8), type)
    except (ValueError, NotImplementedError):
        return None
    return type
