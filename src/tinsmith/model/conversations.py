"""Define valid conversations and their storage between stages."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

ROLES = ("system", "user", "assistant")


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

    def as_dicts(self) -> list[dict[str, str]]:
        """The messages as chat templates expect them."""
        return [{"role": m.role, "content": m.content} for m in self.messages]


def role_problem(messages: Sequence[Message]) -> str | None:
    """Reason why `messages` is not a valid conversation, or None if it is."""
    if not messages:
        return "no messages"
    for index, message in enumerate(messages):
        if message.role not in ROLES:
            return f"message {index + 1} has role {message.role!r}, expected one of {', '.join(ROLES)}"
        if not message.content.strip():
            return f"message {index + 1} (role {message.role!r}) is empty"
    turns = messages[1:] if messages[0].role == "system" else messages
    first = len(messages) - len(turns)
    for index, message in enumerate(turns):
        expected = ("user", "assistant")[index % 2]
        if message.role != expected:
            return f"message {first + index + 1} is from {message.role!r} but should be from {expected!r}"
    if not turns or turns[-1].role != "assistant":
        return "the last message is not from 'assistant'"
    return None


def write_jsonl(path: Path, conversations: Iterable[Conversation]) -> None:
    """Store conversations, one JSON object per line."""
    lines = [json.dumps(asdict(c), ensure_ascii=False) for c in conversations]
    path.write_text("".join(line + "\n" for line in lines), encoding="utf-8")


def read_jsonl(path: Path) -> list[Conversation]:
    """Conversations written by `write_jsonl`, in order."""
    conversations = []
    for line in path.read_text(encoding="utf-8").split("\n")[:-1]:
        record = json.loads(line)
        record["messages"] = tuple(Message(**m) for m in record["messages"])
        conversations.append(Conversation(**record))
    return conversations
