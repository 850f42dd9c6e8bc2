"""Files read in any order, without keeping them in memory and without a position that threads or processes share."""

import os
import tempfile
import weakref
from pathlib import Path
from typing import BinaryIO


class RandomAccessFile:
    """An open file. A memory map would count as this process's memory once its pages were read; this does not."""

    def __init__(self, descriptor: int) -> None:
        """Take over an open descriptor, and close it when this object is gone."""
        self._descriptor = descriptor
        weakref.finalize(self, os.close, descriptor)

    @classmethod
    def open(cls, path: Path) -> "RandomAccessFile":
        """The file at `path`."""
        return cls(os.open(path, os.O_RDONLY))

    @classmethod
    def written(cls, file: BinaryIO) -> "RandomAccessFile":
        """A file that was just written; `file` may be closed afterwards."""
        file.flush()
        return cls(os.dup(file.fileno()))

    def read(self, start: int, stop: int) -> bytes:
        """Bytes `start` to `stop`; fewer at the end of the file."""
        return os.pread(self._descriptor, stop - start, start)


def unnamed_file(folder: Path) -> BinaryIO:
    """A new file on the disk of `folder` that has no name, so it goes with the last process that has it open."""
    folder.mkdir(parents=True, exist_ok=True)
    return tempfile.TemporaryFile(dir=folder)  # type: ignore[return-value]
