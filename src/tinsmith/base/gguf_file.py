"""Read GGUF files strictly: check every count, length, type and offset against the file before using it.

The `gguf` package reads the same files but trusts them, so a damaged one raises errors of many kinds, or none.

Source: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md
"""

import math
import struct
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy

from tinsmith.core.errors import BaseModelError

_MAGIC = b"GGUF"
_VERSIONS = (2, 3)
_ALIGNMENT = 32
"""Bytes; tensors start at multiples of it unless `general.alignment` says otherwise."""
_MAX_DIMENSIONS = 4
_MAX_ENTRIES, _MAX_TENSORS = 1 << 12, 1 << 12
"""Metadata entries and tensors. Models that run in a browser have fewer than 100 and 1,000."""
_MAX_STRINGS = 1 << 20
"""Strings in all lists together. The largest vocabularies have 262,144 tokens and about twice as many merges."""
_MAX_NAME_BYTES, _MAX_TEXT_BYTES = 1 << 16, 1 << 20
"""Longest key, name or item of a list, and longest text, such as a chat template or a licence."""

_SCALARS = {
    number: (struct.Struct(f"<{code}"), numpy.dtype(code).newbyteorder("<"))
    for number, code in {
        0: "B",
        1: "b",
        2: "H",
        3: "h",
        4: "I",
        5: "i",
        6: "f",
        7: "?",
        10: "Q",
        11: "q",
        12: "d",
    }.items()
}
"""GGUF metadata type -> its format in `struct` and its NumPy type."""
_UINT32, _UINT64 = _SCALARS[4][0], _SCALARS[10][0]
_STRING, _ARRAY = 8, 9
_MAX_SHOWN = 60
"""Characters of a name in messages."""


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


class _Damaged(Exception):
    """The file contradicts itself; the text says where."""


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
        header = _Header(data)
        tensor_count = header.begin()
        fields = header.fields
        return GgufFile(path.name, fields, _tensors(header, tensor_count, data))
    except OSError as error:
        raise BaseModelError(f"{path.name}: cannot be read ({error.strerror})", "Check the file.") from error
    except _Damaged as error:
        raise BaseModelError(
            f"{path.name}: not a readable GGUF file ({error})", "Fetch it again; it may be incomplete."
        ) from error


class _Header:
    """Reads the header from front to back. Counts and lengths are compared with limits before anything is allocated."""

    def __init__(self, data: numpy.ndarray) -> None:
        self._data = data
        self._view = data.data
        self._strings_left = _MAX_STRINGS
        self.position = 0
        self.fields: dict[str, Any] = {}

    def begin(self) -> int:
        """Read everything before the tensor table. Fill `fields` and return the number of tensors."""
        if self._view[self._advance(4, "magic number") : 4] != _MAGIC:
            raise _Damaged("it does not start with GGUF")
        version = self.number(_UINT32, "version")
        if version not in _VERSIONS:
            raise _Damaged(f"format version {version}, expected 2 or 3, little-endian")
        tensor_count = self._count(_MAX_TENSORS, "number of tensors")
        field_count = self._count(_MAX_ENTRIES, "number of metadata entries")
        for index in range(field_count):
            key = self.string(f"metadata key {index + 1} of {field_count}")
            if key in self.fields:
                raise _Damaged(f"metadata key {_shown(key)} appears twice")
            self.fields[key] = self._value(self.number(_UINT32, f"type of {_shown(key)}"), _shown(key))
        return tensor_count

    def number(self, format: struct.Struct, what: str) -> Any:
        """One number as a Python value."""
        return format.unpack_from(self._view, self._advance(format.size, what))[0]

    def string(self, what: str, max_bytes: int = _MAX_NAME_BYTES) -> str:
        """A string: its length in 8 bytes, then UTF-8."""
        length = self.number(_UINT64, what)
        if length > max_bytes:
            raise _Damaged(f"{what} has {length} bytes, more than {max_bytes}")
        start = self._advance(length, what)
        try:
            return str(self._view[start : self.position], "utf-8")
        except UnicodeDecodeError as error:
            raise _Damaged(f"{what} is not UTF-8") from error

    def _value(self, kind: int, what: str) -> Any:
        if kind in _SCALARS:
            return self.number(_SCALARS[kind][0], what)
        if kind == _STRING:
            return self.string(what, _MAX_TEXT_BYTES)
        if kind != _ARRAY:
            raise _Damaged(f"unknown type {kind} of {what}")
        item, count = self.number(_UINT32, f"type of the items of {what}"), self.number(_UINT64, f"length of {what}")
        if item in _SCALARS:
            dtype = _SCALARS[item][1]
            start = self._advance(count * dtype.itemsize, what)
            return self._data[start : self.position].view(dtype)
        if item != _STRING:
            raise _Damaged(f"unknown type {item} of the items of {what}")
        if count > self._strings_left:
            raise _Damaged(f"its lists have more than {_MAX_STRINGS} texts, {count} of them in {what}")
        self._strings_left -= count
        what = f"a text of {what}"
        return [self.string(what) for _ in range(count)]

    def _count(self, limit: int, what: str) -> int:
        count = self.number(_UINT64, what)
        if count > limit:
            raise _Damaged(f"the {what} is {count}, more than {limit}")
        return count

    def _advance(self, size_bytes: int, what: str) -> int:
        """Move past the next bytes; return where they start."""
        start = self.position
        if start + size_bytes > len(self._view):
            raise _Damaged(f"the file ends after {len(self._view)} bytes, inside the {what}")
        self.position = start + size_bytes
        return start


