"""Kinds of files that tinsmith publishes, by ending and content. Pickles, which can run code, are not among them."""

import codecs
import re
from pathlib import Path

from tinsmith.core.run_dir import all_below

_START_BYTES = 4096
_TEXT = frozenset(
    ". .cff .conf .css .csv .htaccess .html .js .jinja .json .jsonl .md .mjs .nojekyll .svg .toml .txt".split()
)
"""Endings of texts; `.` means none."""
_MAGIC = {
    ".safetensors": re.compile(rb".{8}\{", re.DOTALL),
    ".gguf": re.compile(rb"GGUF"),
    ".onnx": re.compile(rb"\x08[\x01-\x7f]"),  # the first field of a graph is its format version
    ".wasm": re.compile(rb"\0asm"),
    ".png": re.compile(rb"\x89PNG\r\n\x1a\n"),
}
"""Ending -> how such a file starts."""
_JSON = re.compile(rb"\s*[\[{]")
_NUMBERS = re.compile(r"\.(bin|onnx_data(_[0-9]+)?)")
"""Endings of plain numbers, which can start with anything."""
_PICKLE = re.compile(rb"PK\x03\x04|\x80\x02\x8a\x0a|\x80[\x02-\x05].*\.", re.DOTALL)
"""A whole pickle or its first and last part: PyTorch's archives, its old format, and pickles of protocols 2 to 5."""


def is_pickle(path: Path) -> bool:
    """Whether the content of a file is a pickle, or an archive as PyTorch writes for pickles, whatever its name."""
    with path.open("rb") as file:
        start = file.read(_START_BYTES)
        file.seek(0, 2)
        file.seek(max(0, file.tell() - 1))
        return bool(_PICKLE.fullmatch(start[:4]) or _PICKLE.fullmatch(start[:4] + file.read()))


def unexpected_files(folder: Path) -> list[str]:
    """What is wrong with the kinds of files below `folder`: links, unknown endings, and contents of another kind."""
    problems = []
    for path in sorted(all_below(folder)):
        name = path.relative_to(folder).as_posix()
        if path.is_symlink():
            problems.append(f"{name}: a link")
        elif path.is_file() and (problem := _problem(path)):
            problems.append(f"{name}: {problem}")
    return problems


def _problem(path: Path) -> str | None:
    if is_pickle(path):
        return "a pickle or archive, which can run code when it is opened"
    ending = _ending(path)
    if _NUMBERS.fullmatch(ending):
        return None
    with path.open("rb") as file:
        start = file.read(_START_BYTES)
    if ending in _MAGIC:
        return None if _MAGIC[ending].match(start) else f"its content is not that of a {ending} file"
    if ending not in _TEXT:
        return f"unexpected kind of file ({ending})"
    if ending == ".json" and not _JSON.match(start):
        return "not a JSON object or list"
    return None if _is_text(start) else "not UTF-8 text"


def _ending(path: Path) -> str:
    """The last ending in lower case; the whole name of a hidden file, and `.` for names without an ending."""
    return (path.name if path.name.startswith(".") else path.suffix or ".").lower()


def _is_text(start: bytes) -> bool:
    try:
        codecs.getincrementaldecoder("utf-8")().decode(start)  # the last character may be cut
    except UnicodeDecodeError:
        return False
    return b"\0" not in start
