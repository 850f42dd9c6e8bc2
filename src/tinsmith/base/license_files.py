"""Find the licence files of a model, without those of other models in the same folder.

These files are published with the model. So a file counts only if its place or name ties it to the model, and only if
it is a small text. Links are not followed.
"""

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path

_MAX_BYTES = 1 << 20
_WORDS = re.compile(
    r"((gemma|llama|meta[ _-]llama|qwen|smollm|model|third[ _-]party|acceptable|prohibited|gemma[ _-]prohibited)[ _-])?"
    r"(licen[cs]es?|unlicense|copying|copyright|notices?|use[ _-]policy|terms|eula)([ ._-].*)?"
)
"""Names of licence files, in lower case."""
_ENDINGS = re.compile(
    r"(\.(txt|md|markdown|rst|html?|\d+|apache\d*|mit|bsd\d*|[la]?gpl\w*|lesser|mpl\w*|gemma|llama\w*))?"
)
"""Accepted endings: no ending, that of a text file, or the name of a licence, as in `LICENSE.MIT`. A file with another
ending may be a secret, such as `license.key`."""

_MODEL_FILES = """config.json generation_config.json tokenizer.json tokenizer_config.json special_tokens_map.json
    added_tokens.json chat_template.jinja chat_template.json vocab.json merges.txt tokenizer.model params template
    system""".split()
"""Files that often accompany a GGUF file. A folder with other files does not belong to the model alone."""


@dataclass(frozen=True, slots=True)
class LicenseText:
    """A licence file that is published with the model."""

    name: str
    content: bytes
    """UTF-8 text."""
    reason: str
    """Why it belongs to the model."""


@dataclass(frozen=True, slots=True)
class LicenseFiles:
    """Licence files in a folder: those to publish, and those left out, with reasons."""

    published: tuple[LicenseText, ...]
    left_out: tuple[str, ...]
    """Such as `LICENSE: a link, and links are not followed`."""


def is_license_name(name: str) -> bool:
    """Whether `name` is a usual name for a licence, in any case: `LICENSE`, `Licence.txt`, `gemma terms.html`."""
    lower = name.lower()
    return (
        name.isascii()
        and name.isprintable()
        and bool(_WORDS.fullmatch(lower) and _ENDINGS.fullmatch(Path(lower).suffix))
    )


def folder_files(folder: Path, reason: str) -> LicenseFiles:
    """The licence files directly in a model's own folder."""
    return _read_all({path: reason for path in sorted(folder.iterdir()) if is_license_name(path.name)})


def gguf_files(path: Path) -> LicenseFiles:
    """The licence files beside a GGUF file that belong to it: by name, or because the folder holds nothing else."""
    reasons = {
        entry: f"named after {path.name}" for entry in sorted(path.parent.iterdir()) if _is_named_after(entry, path)
    }
    beside = [entry for entry in sorted(path.parent.iterdir()) if is_license_name(entry.name) and entry not in reasons]
    if is_alone(path):
        return _read_all(reasons | dict.fromkeys(beside, f"its folder holds nothing but {path.name}"))
    files = _read_all(reasons)
    reason = f"its folder holds more than {path.name}"
    left_out = [
        f"{entry.name}: {reason}; if this file belongs to that model, rename it to {path.stem}.{entry.name}"
        for entry in beside
    ]
    left_out += [f"{entry.name}: {reason}" for entry in sorted(path.parent.iterdir()) if _is_readme(entry)]
    return LicenseFiles(files.published, (*files.left_out, *left_out))


def is_alone(path: Path) -> bool:
    """Whether the folder of a GGUF file holds nothing but this model: no other model, folder or unrelated file."""
    return all(
        entry.name == path.name
        or entry.name.startswith(".")
        or (not entry.is_dir() and (_is_readme(entry) or entry.name in _MODEL_FILES or is_license_name(entry.name)))
        or _is_named_after(entry, path)
        for entry in sorted(path.parent.iterdir())
    )


def gguf_license_inputs(path: Path) -> list[str]:
    """Everything beside a GGUF file that determines its licence, as text for a fingerprint."""
    files = gguf_files(path)
    readme = readme_of(path.parent) if is_alone(path) else None
    texts = [*files.published, *([readme] if readme else [])]
    return [*(f"{text.name}: {hashlib.sha256(text.content).hexdigest()}" for text in texts), *files.left_out]


def readme_of(folder: Path) -> LicenseText | None:
    """The README of a model's own folder, if there is one and it is a small text."""
    for entry in sorted(folder.iterdir()):
        if _is_readme(entry):
            content = _read(entry)
            return None if isinstance(content, str) else LicenseText(entry.name, content, "")
    return None


def _is_readme(entry: Path) -> bool:
    return entry.name.lower() == "readme.md"


def _is_named_after(entry: Path, path: Path) -> bool:
    """Whether a licence file carries the model file's name: `tiny.LICENSE`, `tiny-licence.txt`, `LICENSE.tiny.md`."""
    name, stem = entry.name.lower(), path.stem.lower()
    if name.startswith(stem):
        return name[len(stem) :][:1] in tuple(" ._-") and is_license_name(name[len(stem) + 1 :])
    before, _, ending = name.partition(stem)
    return (
        Path("x" + ending).suffix == ending and before[-1:] in tuple(" ._-") and is_license_name(before[:-1] + ending)
    )


def _read_all(reasons: dict[Path, str]) -> LicenseFiles:
    published, left_out = [], []
    for path, reason in sorted(reasons.items()):
        content = _read(path)
        if isinstance(content, str):
            left_out.append(f"{path.name}: {content}")
        else:
            published.append(LicenseText(path.name, content, reason))
    return LicenseFiles(tuple(published), tuple(left_out))


def _read(path: Path) -> bytes | str:
    """The UTF-8 text in `path`, or the reason not to publish it."""
    if path.is_symlink() and not _is_in_hub_cache(path):
        return "a link, and links are not followed"
    if not path.is_file():
        return "not a file"
    with path.open("rb") as file:
        content = file.read(_MAX_BYTES + 1)
    if len(content) > _MAX_BYTES:
        return f"larger than {_MAX_BYTES // 1000} kB"
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError:
        return "not UTF-8 text"
    return "not text" if "\0" in text else content


def _is_in_hub_cache(link: Path) -> bool:
    """Whether `link` is part of a snapshot in the Hugging Face Hub's cache, where every file is a link."""
    folder = link.parent.resolve()
    return folder.parent.name == "snapshots" and link.resolve().parent == folder.parent.parent / "blobs"