def _shown(name: str) -> str:
    return repr(name if len(name) <= _MAX_SHOWN else name[:_MAX_SHOWN] + "...")


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


def _tensors(header: _Header, count: int, data: numpy.ndarray) -> tuple[GgufTensor, ...]:
    entries: dict[str, _Entry] = {}
    for index in range(count):
        entry = _entry(header, f"tensor {index + 1} of {count}")
        if entry.name in entries:
            raise _Damaged(f"tensor {_shown(entry.name)} appears twice")
        entries[entry.name] = entry
    alignment = header.fields.get("general.alignment", _ALIGNMENT)
    if not isinstance(alignment, int) or alignment < 1 or alignment & (alignment - 1):
        raise _Damaged(f"general.alignment is {alignment!r}, expected a power of two")
    base = -(-header.position // alignment) * alignment  # rounded up
    end = 0
    for entry in sorted(entries.values(), key=lambda entry: entry.offset):
        # Overlapping tensors would let a small file claim any amount of memory.
        if entry.offset % alignment or entry.offset < end:
            raise _Damaged(
                f"tensor {_shown(entry.name)} starts at byte {entry.offset} of the data, overlapping or unaligned"
            )
        end = entry.offset + entry.size_bytes
        if base + end > len(data):
            raise _Damaged(f"tensor {_shown(entry.name)} ends at byte {base + end}, the file ends at {len(data)}")
    return tuple(
        GgufTensor(
            entry.name,
            entry.shape,
            entry.type,
            data[base + entry.offset : base + entry.offset + entry.size_bytes].reshape(-1, entry.row_bytes),
        )
        for entry in entries.values()
    )


def _entry(header: _Header, what: str) -> _Entry:
    from gguf import GGML_QUANT_SIZES

    name = header.string(f"name of {what}")
    shown = _shown(name)
    dimensions = header.number(_UINT32, f"number of dimensions of {shown}")
    if not 1 <= dimensions <= _MAX_DIMENSIONS:
        raise _Damaged(f"tensor {shown} has {dimensions} dimensions")
    shape = tuple(header.number(_UINT64, f"shape of {shown}") for _ in range(dimensions))
    kind = header.number(_UINT32, f"type of {shown}")
    offset = header.number(_UINT64, f"offset of {shown}")
    type = _readable_type(kind)
    if type is None:
        raise _Damaged(f"tensor {shown} has type {kind}, which cannot be read")
    block_values, block_bytes = GGML_QUANT_SIZES[type]
    if 0 in shape or shape[0] % block_values:
        raise _Damaged(f"tensor {shown} of type {type.name} has shape {list(shape)}")
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
