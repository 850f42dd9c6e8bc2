"""Turn messages as other programs write them into messages with a known role and plain text."""

from collections.abc import Sequence
from typing import Any

from tinsmith.core.field_map import FieldMap
from tinsmith.data.read.record import Unusable
from tinsmith.model.conversations import ROLES, Message

_ALIASES = {
    **dict.fromkeys("human customer client visitor guest caller".split(), "user"),
    **dict.fromkeys("gpt chatgpt model bot chatbot ai agent support operator advisor".split(), "assistant"),
    "developer": "system",
}
ROLE_KEYS = ("role", "from", "sender")
CONTENT_KEYS = ("content", "value", "text")
_TOOL_KEYS = ("tool_calls", "function_call")
_TOOL_ROLES = ("tool", "function", "function_call", "observation", "ipython")
_TEXT_PARTS = {"text": "text", "input_text": "text", "output_text": "text", "refusal": "refusal"}
"""Type of a part of a message -> the field with its text."""


def is_message(value: Any) -> bool:
    """Whether `value` is one message of a conversation, whose list is the conversation."""
    if not isinstance(value, dict):
        return False
    keys = value.keys()
    if "role" in keys or "from" in keys:
        return not keys.isdisjoint(("content", "value", *_TOOL_KEYS))
    return "sender" in keys and "text" in keys


def messages_of(values: Sequence[Any], fields: FieldMap, unused: set[str], name: str = "messages") -> list[Message]:
    """The messages in a list of objects.

    Adds fields that are not used to `unused`, as `<name>.<field>`.

    Raises:
        Unusable: a message has no role or no text, or calls a tool; or an answer that must not be learned comes before
            one that must.
    """
    messages, weights = [], []
    for number, value in enumerate(values, start=1):
        if not isinstance(value, dict):
            raise Unusable("a message is not an object with role and content", f"message {number} is {kind(value)}")
        messages.append(_message(value, number, fields, unused, name))
        weights.append(value.get("weight", 1))
    return _learned(messages, weights, unused, name)


def text_of(value: Any, where: str) -> str:
    """`value` as text. The parts of multi-part content are joined; null is empty.

    Raises:
        Unusable: it is no text, or has a part that is none.
    """
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    if not isinstance(value, list):
        raise Unusable("expected text", f"{where} is {kind(value)}")
    return "".join(_part(part, where) for part in value)


def kind(value: Any) -> str:
    """JSON's name for the type of `value`."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true or false"
    names = {str: "text", int: "a number", float: "a number", list: "a list", dict: "an object"}
    return names.get(type(value), type(value).__name__)


def has_content(value: Any) -> bool:
    """Whether a field says anything: it is not null, blank, or an empty list or object."""
    return bool(value.strip()) if isinstance(value, str) else value not in (None, [], {})


def _message(value: dict, number: int, fields: FieldMap, unused: set[str], name: str) -> Message:
    role_key = next((key for key in (fields.role, *ROLE_KEYS) if key and key in value), None)
    if role_key is None or not isinstance(value[role_key], str):
        keys = ", ".join(map(repr, value)) or "none"
        raise Unusable("a message has no role", f"message {number}; its keys: {keys}")
    written = value[role_key].strip()
    role = _role(written, fields)
    if written.lower() in _TOOL_ROLES or any(has_content(value.get(key)) for key in _TOOL_KEYS):
        raise Unusable("a tool call or its result, which is not supported", f"message {number}, role {written!r}")
    content_key = next((key for key in (fields.content, *CONTENT_KEYS) if key and key in value), None)
    used = {role_key, content_key, "weight"}
    content = text_of(value[content_key], f"content of message {number}") if content_key else ""
    if not content and has_content(value.get("refusal")):
        content = text_of(value["refusal"], f"refusal of message {number}")
        used.add("refusal")
    elif content_key is None:
        raise Unusable("a message has no content", f"message {number}, role {written!r}")
    unused.update(f"{name}.{key}" for key, inner in value.items() if key not in used and has_content(inner))
    return Message(role, content)


def _role(written: str, fields: FieldMap) -> str:
    if fields.assistant and written.casefold() == fields.assistant.strip().casefold():
        return "assistant"
    role = _ALIASES.get(written.lower(), written.lower())
    return "user" if fields.assistant and role not in ROLES and role not in _TOOL_ROLES else role


def _part(part: Any, where: str) -> str:
    if isinstance(part, str):
        return part
    type_name = part.get("type") if isinstance(part, dict) else None
    text = part.get(_TEXT_PARTS.get(type_name, "")) if isinstance(type_name, str) else None
    if not isinstance(text, str):
        found = f"type {type_name!r}" if isinstance(part, dict) else kind(part)
        raise Unusable("a part that is no text, such as a picture", f"{where} has {found}")
    return text


def _learned(messages: list[Message], weights: list[Any], unused: set[str], name: str) -> list[Message]:
    """The messages up to the last answer that is to be learned. OpenAI marks the others with weight 0."""
    answers = [index for index, message in enumerate(messages) if message.role == "assistant"]
    muted = [index for index in answers if weights[index] == 0]
    if not muted:
        return messages
    learned = [index for index in answers if index not in muted]
    if not learned:
        raise Unusable("every answer has weight 0, so there is nothing to learn")
    if muted[0] < learned[-1]:
        number = muted[0] + 1
        raise Unusable("an answer of weight 0 before one to learn, which is not supported", f"message {number}")
    unused.add(f"{name}: answers of weight 0 at the end")
    return messages[: learned[-1] + 1]
