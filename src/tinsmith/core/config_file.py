"""Reads a `tinsmith.toml`, reporting every problem at once in plain words, and writes a commented one to start from."""

import difflib
import json
import os
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from tinsmith.core.config import RunConfig
from tinsmith.core.errors import ConfigError, listing
from tinsmith.core.section import Section

CONFIG_NAME = "tinsmith.toml"
_SHOWN_CHARACTERS = 60

_PLAIN_WORDS = {
    "bool_type": "must be true or false",
    "control_character": "must not contain control characters",
    "duplicate": "must not contain the same entry twice",
    "finite_number": "must be a finite number",
    "float_type": "must be a number",
    "greater_than": "must be more than {gt}",
    "greater_than_equal": "must be at least {ge}",
    "int_type": "must be a whole number",
    "less_than": "must be less than {lt}",
    "less_than_equal": "must be at most {le}",
    "literal_error": "must be {expected}",
    "model_type": "must be a table of keys and values",
    "string_pattern_mismatch": "must be lower-case letters, digits, '.', '_' or '-', with a letter or digit first",
    "string_too_long": "must have at most {max_length} characters",
    "string_too_short": "must not be empty",
    "string_type": "must be text in quotes",
    "string_unicode": "must not contain half of a surrogate pair, which is not a character",
    "too_long": "must have at most {max_length} entries",
    "too_short": "must have at least {min_length} entry",
    "tuple_type": "must be a list in square brackets",
}
"""Type of a pydantic error -> what the value must be."""


def load_config(path: Path, settings: Sequence[str] = (), values: Mapping[str, Any] | None = None) -> RunConfig:
    """The configuration in `path`, with `values` and then `settings` applied on top.

    Args:
        path: A TOML file. Paths in it are relative to its folder: `data.path`, `data.documents`, a local `base.model`
            and those of `answers`.
        settings: Such as `train.epochs=1`. The right side is parsed as TOML; if that fails, it is text.
        values: Dotted key -> value, used unchanged.

    Raises:
        ConfigError: the file is missing or not TOML, or keys or values are invalid; it lists all of these.
    """
    return _applied(_read_toml(path), path, settings, values or {})


def config_of_data(path: Path, name: str, settings: Sequence[str] = ()) -> RunConfig:
    """The default configuration for the conversations in `path`, with `settings` applied on top.

    Raises:
        ConfigError: keys or values in `settings` are invalid.
    """
    tree = {"name": name, "data": {"path": str(path.absolute())}}
    return _applied(tree, path, settings, {})


def _applied(tree: dict[str, Any], path: Path, settings: Sequence[str], values: Mapping[str, Any]) -> RunConfig:
    for key, value in values.items():
        _set_key(tree, key, value)
    for setting in settings:
        key, equals, text = setting.partition("=")
        if not equals or not key:
            raise ConfigError(f"--set {setting}: expected key=value", "Such as --set train.epochs=1")
        _set_key(tree, key, _toml_or_text(text))
    return _with_absolute_paths(validate_config(tree, str(path)), path.resolve().parent)


def validate_config(tree: Any, where: str) -> RunConfig:
    """The configuration that a tree of plain values describes.

    Args:
        tree: Parsed TOML or JSON.
        where: The file it comes from, for the message.

    Raises:
        ConfigError: keys or values are invalid; it lists all of them.
    """
    try:
        return RunConfig.model_validate(tree)
    except ValidationError as error:
        problems = [_problem(item["loc"], item["type"], item.get("ctx", {}), item) for item in error.errors()]
        raise ConfigError(
            f"{where}: {len(problems)} problem(s)\n{listing(problems)}", "All keys: docs/config.md"
        ) from error


def _problem(location: tuple[int | str, ...], kind: str, context: Mapping[str, Any], item: Mapping[str, Any]) -> str:
    """One line for one pydantic error: the key, what its value must be, and what was found."""
    key = _shown_key(location)
    if kind == "extra_forbidden":
        return f"{key}: unknown key{_nearest(location)}"
    limits = {name: _readable(value) for name, value in context.items()}
    words = _PLAIN_WORDS[kind].format(**limits) if kind in _PLAIN_WORDS else item["msg"]
    return f"{key or 'the file'}: {words} (found {_shown(item['input'])})"


def _readable(limit: Any) -> Any:
    """A whole number with thousands separators; anything else unchanged."""
    return f"{int(limit):,}" if isinstance(limit, int | float) and limit == int(limit) else limit


def _shown_key(location: tuple[int | str, ...]) -> str:
    """A dotted key, with the number of a list's entry, such as `card.examples entry 2, question`."""
    key = ""
    for part, previous in zip(location, (None, *location), strict=False):
        if isinstance(part, int):
            key += f" entry {part + 1}"
        elif isinstance(previous, int):
            key += f", {part}"
        else:
            key += f".{part}" if key else part
    return key


