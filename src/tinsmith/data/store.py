"""Conversations on disk between reading and splitting: their JSON lines, and columns small enough for memory.

A part is written by one process: `part-00000.jsonl` holds the lines, `part-00000.arrow` the columns of the same rows.
"""

import json
from collections.abc import Callable, Iterator
from itertools import chain
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pyarrow as pa

from tinsmith.core.random_access import RandomAccessFile
from tinsmith.core.run_dir import entries
from tinsmith.model.conversations import Conversation, Message

Row = dict[str, Any]
"""Column -> value."""
_ROWS_AT_ONCE = 2000
"""Rows of a record batch."""


class PartWriter:
    """Writes the rows of one part. Leave its `with` block to finish the files."""

    def __init__(self, folder: Path, number: int, schema: pa.Schema, complete: Callable[[list[Row]], None]) -> None:
        """Name the files of part `number`.

        Args:
            folder: Folder of all parts.
            number: Counts from 0.
            schema: Columns besides `size`, the bytes of a line.
            complete: Adds the columns that are computed for many rows at once.
        """
        self._complete = complete
        self._schema = schema.append(pa.field("size", pa.int64()))
        self._path = folder / f"part-{number:05}"
        self._rows: list[Row] = []

    def __enter__(self) -> "PartWriter":
        self._lines: BinaryIO = self._path.with_suffix(".jsonl").open("wb")
        self._sink = pa.OSFile(str(self._path.with_suffix(".arrow")), "wb")
        self._columns = pa.ipc.new_file(self._sink, self._schema)
        return self

    def __exit__(self, error: type[BaseException] | None, *_: object) -> None:
        try:
            if error is None:
                self._flush()
        finally:
            self._columns.close()
            self._sink.close()
            self._lines.close()

    def add(self, conversation: Conversation, columns: Row) -> None:
        """Write one row."""
        line = line_of(conversation)
        self._lines.write(line)
        self._rows.append({**columns, "size": len(line)})
        if len(self._rows) == _ROWS_AT_ONCE:
            self._flush()

    def _flush(self) -> None:
        if self._rows:
            self._complete(self._rows)
            self._columns.write_batch(pa.RecordBatch.from_pylist(self._rows, schema=self._schema))
            self._rows.clear()


class Store:
    """All rows of all parts, in the order of the data."""

    def __init__(self, folder: Path) -> None:
        self._parts = entries(folder, "part-*.arrow")
        sizes = [_numbers(part, "size") for part in self._parts]
        self._starts = np.cumsum([0, *map(len, sizes)])
        """Number of the first row of each part, and of all rows."""
        self._ends = np.concatenate([np.zeros(0, np.int64), *map(np.cumsum, sizes)])
        """End of each row's line in its part's file."""
        self._files: dict[int, RandomAccessFile] = {}

    def __len__(self) -> int:
        return int(self._starts[-1])

    def numbers(self, name: str) -> np.ndarray:
        """A column of numbers or truth values."""
        return np.concatenate([_numbers(part, name) for part in self._parts])

    def hashes(self, name: str) -> np.ndarray:
        """A column of byte strings of equal length, as an array of shape (rows, bytes)."""
        columns = (_fixed(part, name) for part in self._parts)
        first = next(columns)
        # Filled part by part: concatenating would hold a large column twice.
        whole = np.empty((len(self), first.shape[1]), np.uint8)
        for column, start in zip(chain([first], columns), self._starts[:-1].tolist(), strict=True):
            whole[start : start + len(column)] = column
        return whole

    def tables(self, name: str, width: int) -> tuple[np.ndarray, np.ndarray]:
        """A column of tables of uint32 as one table, (n, width), and the row that each of its lines belongs to."""
        columns = (chunk for part in self._parts for chunk in _chunks(part, name))
        sizes = np.concatenate([np.zeros(0, np.int64), *map(_sizes, columns)]) // (4 * width)
        # Filled batch by batch, as in `hashes`.
        whole = np.empty((sizes.sum(), width), np.uint32)
        end = 0
        for part in self._parts:
            for chunk in _chunks(part, name):
                start, end = end, end + int(_sizes(chunk).sum()) // (4 * width)
                if end > start:
                    begin = int(np.frombuffer(chunk.buffers()[1], np.int32, 1, 4 * chunk.offset)[0])
                    table = np.frombuffer(chunk.buffers()[2], "<u4", (end - start) * width, begin)
                    whole[start:end] = table.reshape(-1, width)
        return whole, np.repeat(np.arange(len(sizes)), sizes)

    def texts(self, name: str) -> pa.ChunkedArray:
        """A column of short texts."""
        return pa.chunked_array([chunk for part in self._parts for chunk in _chunks(part, name)], pa.string())

    def line(self, row: int) -> bytes:
        """The JSON line of a row."""
        part = int(np.searchsorted(self._starts, row, side="right")) - 1
        start = int(self._ends[row - 1]) if row > self._starts[part] else 0
        if part not in self._files:
            self._files[part] = RandomAccessFile.open(self._parts[part].with_suffix(".jsonl"))
        return self._files[part].read(start, int(self._ends[row]))

    def conversation(self, row: int) -> Conversation:
        """The conversation of a row."""
        return conversation_of(self.line(row))


def line_of(conversation: Conversation) -> bytes:
    """A conversation as a line of JSON, as `write_jsonl` writes it."""
    fields = {
        "id": conversation.id,
        "category": conversation.category,
        "messages": conversation.as_dicts(),
        "source": conversation.source,
    }
    return (json.dumps(fields, ensure_ascii=False) + "\n").encode()


def conversation_of(line: bytes) -> Conversation:
    """The conversation in a line of JSON."""
    record = json.loads(line)
    record["messages"] = tuple(Message(**message) for message in record["messages"])
    return Conversation(**record)


def _chunks(part: Path, name: str) -> Iterator[pa.Array]:
    """A column of a part, batch by batch; nothing else is read."""
    with pa.OSFile(str(part)) as source:
        index = pa.ipc.open_file(source).schema.get_field_index(name)
        options = pa.ipc.IpcReadOptions(included_fields=[index])
        reader = pa.ipc.open_file(source, options=options)
        for number in range(reader.num_record_batches):
            # A copy: the column itself keeps the memory of all columns of its batch.
            yield pa.concat_arrays([reader.get_batch(number).column(0)])


def _sizes(chunk: pa.Array) -> np.ndarray:
    """Bytes of each value of a column of byte strings."""
    return np.diff(np.frombuffer(chunk.buffers()[1], np.int32, len(chunk) + 1, 4 * chunk.offset)).astype(np.int64)


def _numbers(part: Path, name: str) -> np.ndarray:
    arrays = [chunk.to_numpy(zero_copy_only=False) for chunk in _chunks(part, name)]
    return np.concatenate(arrays) if arrays else np.zeros(0, bool)


def _fixed(part: Path, name: str) -> np.ndarray:
    with pa.OSFile(str(part)) as source:
        width = pa.ipc.open_file(source).schema.field(name).type.byte_width
    arrays = [
        np.frombuffer(chunk.buffers()[1], np.uint8, len(chunk) * width, chunk.offset * width).reshape(-1, width)
        for chunk in _chunks(part, name)
    ]
    return np.concatenate(arrays) if arrays else np.zeros((0, width), np.uint8)
