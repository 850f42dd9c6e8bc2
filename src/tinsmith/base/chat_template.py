"""Compare a base's own chat template with its family's by their output, not by their source.

The base's template is a program by strangers. It runs only in the sandbox, and is never published.
"""

import re

from tinsmith.base.sandbox import shared_sandbox
from tinsmith.core.errors import BaseModelError
from tinsmith.model.tokens import ChatTokenizer

MAX_TEMPLATE_CHARACTERS = 1 << 18
"""Longest chat template. Those of tool-calling models have 20,000."""
_CPU_SECONDS, _MEMORY_BYTES = 1, 256 << 20
_ADDRESS = re.compile(r"\b(?:https?|wss?|ftp|file|data|javascript):[^\s'\"<>{}\\]+", re.IGNORECASE)
_MAX_ADDRESSES, _MAX_ADDRESS_CHARACTERS = 5, 100

_SYSTEM = {"role": "system", "content": "You sell tea."}
_TURNS = [
    {"role": "user", "content": "What does the latte cost?"},
    {"role": "assistant", "content": "The latte costs Rp 32k."},
    {"role": "user", "content": "And with oat milk?"},
    {"role": "assistant", "content": "Rp 37k."},
]
PROBES = {
    "one turn": _TURNS[:2],
    "two turns": _TURNS,
    "a system message and one turn": [_SYSTEM, *_TURNS[:2]],
    "a system message and two turns": [_SYSTEM, *_TURNS],
}
"""Conversations rendered with both templates."""


def replacement_reason(chat: ChatTokenizer, base_template: str | None, where: str) -> str | None:
    """Reason to replace the base's template with the family's, or None if both render every probe the same.

    Args:
        chat: The tokenizer, with the family whose template is published.
        base_template: Source of the base's own template.
        where: Name of the model, for messages.
    """
    if base_template is None:
        return "the base model has no chat template"
    conversations = {
        (name, is_prompt): {
            "messages": messages[:-1] if is_prompt else messages,
            "add_generation_prompt": is_prompt,
        }
        for name, messages in PROBES.items()
        for is_prompt in (False, True)
    }
    try:
        results = _render(chat, base_template, list(conversations.values()), where)
    except BaseModelError as error:
        return f"the base's own template was stopped ({error.message})"
    failed: dict[str, str] = {}
    different: dict[str, None] = {}
    for (name, _), conversation, result in zip(conversations, conversations.values(), results, strict=True):
        if "error" in result:
            failed.setdefault(name, result["error"])
        elif name not in failed and result["text"] != _family_text(chat, conversation):
            different[name] = None
    return _reason(list(failed.items()), [name for name in different if name not in failed])


def addresses_in(template: str | None) -> list[str]:
    """Web and data addresses in a template, which has no need for any; at most five, each cut after 100 characters."""
    addresses = dict.fromkeys(match[0][:_MAX_ADDRESS_CHARACTERS] for match in _ADDRESS.finditer(template or ""))
    return list(addresses)[:_MAX_ADDRESSES]


def _reason(failed: list[tuple[str, str]], different: list[str]) -> str | None:
    parts = []
    if failed:
        names = [name for name, _ in failed]
        parts.append(f"the base's own template cannot render {_joined(names)} ({failed[0][1]})")
    if different:
        parts.append(f"the base's own template renders {_joined(different)} differently")
    return "; ".join(parts) or None


def _joined(names: list[str]) -> str:
    return "any of the probe conversations" if len(names) == len(PROBES) else ", ".join(names)


def _render(chat: ChatTokenizer, template: str, conversations: list[dict], where: str) -> list[dict[str, str]]:
    return shared_sandbox().run(
        "render",
        f"{where}: its chat template",
        cpu_seconds=_CPU_SECONDS,
        memory_bytes=_MEMORY_BYTES,
        template=template,
        conversations=conversations,
        variables=dict(chat.tokenizer.special_tokens_map),
    )


def _family_text(chat: ChatTokenizer, conversation: dict) -> str:
    return chat.tokenizer.apply_chat_template(
        conversation["messages"],
        chat_template=chat.family.chat_template,
        tokenize=False,
        add_generation_prompt=conversation["add_generation_prompt"],
    )
