"""Change single keys in a user's `tinsmith.toml` and keep its comments and all other keys."""

import json
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import tomlkit
from tomlkit.exceptions import TOMLKitError

from tinsmith.core.config import CardExample
from tinsmith.core.errors import ConfigError
from tinsmith.core.run_dir import write_text

_JOINERS = "\u200c\u200d"
"""Invisible characters that many scripts and emoji need, so they are not escaped."""

Value = bool | str | CardExample | Sequence[str | CardExample]


def printable(text: str) -> str:
    """`text` with control and other invisible characters escaped, so that it cannot control a terminal."""
    return "".join(c if c.isprintable() or c in _JOINERS else _escape(c) for c in text)


def _escape(character: str) -> str:
    code = ord(character)
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def toml_text(value: Value) -> str:
    """`value` as TOML; a list has one item per line."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return printable(json.dumps(value, ensure_ascii=False))
    if isinstance(value, CardExample):
        return f"{{ question = {toml_text(value.question)}, reference = {toml_text(value.reference)} }}"
    return "[\n" + "".join(f"    {toml_text(item)},\n" for item in value) + "]" if value else "[]"


def set_keys(path: Path, values: dict[tuple[str, str], Value]) -> None:
    """Set keys in a TOML file, each given as section and name.

    Raises:
        ConfigError: the file cannot be read or written, or the change would affect other keys.
    """
    try:
        before = path.read_bytes().decode()
        document = tomlkit.parse(before)
        for (section, key), value in values.items():
            if section not in document:
                document.add(section, tomlkit.table())
            document[section][key] = tomlkit.parse(f"{key} = {toml_text(value)}\n")[key]
        after = tomlkit.dumps(document)
    except (OSError, ValueError, TOMLKitError, TypeError) as error:
        raise ConfigError(f"{path}: cannot be changed ({error})", _HINT) from error
    if _without(tomllib.loads(after), values) != _without(tomllib.loads(before), values):
        raise ConfigError(f"{path}: setting {_names(values)} would also change other keys", _HINT)
    try:
        write_text(path.resolve(), after)
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}", _HINT) from error


_HINT = "Add the keys by hand; `tinsmith approve CONFIG --list` prints them."


def _names(keys: dict[tuple[str, str], Any]) -> str:
    return ", ".join(f"{section}.{key}" for section, key in keys)


def _without(tree: dict[str, Any], keys: dict[tuple[str, str], Any]) -> dict[str, Any]:
    """`tree` without `keys`, and without sections that become empty."""
    rest = {name: dict(value) if isinstance(value, dict) else value for name, value in tree.items()}
    for section, key in keys:
        rest.get(section, {}).pop(key, None)
    return {name: value for name, value in rest.items() if value != {}}
