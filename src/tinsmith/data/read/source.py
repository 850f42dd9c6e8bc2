"""Open a piece as bytes or text: unpacked if it is gzip, within a limit, and in its encoding."""

import gzip
import io
from collections.abc import Generator
from contextlib import contextmanager
from typing import TYPE_CHECKING, BinaryIO, TextIO

from tinsmith.data.read.record import Piece

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

_FREE_BYTES = 64_000_000
_MAX_RATIO = 200
"""Texts shrink to a tenth, and to a hundredth if they repeat a long system prompt. A bomb shrinks to a thousandth."""


class Bomb(Exception):
    """A gzip file that unpacks to far more than conversations do."""

    def __init__(self) -> None:
        super().__init__(f"unpacks to more than {_MAX_RATIO} times its size; unpack it yourself if that is right")


@contextmanager
def open_bytes(piece: Piece) -> Generator[BinaryIO]:
    """The bytes of a piece's file, unpacked.

    Raises:
        Bomb: while reading.
        OSError: it cannot be read, or is a damaged gzip file (`EOFError` and `zlib.error` too).
    """
    with piece.path.open("rb") as stored:
        if piece.is_gzip:
            with gzip.GzipFile(fileobj=stored) as unpacked:
                limited = _Limited(unpacked, _FREE_BYTES + _MAX_RATIO * piece.size)
                with io.BufferedReader(limited, 1 << 18) as stream:
                    yield stream
        else:
            yield stored


@contextmanager
def open_text(piece: Piece, newline: str | None = "") -> Generator[TextIO]:
    """The text of a piece's file, with line ends as `open` treats them for `newline`."""
    newline = None if piece.newline == "\r" else newline
    with open_bytes(piece) as stream, io.TextIOWrapper(stream, encoding=piece.encoding, newline=newline) as text:
        yield text


class _Limited(io.RawIOBase):
    """A stream that raises `Bomb` after a number of bytes."""

    def __init__(self, stream: gzip.GzipFile, limit_bytes: int) -> None:
        self._stream = stream
        self._left = limit_bytes

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: "WriteableBuffer", /) -> int:
        view = memoryview(buffer)
        block = self._stream.read(len(view))
        view[: len(block)] = block
        self._left -= len(block)
        if self._left < 0:
            raise Bomb
        return len(block)


def undecodable(piece: Piece) -> tuple[int, str]:
    """Line and description of the first bytes that are not in the piece's encoding."""
    with open_bytes(piece) as stream:
        start, line = 0, 1
        while block := stream.readline(1 << 20):
            try:
                _decodable(block, piece.encoding)
            except UnicodeDecodeError as error:
                return line, not_utf8(block, error.start, start)
            start += len(block)
            line += block.endswith(b"\n")
    return 0, f"not {piece.encoding.upper()}"


def not_utf8(line: bytes, at: int, start: int = 0) -> str:
    """What is wrong with the byte at index `at` of a line that starts at byte `start`, and what it may have meant."""
    nearby = line[max(0, at - 12) : at + 12].decode("cp1252", "replace").strip()
    shown = "".join(c if c.isprintable() else " " for c in nearby)
    return (
        f"not UTF-8 at byte {start + at} (found 0x{line[at]:02x}); in Windows-1252 or Latin-1 it would read {shown!r}: "
        "save the file as UTF-8"
    )


def _decodable(block: bytes, encoding: str) -> None:
    try:
        block.decode(encoding)
    except UnicodeDecodeError as error:
        # A block that is cut in a character is not wrong.
        if not (error.end == len(block) and error.reason == "unexpected end of data"):
            raise
