"""Propose `data.fields` for records of an unknown shape."""

from collections.abc import Sequence
from statistics import mean
from typing import Any

from pydantic import ValidationError

from tinsmith.core.config_file import toml_value
from tinsmith.core.field_map import FieldMap

_QUESTION_NAMES = ("question", "query", "prompt", "ask", "frage", "pregunta", "domanda", "title", "subject", "input")
_ANSWER_NAMES = ("answer", "reply", "response", "antwort", "respuesta", "risposta", "reponse", "body", "output")
_MOST_PATHS = 50
_SINGLE = ("role", "content", "assistant")
"""Fields of messages, which have one name in all records."""


def proposal(values: Sequence[Any], known: FieldMap | None = None) -> str:
    """A sentence with the line for `[data]` that says which fields hold question and answer.

    Args:
        values: Records that are no conversation; the first few are enough.
        known: `data.fields` as it is, which other records need; the line keeps it.

    Returns:
        Empty if the records have no two texts, or their fields have names that a configuration cannot hold.
    """
    try:
        fields = _message_fields(values) or _text_fields(_texts(values))
        if fields and known:
            fields = _joined(known, fields)
    except ValidationError:  # control characters, or a name of 20,000 characters
        return ""
    return f"Say which fields are which, in [data]: fields = {toml_value(fields)}" if fields else ""


def _joined(known: FieldMap, proposed: FieldMap) -> FieldMap | None:
    """Both, where a field may have either name; None where only one name is possible."""
    old, new = (fields.model_dump(exclude_defaults=True) for fields in (known, proposed))
    if any(old.get(key, value) != value for key, value in new.items() if key in _SINGLE):
        return None
    joined = {key: f"{old[key]}|{value}" for key, value in new.items() if old.get(key, value) != value}
    return FieldMap(**{**new, **old, **joined})


def _text_fields(texts: dict[str, list[str]]) -> FieldMap | None:
    if len(texts) < 2:
        return None
    question = _best(texts, _QUESTION_NAMES, is_long=False)
    rest = {path: values for path, values in texts.items() if path != question}
    return FieldMap(question=question, answer=_best(rest, _ANSWER_NAMES, is_long=True))


def _best(texts: dict[str, list[str]], names: Sequence[str], is_long: bool) -> str:
    """The path whose name says it, else whose texts do: a question is short and ends in a question mark."""

    def fitness(path: str) -> tuple[float, float, float]:
        says_so = max((len(names) - index for index, name in enumerate(names) if name in path.lower()), default=0)
        asks = mean(text.rstrip().endswith(("?", "？", "؟")) for text in texts[path])
        length = mean(len(text) for text in texts[path])
        return says_so, 0 if is_long else asks, length if is_long else -length

    return max(texts, key=fitness)


def _texts(values: Sequence[Any]) -> dict[str, list[str]]:
    """Dotted path -> texts there, for every path below the records that leads to text."""
    texts: dict[str, list[str]] = {}

    def add(value: Any, path: str) -> None:
        if isinstance(value, str) and path and (path in texts or len(texts) < _MOST_PATHS):
            texts.setdefault(path, []).append(value)
        elif isinstance(value, dict) and path.count(".") < 3:
            for key, inner in value.items():
                add(inner, f"{path}.{key}" if path else str(key))

    for value in values:
        add(value, "")
    return texts


def _message_fields(values: Sequence[Any]) -> FieldMap | None:
    """The fields of a list of objects with a short and a longer text each, which may be a role and a message."""
    for value in values:
        for key, inner in value.items() if isinstance(value, dict) else ():
            if not (isinstance(inner, list) and len(inner) > 1 and all(isinstance(item, dict) for item in inner)):
                continue
            columns = {
                name: [item[name] for item in inner]
                for name in inner[0]
                if all(isinstance(item.get(name), str) for item in inner)
            }
            roles = [name for name, texts in columns.items() if len(set(texts)) == 2]
            if len(columns) > 1 and roles:
                lengths = {name: sum(map(len, texts)) for name, texts in columns.items()}
                role = min(roles, key=lambda name: lengths[name])
                content = max(columns.keys() - {role}, key=lambda name: (lengths[name], name))
                return FieldMap(messages=key, role=role, content=content, assistant=columns[role][-1])
    return None
