"""Compare a base's own chat template with its family's by their output, not by their source."""

from tinsmith.model.tokens import ChatTokenizer

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


def replacement_reason(chat: ChatTokenizer, base_template: str | None) -> str | None:
    """Reason to replace the base's template with the family's, or None if both render every probe the same."""
    if base_template is None:
        return "the base model has no chat template"
    failed, different = [], []
    for name, messages in PROBES.items():
        try:
            same = all(
                _render(chat, base_template, turns, is_prompt)
                == _render(chat, chat.family.chat_template, turns, is_prompt)
                for turns, is_prompt in ((messages, False), (messages[:-1], True))
            )
        except _template_errors() as error:
            failed.append((name, str(error).splitlines()[0] if str(error) else type(error).__name__))
            continue
        if not same:
            different.append(name)
    return _reason(failed, different)


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


def _render(chat: ChatTokenizer, template: str, messages: list[dict[str, str]], is_prompt: bool) -> str:
    return chat.tokenizer.apply_chat_template(
        messages, chat_template=template, tokenize=False, add_generation_prompt=is_prompt
    )


def _template_errors() -> tuple[type[Exception], ...]:
    """Exceptions of a base's template: its own `raise_exception`, syntax errors, or operations on unexpected values."""
    from jinja2 import TemplateError

    return (
        TemplateError,
        TypeError,
        ValueError,
        LookupError,
        AttributeError,
        ArithmeticError,
        RecursionError,
        MemoryError,
    )
