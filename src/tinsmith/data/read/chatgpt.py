"""Conversations in ChatGPT's data export: a tree of messages, of which the branch that was shown last counts."""

from typing import Any

from tinsmith.data.read.messages import has_content, kind, text_of
from tinsmith.data.read.record import Unusable
from tinsmith.model.conversations import ROLES, Message

_HIDDEN_TYPES = ("user_editable_context", "model_editable_context")
_REASONING_TYPES = ("thoughts", "reasoning_recap")
_UNUSED_FIELDS = ("title",)


def is_chatgpt(value: dict) -> bool:
    """Whether a record is a conversation of the export."""
    return isinstance(value.get("mapping"), dict) and "current_node" in value


def chatgpt_messages(value: dict, used: set[str], unused: set[str]) -> list[Message]:
    """The messages from the root to the node that was shown last.

    Adds the record's bookkeeping to `used`, and parts that are not used to `unused`.

    Raises:
        Unusable: the tree is damaged, or the branch has tool calls or pictures.
    """
    used |= {key for key in value if key not in _UNUSED_FIELDS}
    mapping = value["mapping"]
    branch = _branch(mapping, value["current_node"])
    others = sum(1 for name in mapping if name not in branch and _message_in(mapping[name]) is not None)
    if others:
        unused.add("mapping: branches that were replaced")
    messages = []
    for number, name in enumerate(branch, start=1):
        node = _message_in(mapping[name])
        message = _message(node, number, unused) if node else None
        if message:
            messages.append(message)
    return messages


def _branch(mapping: dict, leaf: Any) -> list[str]:
    """Names of the nodes from the root to `leaf`."""
    names: dict[str, None] = {}
    name = leaf
    while name is not None:
        if not isinstance(name, str) or not isinstance(mapping.get(name), dict) or name in names:
            raise Unusable("a damaged tree of messages", f"at the node {name!r}")
        names[name] = None
        name = mapping[name].get("parent")
    return list(reversed(names))


def _message_in(node: Any) -> dict | None:
    message = node.get("message") if isinstance(node, dict) else None
    return message if isinstance(message, dict) else None


def _message(value: dict, number: int, unused: set[str]) -> Message | None:
    """One message; None if the person did not see it."""
    author, content, metadata = (value.get(key) or {} for key in ("author", "content", "metadata"))
    if not (isinstance(author, dict) and isinstance(content, dict) and isinstance(metadata, dict)):
        raise Unusable("a message is not an object with author and content", f"message {number}")
    role, type_name = author.get("role"), content.get("content_type")
    if type_name in _HIDDEN_TYPES or metadata.get("is_visually_hidden_from_conversation"):
        if has_content(content.get("parts")) or type_name in _HIDDEN_TYPES:
            unused.add("mapping: messages that were hidden")
        return None
    if type_name in _REASONING_TYPES:
        unused.add("mapping: reasoning")
        return None
    if role == "tool" or value.get("recipient", "all") != "all":
        raise Unusable("a tool call or its result, which is not supported", f"message {number}, role {role!r}")
    if role not in ROLES:
        raise Unusable("a message has no role", f"message {number} has {role!r}")
    if type_name != "text":
        raise Unusable("a part that is no text, such as a picture", f"message {number} has type {type_name!r}")
    parts = content.get("parts")
    if not isinstance(parts, list):
        raise Unusable("expected text", f"message {number} is {kind(parts)}")
    text = text_of(parts, f"message {number}")
    return Message(role, text) if text.strip() or role != "system" else None
