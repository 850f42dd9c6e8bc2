"""Read the metadata at the start of a GGUF file. Compare each count and length with the file and with limits first.

Source: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md
"""

import struct
from typing import Any

import numpy

_MAGIC = b"GGUF"
_VERSIONS = (2, 3)
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
UINT32, UINT64 = _SCALARS[4][0], _SCALARS[10][0]
_STRING, _ARRAY = 8, 9
_MAX_SHOWN = 60
"""Characters of a name in messages."""


class Damaged(Exception):
    """The file contradicts itself; the text says where."""


class Header:
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
            raise Damaged("it does not start with GGUF")
        version = self.number(UINT32, "version")
        if version not in _VERSIONS:
            raise Damaged(f"format version {version}, expected 2 or 3, little-endian")
        tensor_count = self._count(_MAX_TENSORS, "number of tensors")
        field_count = self._count(_MAX_ENTRIES, "number of metadata entries")
        for index in range(field_count):
            key = self.string(f"metadata key {index + 1} of {field_count}")
            if key in self.fields:
                raise Damaged(f"metadata key {shown_name(key)} appears twice")
            self.fields[key] = self._value(self.number(UINT32, f"type of {shown_name(key)}"), shown_name(key))
        return tensor_count

    def number(self, format: struct.Struct, what: str) -> Any:
        """One number as a Python value."""
        return format.unpack_from(self._view, self._advance(format.size, what))[0]

    def string(self, what: str, max_bytes: int = _MAX_NAME_BYTES) -> str:
        """A string: its length in 8 bytes, then UTF-8."""
        length = self.number(UINT64, what)
        if length > max_bytes:
            raise Damaged(f"{what} has {length} bytes, more than {max_bytes}")
        start = self._advance(length, what)
        try:
            return str(self._view[start : self.position], "utf-8")
        except UnicodeDecodeError as error:
            raise Damaged(f"{what} is not UTF-8") from error

    def _value(self, kind: int, what: str) -> Any:
        if kind in _SCALARS:
            return self.number(_SCALARS[kind][0], what)
        if kind == _STRING:
            return self.string(what, _MAX_TEXT_BYTES)
        if kind != _ARRAY:
            raise Damaged(f"unknown type {kind} of {what}")
        item, count = self.number(UINT32, f"type of the items of {what}"), self.number(UINT64, f"length of {what}")
        if item in _SCALARS:
            dtype = _SCALARS[item][1]
            start = self._advance(count * dtype.itemsize, what)
            return self._data[start : self.position].view(dtype)
        if item != _STRING:
            raise Damaged(f"unknown type {item} of the items of {what}")
        if count > self._strings_left:
            raise Damaged(f"its lists have more than {_MAX_STRINGS} texts, {count} of them in {what}")
        self._strings_left -= count
        what = f"a text of {what}"
        return [self.string(what) for _ in range(count)]

    def _count(self, limit: int, what: str) -> int:
        count = self.number(UINT64, what)
        if count > limit:
            raise Damaged(f"the {what} is {count}, more than {limit}")
        return count

    def _advance(self, size_bytes: int, what: str) -> int:
        """Move past the next bytes; return where they start."""
        start = self.position
        if start + size_bytes > len(self._view):
            raise Damaged(f"the file ends after {len(self._view)} bytes, inside the {what}")
        self.position = start + size_bytes
        return start


def shown_name(name: str) -> str:
    """A name from a file, for messages."""
    return repr(name if len(name) <= _MAX_SHOWN else name[:_MAX_SHOWN] + "...")
