"""Read the JSON files of a model from strangers: bounded, and checked before libraries with no limits get them."""

import json
from pathlib import Path
from typing import Any

from tinsmith.base.sandbox import shared_sandbox
from tinsmith.core.errors import BaseModelError

_MAX_BYTES = {"config.json": 1 << 20, "tokenizer.json": 1 << 26, "model.safetensors.index.json": 1 << 24}
_MAX_OTHER_BYTES = 1 << 23
"""Largest files. Gemma 3's tokenizer.json has 33 MB, its tokenizer_config.json 1.2 MB."""
_BYTES_PER_CONTAINER = 8
"""Fewest bytes of text for each list or object in it, on average; each takes at least 56 bytes of memory."""
_MANY_CONTAINERS = 1000
_HINT = "Download the model again, or choose another."

INVALID = (ValueError, LookupError, TypeError, AttributeError, ArithmeticError, RuntimeError, OSError)
"""Exceptions of Transformers for values in a model's files that it does not expect."""

_MAX_LAYERS, _MAX_SIZE = 1024, 1 << 31
_MAX_LIST = 4096
"""Longest list in `config.json`, which has one entry for each layer."""

_MAX_TOKENS, _MAX_ADDED_TOKENS, _MAX_TOKEN_CHARACTERS = 1 << 20, 1 << 16, 1 << 10
_TOKENIZER_CPU_SECONDS, _TOKENIZER_MEMORY_BYTES = 10, 2 << 30
_PROBE_CHARACTERS = 2000
_PROBES = [part * (_PROBE_CHARACTERS // len(part)) + "!" for part in ("a", " ", "1", "\n", "é", "a ", "'", "aA1_ \n")]
"""Texts on which a pattern that takes exponential time does so."""


def read_object(path: Path, where: str) -> dict[str, Any]:
    """The JSON object in a file of a model.

    Raises:
        BaseModelError: the file is missing, too large, or not such an object.
    """
    name = f"{where}/{path.name}"
    limit = _MAX_BYTES.get(path.name, _MAX_OTHER_BYTES)
    try:
        if path.stat().st_size > limit:
            raise BaseModelError(f"{name}: larger than {limit >> 20} MB", _HINT)
        content = path.read_bytes()
    except OSError as error:
        raise BaseModelError(f"{name}: cannot be read ({error.strerror})", "Check the file.") from error
    containers = content.count(b"[") + content.count(b"{")
    if containers > max(_MANY_CONTAINERS, len(content) // _BYTES_PER_CONTAINER):
        raise BaseModelError(f"{name}: {containers} lists and objects in {len(content)} bytes", _HINT)
    try:
        tree = json.loads(content.decode("utf-8"))
    except RecursionError as error:
        raise BaseModelError(f"{name}: lists and objects are nested too deeply", _HINT) from error
    except ValueError as error:
        raise BaseModelError(f"{name}: not JSON ({str(error)[:200]})", _HINT) from error
    if not isinstance(tree, dict):
        raise BaseModelError(f"{name}: not a JSON object", _HINT)
    return tree


def check_config(config: dict[str, Any], where: str) -> None:
    """Refuse sizes in `config.json` for which Transformers would run out of memory before it compares any weights.

    Raises:
        BaseModelError: a size is too large, or a list too long.
    """
    layers = config.get("num_hidden_layers", 1)
    if isinstance(layers, bool) or not isinstance(layers, int) or not 1 <= layers <= _MAX_LAYERS:
        raise BaseModelError(f"{where}/config.json: num_hidden_layers is {_shown(layers)}, expected 1 to 1024", _HINT)
    for key, value in _numbers_and_lists(config):
        if isinstance(value, list):
            if len(value) > _MAX_LIST:
                raise BaseModelError(f"{where}/config.json: {_shown(key)} has {len(value)} entries", _HINT)
        elif abs(value) >= _MAX_SIZE and isinstance(value, int):
            raise BaseModelError(f"{where}/config.json: {_shown(key)} is {_shown(value)}, too large", _HINT)


def _numbers_and_lists(tree: dict[str, Any]) -> list[tuple[str, Any]]:
    """Numbers and lists of an object and of the objects in it, with their keys."""
    items: list[tuple[str, Any]] = []
    rest: list[tuple[str, Any]] = list(tree.items())
    while rest:
        key, value = rest.pop()
        if isinstance(value, dict):
            rest += value.items()
        elif isinstance(value, list):
            items.append((key, value))
            rest += [(key, item) for item in value]
        elif isinstance(value, int | float):
            items.append((key, value))
    return items


def check_tokenizer(path: Path, where: str) -> dict[str, Any]:
    """Check the form of a `tokenizer.json`, and that it loads and splits texts within the sandbox's limits.

    Returns:
        The whole file.

    Raises:
        BaseModelError: the file is not a tokenizer, or takes too much time or memory.
    """
    tree = read_object(path, where)
    name = f"{where}/{path.name}"
    problem = _tokenizer_problem(tree)
    if problem:
        raise BaseModelError(f"{name}: {problem}", _HINT)
    result = shared_sandbox().run(
        "tokenize",
        name,
        cpu_seconds=_TOKENIZER_CPU_SECONDS,
        memory_bytes=_TOKENIZER_MEMORY_BYTES,
        tokenizer=path.read_text(encoding="utf-8"),
        texts=_PROBES,
    )
    if "error" in result:
        raise BaseModelError(f"{name}: not a tokenizer ({result['error']})", _HINT)
    return tree


def _tokenizer_problem(tree: dict[str, Any]) -> str | None:
    model = tree.get("model")
    vocabulary = model.get("vocab") if isinstance(model, dict) else None
    if not isinstance(vocabulary, dict):
        return "no vocabulary of tokens and their ids"
    if len(vocabulary) > _MAX_TOKENS:
        return f"{len(vocabulary)} tokens, more than {_MAX_TOKENS}"
    for token, token_id in vocabulary.items():
        if not _is_id(token_id) or len(token) > _MAX_TOKEN_CHARACTERS:
            return f"token {_shown(token)} has id {_shown(token_id)}"
    added = tree.get("added_tokens", [])
    if not isinstance(added, list) or len(added) > _MAX_ADDED_TOKENS:
        return "added_tokens is not a list of at most 65,536 tokens"
    for token in added:
        content = token.get("content") if isinstance(token, dict) else None
        if not isinstance(content, str) or not 0 < len(content) <= _MAX_TOKEN_CHARACTERS or not _is_id(token.get("id")):
            return f"added token {_shown(token)}"
    return None


def _is_id(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < _MAX_SIZE


def _shown(value: Any) -> str:
    text = repr(value) if not isinstance(value, int) or abs(value) < 1 << 64 else "a number of more than 64 bits"
    return text if len(text) <= 60 else text[:60] + "..."