def _nearest(location: tuple[int | str, ...]) -> str:
    """`, did you mean ...` for the known key closest to an unknown one, or a list of the known keys."""
    section: Any = RunConfig
    for key in location[:-1]:
        fields = getattr(section, "model_fields", {})
        if key not in fields:
            return ""  # an entry of a list has too few keys to need a hint
        section = fields[key].annotation
    names = list(getattr(section, "model_fields", {}))
    close = difflib.get_close_matches(str(location[-1]), names, n=1)
    return f", did you mean {close[0]!r}?" if close else f"; known here: {', '.join(names)}"


def _shown(value: Any) -> str:
    """`value` much as a TOML file would show it, cut to a readable length."""
    text = str(value).lower() if isinstance(value, bool) else repr(list(value) if isinstance(value, tuple) else value)
    return text if len(text) <= _SHOWN_CHARACTERS else f"{text[:_SHOWN_CHARACTERS]}..."


def _read_toml(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise ConfigError(f"{path}: no such configuration file", "Make one with: tinsmith init FOLDER --data DATA")
    if path.suffix.lower() != ".toml":
        raise ConfigError(
            f"{path}: not a configuration file, whose name ends in .toml",
            "Look at the data with: tinsmith check DATA. Make a configuration for it with: "
            "tinsmith init FOLDER --data DATA",
        )
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: not UTF-8 text (byte {error.start})", "Save the file as UTF-8.") from error
    except RecursionError as error:
        raise ConfigError(f"{path}: brackets nested too deeply", "No key needs brackets nested that deep.") from error
    except ValueError as error:  # tomllib's own, or Python's for a number of thousands of digits
        raise ConfigError(
            f"{path}: not TOML: {error}",
            'Text needs quotes, such as name = "my-model", and a key may appear only once in its table.',
        ) from error


def _toml_or_text(text: str) -> Any:
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except (ValueError, RecursionError):
        return text


def _set_key(tree: dict[str, Any], key: str, value: Any) -> None:
    *sections, name = key.split(".")
    for section in sections:
        tree = tree.setdefault(section, {})
        if not isinstance(tree, dict):
            raise ConfigError(f"--set {key}: {section!r} is not a section", "Keys look like train.epochs")
    tree[name] = value


def _with_absolute_paths(config: RunConfig, folder: Path) -> RunConfig:
    updates: dict[str, Any] = {}
    paths = {"path": config.data.path, "documents": config.data.documents}
    data = {key: str(folder / path) for key, path in paths.items() if path and not path.startswith("hf:")}
    if data:
        updates["data"] = config.data.model_copy(update=data)
    keys = ("questions", "wordings", "encoder")
    answers = {key: str(folder / path) for key in keys if (path := getattr(config.answers, key))}
    if answers:
        updates["answers"] = config.answers.model_copy(update=answers)
    base: dict[str, str] = {}
    if config.base.tokenizer:
        base["tokenizer"] = str(folder / config.base.tokenizer)
    local = folder / config.base.model
    if config.base.model and not config.base.model.startswith("hf:") and os.path.exists(local):
        base["model"] = str(local)
    if base:
        updates["base"] = config.base.model_copy(update=base)
    return config.model_copy(update=updates)


def commented_toml(name: str = RunConfig().name, data_path: str = "") -> str:
    """A `tinsmith.toml` for a run called `name`: every other key at its default, with its meaning above it, to edit."""
    given = {("data", "path"): data_path}
    lines = ["# tinsmith configuration. Every key but data.path is optional; the values below are the defaults.", ""]
    sections = []
    for key, field in RunConfig.model_fields.items():
        if isinstance(field.default, Section):
            sections.append((key, field.default))
        else:
            lines += _commented_key(key, field.description, name if key == "name" else field.default)
    for key, section in sections:
        lines += ["", f"[{key}]", f"# {type(section).__doc__}"]
        for inner, field in type(section).model_fields.items():
            lines += _commented_key(inner, field.description, given.get((key, inner), field.default))
    return "\n".join(lines) + "\n"


def _commented_key(key: str, description: str | None, default: Any) -> list[str]:
    comment = [f"# {' '.join(description.split())}"] if description else []
    return [*comment, f"{key} = {toml_value(default)}"]


def toml_value(value: Any) -> str:
    """`value` as TOML text."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple):
        return f"[{', '.join(toml_value(item) for item in value)}]"
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False)
    if isinstance(value, Section):
        keys = [f"{key} = {toml_value(inner)}" for key, inner in value if inner]
        return f"{{ {', '.join(keys)} }}" if keys else "{}"
    return str(value)
