"""Find private values in files that are published, by the detector that found them in the data."""

import html
import json
import re
from collections.abc import Container, Iterable, Iterator
from pathlib import Path
from typing import Any

from tinsmith.model.private.masks import Masks

_SNIFFED_BYTES = 65_536
_MARKDOWN_ESCAPE = re.compile(r"\\([!-/:-@\[-`{-~])")
_TAG = re.compile(r"<[^<>]{0,2000}>")


def text_files(folder: Path) -> list[Path]:
    """Files below `folder` that hold text, sorted. All others hold numbers: weights, vectors, pictures."""
    return [path for path in sorted(folder.rglob("*")) if path.is_file() and _is_text(path)]


def _is_text(path: Path) -> bool:
    with path.open("rb") as file:
        start = file.read(_SNIFFED_BYTES)
    if b"\0" in start:
        return False
    try:
        start.decode("utf-8")
    except UnicodeDecodeError as error:
        # The cut may have gone through a character.
        return len(start) == _SNIFFED_BYTES and error.start > len(start) - 4
    return True


def hidden_in_file(path: Path, masks: Masks, hidden: Container[str]) -> set[str]:
    """Digests of hidden values that a file of text contains, in any of the ways its format may write them."""
    text = path.read_text(encoding="utf-8", errors="replace")
    return {digest for view in _views(text, path.suffix) for digest in hidden_in_text(view, masks, hidden)}


def hidden_in_text(text: str, masks: Masks, hidden: Container[str]) -> set[str]:
    """Digests of hidden values in a text."""
    return {digest for item in masks.items(text) if (digest := masks.digest(item)) in hidden}


def _views(text: str, ending: str) -> Iterator[str]:
    """The text as it is, and as a reader of its format sees it."""
    yield text
    if ending in (".json", ".jsonl", ".webmanifest"):
        yield "\n".join(_strings(_parsed(text)))
    elif ending in (".html", ".htm", ".svg", ".xml"):
        yield html.unescape(_TAG.sub(" ", text))
        yield html.unescape(_TAG.sub("", text))
    elif ending in (".md", ".cff", ".yaml", ".yml"):
        yield html.unescape(_MARKDOWN_ESCAPE.sub(r"\1", text))


def _parsed(text: str) -> list[Any]:
    """Values of a JSON document or of JSON lines; none if it is neither."""
    for documents in ([text], text.splitlines()):
        try:
            return [json.loads(document) for document in documents]
        except ValueError:
            continue
    return []


def _strings(value: Any) -> Iterable[str]:
    """Every text in a JSON value, keys too. A loop, because values may be nested deeply."""
    waiting = [value]
    while waiting:
        one = waiting.pop()
        if isinstance(one, str):
            yield one
        elif isinstance(one, list):
            waiting += one
        elif isinstance(one, dict):
            waiting += [*one.keys(), *one.values()]
