"""Find the messages in a record of any known shape. Records of one file may have different shapes."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from tinsmith.model.conversations import Message

ROLE_ALIASES = {"human": "user", "gpt": "assistant", "chatgpt": "assistant", "model": "assistant", "bot": "assistant"}
QUESTION_ANSWER_KEYS = (
    ("question", "answer"),
    ("q", "a"),
    ("prompt", "completion"),
    ("prompt", "response"),
    ("instruction", "output"),
    ("instruction", "response"),
    ("input", "output"),
    ("user", "assistant"),
)
_WRAPPER_KEYS = ("conversations", "questions", "records", "data", "items", "examples", "rows")
_CONTENT_KEYS = {"content", "value", "tool_calls", "function_call"}
_DEEPEST_WRAPPER = 8
_TOOL_ROLES = ("tool", "function", "function_call", "observation", "ipython")


class Unusable(Exception):
    """A record that cannot become a conversation; the text is the reason."""


@dataclass(frozen=True, slots=True)
class Wrapped:
    """One record as stored in its file."""

    value: Any
    category: str
    """Of the nearest wrapper that names one, else empty."""


def is_record(value: Any) -> bool:
    """Whether `value` is one conversation rather than a collection of them."""
    if isinstance(value, list):
        return bool(value) and _is_message(value[0])
    if not isinstance(value, dict):
        return False
    conversations = value.get("conversations")
    return (
        "messages" in value
        or bool(_question_answer(value))
        or (isinstance(conversations, list) and bool(conversations) and _is_message(conversations[0]))
    )


def unwrap(value: Any, notes: list[str], category: str = "", depth: int = 0) -> Iterator[Wrapped]:
    """Every record inside `value`, in order. A wrapper's wrong `count` is added to `notes`."""
    if is_record(value) or depth > _DEEPEST_WRAPPER:
        yield Wrapped(value, category)
    elif isinstance(value, list):
        for item in value:
            yield from unwrap(item, notes, category, depth + 1)
    elif isinstance(value, dict) and (key := _wrapper_key(value)):
        inner = value[key]
        count = value.get("count")
        if isinstance(count, int) and count != len(inner):
            notes.append(f"count says {count}, {key!r} holds {len(inner)} records")
        yield from unwrap(inner, notes, plain_name(value.get("category")) or category, depth + 1)
    else:
        yield Wrapped(value, category)


def plain_name(value: Any) -> str:
    """`value` as one line of text without surrounding space; empty if it is neither text nor a whole number."""
    if isinstance(value, bool) or not isinstance(value, str | int):
        return ""
    return " ".join(str(value).split())


def messages_of(value: Any) -> list[Message]:
    """The messages of one record, with role aliases resolved and otherwise as written.

    Raises:
        Unusable: no known shape, content that is not text, or tool calls.
    """
    if isinstance(value, list):
        return [_message(item, index) for index, item in enumerate(value, start=1)]
    if not isinstance(value, dict):
        raise Unusable(f"found {_kind(value)}, expected an object or a list of messages")
    turns = value.get("messages", value.get("conversations"))
    if "messages" in value or isinstance(turns, list):
        if not isinstance(turns, list):
            raise Unusable(f"'messages' is {_kind(turns)}, expected a list")
        messages = messages_of(turns)
    elif keys := _question_answer(value):
        messages = _pair(value, *keys)
    else:
        raise Unusable(f"no conversation in it; keys found: {', '.join(map(repr, value)) or 'none'}")
    if value.get("system") and not any(message.role == "system" for message in messages):
        messages.insert(0, Message("system", _text(value["system"], "'system'")))
    return messages


def _is_message(value: Any) -> bool:
    if not isinstance(value, dict):
        return False
    return bool(value.keys() & {"role", "from"}) and bool(value.keys() & _CONTENT_KEYS)


def _question_answer(value: dict) -> tuple[str, str] | None:
    """The two keys that hold question and answer, or None."""
    return next((pair for pair in QUESTION_ANSWER_KEYS if pair[0] in value and pair[1] in value), None)


def _wrapper_key(value: dict) -> str | None:
    """The key whose list holds the records: a usual name, else the only list of objects or lists."""
    lists = [
        key for key, inner in value.items() if isinstance(inner, list) and isinstance((inner or [0])[0], dict | list)
    ]
    usual = [key for key in _WRAPPER_KEYS if key in lists]
    if usual:
        return usual[0]
    if value.get("conversations") == []:
        return "conversations"
    return lists[0] if len(lists) == 1 else None


def _message(value: Any, number: int) -> Message:
    if not isinstance(value, dict):
        raise Unusable(f"message {number} is {_kind(value)}, expected an object with role and content")
    role = value.get("role", value.get("from"))
    if not isinstance(role, str):
        raise Unusable(f"message {number} has no role; keys found: {', '.join(map(repr, value)) or 'none'}")
    role = role.strip().lower()
    if role in _TOOL_ROLES or value.get("tool_calls") or value.get("function_call"):
        raise Unusable(f"message {number} (role {role!r}) is a tool call or its result, which is not supported")
    for key in ("content", "value"):
        if key in value:
            return Message(ROLE_ALIASES.get(role, role), _text(value[key], f"content of message {number}"))
    raise Unusable(f"message {number} (role {role!r}) has no content")


def _pair(value: dict, question: str, answer: str) -> list[Message]:
    messages = []
    # LLaMA-Factory's Alpaca files store earlier turns as [question, answer] pairs.
    for past in value.get("history") or []:
        if not (isinstance(past, list) and len(past) == 2):
            raise Unusable(f"'history' holds {_kind(past)}, expected [question, answer] pairs")
        messages += [
            Message(role, _text(text, "'history'")) for role, text in zip(("user", "assistant"), past, strict=True)
        ]
    text = _text(value[question], repr(question))
    if question == "instruction" and value.get("input"):
        text += "\n\n" + _text(value["input"], "'input'")
    return [*messages, Message("user", text), Message("assistant", _text(value[answer], repr(answer)))]


def _text(value: Any, where: str) -> str:
    """`value` as text. The parts of multi-part content are joined."""
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    if not isinstance(value, list):
        raise Unusable(f"{where} is {_kind(value)}, expected text")
    pieces = []
    for part in value:
        if isinstance(part, dict) and part.get("type") == "text" and isinstance(part.get("text"), str):
            pieces.append(part["text"])
        else:
            kind = repr(part.get("type")) if isinstance(part, dict) else _kind(part)
            raise Unusable(f"{where} has a part of type {kind}, only text can be used")
    return "".join(pieces)


def _kind(value: Any) -> str:
    """JSON's name for the type of `value`."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true or false"
    names = {str: "text", int: "a number", float: "a number", list: "a list", dict: "an object"}
    return names[type(value)]
