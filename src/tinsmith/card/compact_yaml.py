"""YAML on few lines: a hub reads the same, and a person can see the whole block."""

from typing import Any

import yaml


class _OneLine(dict):
    """A mapping that is written on one line."""


class _Dumper(yaml.SafeDumper):
    pass


_Dumper.add_representer(
    _OneLine, lambda dumper, value: dumper.represent_mapping("tag:yaml.org,2002:map", value, flow_style=True)
)


def compact_yaml(text: str) -> str:
    """The same YAML, with each list of words, and each mapping in a list, on one line."""
    tree = yaml.safe_load(text) or {}
    return "".join(
        yaml.dump(
            {key: _short(value)},
            Dumper=_Dumper,
            sort_keys=False,
            allow_unicode=True,
            width=float("inf"),
            default_flow_style=None if _is_words(value) else False,
        )
        for key, value in tree.items()
    )


def _is_words(value: Any) -> bool:
    return isinstance(value, list) and not any(isinstance(item, dict | list) for item in value)


def _short(value: Any) -> Any:
    return [_OneLine(item) if isinstance(item, dict) else item for item in value] if isinstance(value, list) else value
