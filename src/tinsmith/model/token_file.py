"""Tokenized conversations in a file, so that memory does not grow with their number."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import overload

import numpy as np

from tinsmith.core.random_access import RandomAccessFile, unnamed_file
from tinsmith.model.tokens import Tokens

_ID = np.dtype(np.uint32)
_BYTES = _ID.itemsize + 1
"""Of a token: its id, and whether it is a training target."""


class TokenFile(Sequence[Tokens]):
    """Tokens of conversations, read from a file without a name when they are asked for.

    Holds 8 bytes and the id of each conversation in memory, and 5 bytes of each token on the disk.
    """

    def __init__(
        self, folder: Path, conversations: Iterable[Tokens], rows: Sequence[int] | None = None, count: int = 0
    ) -> None:
        """Write `conversations` one by one to the disk of `folder`.

        Args:
            folder: Of a run, so that the tokens do not fill the disk of temporary files.
            conversations: Any number of them.
            rows: Their positions among `count` conversations, of which only these can be read; None if they are all.
            count: Length of the whole; not used without `rows`.

        Raises:
            OSError: the disk is full or failing.
        """
        self._names: list[str] = []
        lengths = []
        with unnamed_file(folder) as file:
            for tokens in conversations:
                file.write(np.array(tokens.ids, _ID).tobytes() + np.array(tokens.mask, np.bool_).tobytes())
                self._names.append(tokens.conversation_id)
                lengths.append(len(tokens.ids))
            self._file = RandomAccessFile.written(file)
        self._bounds = np.cumsum([0, *lengths], dtype=np.int64)
        self._count = len(lengths) if rows is None else count
        self._rows = range(self._count) if rows is None else np.array(rows, np.int64)

    @property
    def longest(self) -> int:
        """Tokens of the longest conversation; 0 if there is none."""
        return int(np.diff(self._bounds).max(initial=0))

    def __len__(self) -> int:
        return self._count

    @overload
    def __getitem__(self, index: int) -> Tokens: ...
    @overload
    def __getitem__(self, index: slice) -> list[Tokens]: ...
    def __getitem__(self, index: int | slice) -> Tokens | list[Tokens]:
        if isinstance(index, slice):
            return [self[row] for row in range(len(self))[index]]
        row = self._row(range(len(self))[index])
        start, stop = map(int, self._bounds[row : row + 2])
        content = self._file.read(_BYTES * start, _BYTES * stop)
        ids = np.frombuffer(content, _ID, count=stop - start)
        mask = np.frombuffer(content, np.bool_, offset=ids.nbytes)
        return Tokens(self._names[row], tuple(ids.tolist()), tuple(mask.tolist()))

    def _row(self, index: int) -> int:
        """Where the conversation is in the file."""
        row = int(np.searchsorted(self._rows, index)) if isinstance(self._rows, np.ndarray) else index
        if row == len(self._names) or self._rows[row] != index:
            raise IndexError(f"conversation {index} of {len(self)} was not tokenized")
        return row
