"""Questions with choices, such as those of ARC and MMLU."""

from collections.abc import Callable
from string import ascii_uppercase
from typing import Any

from tinsmith.data.read.messages import text_of
from tinsmith.data.read.record import Unusable

_KEYS = ("choices", "options")
_ANSWER_KEYS = ("answer", "answerKey", "answer_key", "correct_answer", "label", "answer_idx", "answer_index")


def choices_key(look: Callable[[str], Any]) -> str | None:
    """The field with a question's choices, or None. `look` gives a field of the record."""
    if look("question") is None:
        return None
    return next((key for key in _KEYS if isinstance(look(key), list | dict)), None)


def choice_pair(key: str, look: Callable[[str], Any], take: Callable[[str], Any]) -> tuple[str, str]:
    """Question with its lettered choices, and the right choice.

    Args:
        key: The field with the choices.
        look: Gives a field of the record.
        take: The same, and the field counts as used.

    Raises:
        Unusable: the choices are not texts, or the answer is none of them.
    """
    labels, texts = _choices(take(key))
    answer_key = next((key for key in _ANSWER_KEYS if look(key) is not None), None)
    if answer_key is None:
        raise Unusable("choices without an answer")
    right = _index(take(answer_key), labels, texts)
    if right is None:
        raise Unusable("the answer is none of the choices", f"{answer_key!r} is {look(answer_key)!r}")
    lines = [f"{label}. {text}" for label, text in zip(labels, texts, strict=True)]
    return "\n".join((text_of(take("question"), "'question'") + "\n", *lines)), lines[right]


def _choices(value: Any) -> tuple[list[str], list[str]]:
    labels: Any = None
    if isinstance(value, dict) and isinstance(value.get("text"), list):
        labels, value = value.get("label"), value["text"]
    elif isinstance(value, dict):
        labels, value = list(value), list(value.values())
    if isinstance(value, list) and all(isinstance(item, dict) for item in value):
        labels = [item.get("label") for item in value]
        value = [item.get("text") for item in value]
    texts = [text_of(text, "a choice") for text in value]
    if not (isinstance(labels, list) and len(labels) == len(texts) and all(isinstance(name, str) for name in labels)):
        labels = list(ascii_uppercase[: len(texts)])
    if len(labels) != len(texts) or not texts:
        raise Unusable("a question with no choices, or more than letters", f"it has {len(texts)}")
    return labels, texts


def _index(answer: Any, labels: list[str], texts: list[str]) -> int | None:
    """Which choice the answer names: by its index from 0, its label, or its text."""
    if isinstance(answer, bool):
        return None
    if isinstance(answer, int):
        return answer if 0 <= answer < len(texts) else None
    if not isinstance(answer, str):
        return None
    for names in (texts, labels):
        if answer.strip() in names:
            return names.index(answer.strip())
    return None
