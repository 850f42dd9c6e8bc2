"""Every path in a run folder, by name; hashes of files and folders; crash-safe writes.

A run folder is the whole truth: copy it, and the card can be rebuilt and verified from it.
"""

import errno
import hashlib
import json
import os
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from tinsmith.core.errors import ArtifactError


@dataclass(frozen=True, slots=True)
class RunDir:
    """Names the parts of a run folder; creates nothing."""

    root: Path

    @property
    def config(self) -> Path:
        """The configuration with every default and resolved `auto`, as JSON."""
        return self.root / "config.json"

    @property
    def measurements(self) -> Path:
        """Every measurement ever taken in this run, append-only."""
        return self.root / "measurements.jsonl"

    @property
    def environments(self) -> Path:
        return self.root / "environments"

    @property
    def received(self) -> Path:
        """Results that other devices sent, as they signed them."""
        return self.root / "received"

    @property
    def stamps(self) -> Path:
        return self.root / "stamps"

    @property
    def work(self) -> Path:
        """Unfinished stages, one folder per stage and fingerprint; renamed into place when complete."""
        return self.root / ".work"

    def stage(self, name: str) -> Path:
        """Output folder of a finished stage: `base`, `data`, `train`, ..."""
        return self.root / name

    def stamp(self, name: str) -> Path:
        return self.stamps / f"{name}.json"


def file_sha256(path: Path) -> str:
    """Hex sha256 of one file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def tree_sha256s(folder: Path) -> dict[str, str]:
    """Relative POSIX path -> sha256 of every file below `folder`, sorted by path.

    Raises:
        ArtifactError: the folder holds a symbolic link; what it points at could change unseen.
    """
    found = {}
    for path in sorted(folder.rglob("*")):
        if path.is_symlink():
            raise ArtifactError(f"{path}: symbolic link in a run folder", "Replace it with the file itself.")
        if path.is_file():
            found[path.relative_to(folder).as_posix()] = file_sha256(path)
    return found


def combined_sha256(parts: Any) -> str:
    """sha256 of a JSON-able value, independent of key order."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True, ensure_ascii=False).encode()).hexdigest()


def write_text(path: Path, text: str) -> None:
    """Write `text` so that a crash leaves either the old file or the new one, never a part."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(path.name + ".tmp")
    with temporary.open("w", encoding="utf-8", newline="\n") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, path)


def write_json(path: Path, value: Any) -> None:
    """`write_text` of indented JSON; NaN is refused."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def read_json(path: Path) -> Any:
    """The JSON value in `path`.

    Raises:
        ArtifactError: missing or not JSON.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise ArtifactError(f"{path}: missing", "Run the stage that writes it: tinsmith run") from error
    except ValueError as error:
        raise ArtifactError(f"{path}: not JSON ({error})", "Rerun its stage with --force.") from error


def copy_file(source: Path, target: Path) -> None:
    """Copy `source` to `target`; where the file system can, the copy shares disk space until one of them changes."""
    target.parent.mkdir(parents=True, exist_ok=True)
    target.unlink(missing_ok=True)
    with source.open("rb") as reader, target.open("xb") as writer:
        if not _clone(reader, writer):
            shutil.copyfileobj(reader, writer, 1 << 20)


def _clone(reader: BinaryIO, writer: BinaryIO) -> bool:
    """Whether the kernel copied the whole file by itself."""
    if sys.platform != "linux":
        return False
    try:
        while os.copy_file_range(reader.fileno(), writer.fileno(), 1 << 30):
            pass
    except OSError as error:
        if error.errno in (errno.EXDEV, errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP) and not reader.seek(0):
            writer.seek(0)
            return False
        raise
    return True


def link_or_copy(source: Path, target: Path) -> None:
    """Put `source` at `target` without using disk space twice where the file system can.

    Both may then be one file: for files of the same run only, never for files of the installation or of a person.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    target.unlink(missing_ok=True)
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)


def cache_dir() -> Path:
    """The user's cache folder for tinsmith (`TINSMITH_CACHE`, else the platform's)."""
    if "TINSMITH_CACHE" in os.environ:
        return Path(os.environ["TINSMITH_CACHE"])
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "tinsmith"
