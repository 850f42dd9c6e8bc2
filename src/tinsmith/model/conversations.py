"""Define valid conversations and their storage between stages."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, overload

import numpy as np

from tinsmith.core.random_access import RandomAccessFile

ROLES = ("system", "user", "assistant")
_CHUNK_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Message:
    """One turn. `role` is `system`, `user` or `assistant`."""

    role: str
    content: str


@dataclass(frozen=True, slots=True)
class Conversation:
    """An optional system message, then user and assistant in turn, ending with the assistant."""

    id: str
    """The record's own id, else its file and position, so that every run gives the same id."""
    category: str
    messages: tuple[Message, ...]
    source: dict[str, str] = field(default_factory=dict)
    """`file` (relative to the data path) and `position` (`line 12` or `record 3`)."""

    @property
    def question(self) -> str:
        """The first user message."""
        return self.messages[1 if self.messages[0].role == "system" else 0].content

    def as_dicts(self) -> list[dict[str, str]]:
        """The messages as chat templates expect them."""
        return [{"role": m.role, "content": m.content} for m in self.messages]


def role_problem(messages: Sequence[Message]) -> tuple[str, str] | None:
    """Why `messages` is not a valid conversation, and where; None if it is one."""
    if not messages:
        return "no messages", ""
    for number, message in enumerate(messages, start=1):
        if message.role not in ROLES:
            return f"a role other than {', '.join(ROLES)}", f"message {number} has role {message.role!r}"
        if not message.content.strip():
            return "a message is empty", f"message {number}, role {message.role!r}"
    turns = messages[1:] if messages[0].role == "system" else messages
    first = len(messages) - len(turns) + 1
    for index, message in enumerate(turns):
        expected = ("user", "assistant")[index % 2]
        if message.role == "system":
            return "a system message that is not the first", f"message {first + index}"
        if message.role != expected:
            return "user and assistant do not take turns", f"message {first + index} is from {message.role!r}"
    if not turns or turns[-1].role != "assistant":
        return "the last message is not from the assistant", ""
    return None


class Conversations(Sequence[Conversation]):
    """The conversations of a JSONL file, each read and parsed when it is asked for.

    Holds 8 bytes for each conversation. A slice is another view of the same file. A copy sent to another process opens
    the file there.
    """

    def __init__(self, path: Path) -> None:
        """Find the lines of a file that `write_jsonl` wrote."""
        self._path = path
        self._file = RandomAccessFile.open(path)
        self._bounds = _line_bounds(self._file)
        self._rows = range(len(self._bounds) - 1)

    def __len__(self) -> int:
        return len(self._rows)

    @overload
    def __getitem__(self, index: int) -> Conversation: ...
    @overload
    def __getitem__(self, index: slice) -> "Conversations": ...
    def __getitem__(self, index: int | slice) -> "Conversation | Conversations":
        if isinstance(index, slice):
            view = object.__new__(Conversations)
            view.__dict__.update(self.__dict__, _rows=self._rows[index])
            return view
        row = self._rows[index]
        record = json.loads(self._file.read(int(self._bounds[row]), int(self._bounds[row + 1])))
        record["messages"] = tuple(Message(**m) for m in record["messages"])
        return Conversation(**record)

    def __getstate__(self) -> dict[str, Any]:
        return {"_path": self._path, "_bounds": self._bounds, "_rows": self._rows}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state, _file=RandomAccessFile.open(state["_path"]))


def write_jsonl(path: Path, conversations: Iterable[Conversation]) -> None:
    """Store conversations, one JSON object per line."""
    with path.open("w", encoding="utf-8", newline="\n") as file:
        for conversation in conversations:
            file.write(json.dumps(asdict(conversation), ensure_ascii=False) + "\n")


def read_jsonl(path: Path) -> Conversations:
    """Conversations written by `write_jsonl`, in order."""
    return Conversations(path)


def _line_bounds(file: RandomAccessFile) -> np.ndarray:
    """Where each line starts, and where the last one ends: int64 (lines + 1,)."""
    bounds, start = [np.zeros(1, np.int64)], 0
    while chunk := file.read(start, start + _CHUNK_BYTES):
        bounds.append(np.flatnonzero(np.frombuffer(chunk, np.uint8) == ord("\n")) + start + 1)
        start += len(chunk)
    return np.concatenate(bounds)
