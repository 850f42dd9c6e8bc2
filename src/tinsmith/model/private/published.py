"""Find private values in files that are published, by the detector that found them in the data."""

import html
import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tinsmith.core.run_dir import files_below
from tinsmith.model.private.find import find_private
from tinsmith.model.private.item import shortened
from tinsmith.model.private.record import Hidden

_SNIFFED_BYTES = 65_536
_MARKDOWN_ESCAPE = re.compile(r"\\([!-/:-@\[-`{-~])")
_TAG = re.compile(r"<[^<>]{0,2000}>")


def text_files(folder: Path) -> list[Path]:
    """Files below `folder` that hold text, sorted. All others hold numbers: weights, vectors, pictures."""
    return [path for path in files_below(folder) if _is_text(path)]


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


@dataclass(frozen=True, slots=True)
class Leak:
    """A hidden value in a file."""

    file: str
    """Relative to the folder that was searched."""
    kind: str
    shown: str
    """Its ends."""


def leaks_in_folder(folder: Path, hidden: Hidden) -> tuple[list[Leak], int]:
    """Hidden values in the files of text below `folder`, and how many files of text there are."""
    leaks = []
    files = text_files(folder)
    for path in files:
        leaks += leaks_in_file(path, path.relative_to(folder).as_posix(), hidden)
    return leaks, len(files)


def leaks_in_file(path: Path, name: str, hidden: Hidden) -> list[Leak]:
    """Hidden values in a file of text, in any of the ways its format may write them; each value once.

    Args:
        path: The file.
        name: How the leaks name it.
        hidden: What to look for.
    """
    text = path.read_text(encoding="utf-8", errors="replace")
    return leaks_in_texts(_views(text, path.suffix), name, hidden)


def leaks_in_texts(texts: Iterable[str], name: str, hidden: Hidden) -> list[Leak]:
    """Hidden values in texts; each value once."""
    leaks: dict[str, Leak] = {}
    for text in texts:
        for item in find_private(text):
            digest = hidden.masks.digest(item)
            if digest in hidden.digests:
                leaks.setdefault(digest, Leak(name, item.kind, shortened(text[item.start : item.end])))
    return list(leaks.values())


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
