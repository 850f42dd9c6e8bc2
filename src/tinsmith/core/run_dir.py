"""Every path in a run folder, by name; hashes of files and folders; crash-safe writes.

A run folder is self-contained: the card can be rebuilt and verified from a copy of it.
"""

import errno
import hashlib
import json
import os
import re
import secrets
import shutil
import sys
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, BinaryIO

from tinsmith.core.errors import ArtifactError

NO_FOLLOW = getattr(os, "O_NOFOLLOW", 0)
"""Flag of `os.open`: fail if the path is a symbolic link. 0 on Windows, which has no such flag."""

_UNFINISHED = re.compile(r"\.[0-9a-f]{16}\.tmp")
"""Names of files that `replacing` has not finished."""

CHECKSUMS_FILE = "SHA256SUMS"
"""Name of the file with the SHA-256 of every other file of a folder."""


@dataclass(frozen=True, slots=True)
class RunDir:
    """Names the parts of a run folder; creates nothing."""

    root: Path

    @property
    def mark(self) -> Path:
        """File that marks the folder as tinsmith's and identifies its configuration file."""
        return self.root / "tinsmith-run.json"

    @property
    def config(self) -> Path:
        """The configuration with every default and resolved `auto`, as JSON."""
        return self.root / "config.json"

    @property
    def measurements(self) -> Path:
        """Every measurement of this run. Lines are only added; the whole file is rewritten and renamed each time."""
        return self.root / "measurements.jsonl"

    @property
    def failed_gates(self) -> Path:
        """Measurements of stages that a gate stopped. Lines are added as to `measurements`."""
        return self.root / "failed_gates.jsonl"

    @property
    def environments(self) -> Path:
        """Hardware and software behind the measurements, one file per combination."""
        return self.root / "environments"

    @property
    def received(self) -> Path:
        """Results that other devices sent, with their signatures."""
        return self.root / "received"

    @property
    def imported(self) -> Path:
        """Judgements of the answers that were imported into the run: folders `reviews` and `judgements`."""
        return self.root / "imported"

    @property
    def reviews(self) -> Path:
        """Reviews by people, one file for each rater."""
        return self.imported / "reviews"

    @property
    def judgements(self) -> Path:
        """Judgements by language models."""
        return self.imported / "judgements"

    @property
    def stamps(self) -> Path:
        """One file per finished stage: what it read, what it wrote, and when."""
        return self.root / "stamps"

    @property
    def work(self) -> Path:
        """Unfinished stages, one folder per stage and fingerprint; renamed into place when complete."""
        return self.root / ".work"

    def stage(self, name: str) -> Path:
        """Output folder of a finished stage: `base`, `data`, `train`, ..."""
        return self.root / name

    def stamp(self, name: str) -> Path:
        """The stamp of stage `name`."""
        return self.stamps / f"{name}.json"


def file_sha256(path: Path) -> str:
    """Hex sha256 of one file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def tree_sha256s(folder: Path) -> dict[str, str]:
    """Relative POSIX path -> sha256 of every file below `folder`, sorted by path.

    Raises:
        ArtifactError: the folder contains a symbolic link, whose target could change unnoticed.
        OSError: a file or folder cannot be read.
    """
    sha256s = {}
    for path in sorted(all_below(folder)):
        if path.is_symlink():
            raise ArtifactError(f"{path}: symbolic link in a run folder", "Replace it with the file itself.")
        if path.is_file():
            sha256s[path.relative_to(folder).as_posix()] = file_sha256(path)
    return sha256s


def entries(folder: Path, pattern: str = "*") -> list[Path]:
    """Everything in `folder` whose name matches `pattern`, sorted; nothing if there is no such folder.

    Unlike `Path.glob`, it does not take a folder that cannot be read for an empty one.

    Raises:
        OSError: the folder exists and cannot be listed.
    """
    try:
        names = os.listdir(folder)
    except (FileNotFoundError, NotADirectoryError):
        return []
    return sorted(folder / name for name in names if fnmatchcase(name, pattern))


def files_below(folder: Path) -> list[Path]:
    """Every file below `folder`, sorted; none if there is no such folder.

    Raises:
        OSError: a folder exists and cannot be listed.
    """
    return sorted(path for path in all_below(folder) if path.is_file())


def all_below(folder: Path) -> Iterator[Path]:
    """Everything below `folder`. Unlike `rglob`, it does not pass over what cannot be read.

    Raises:
        OSError: a folder exists and cannot be listed.
    """

    def stop(error: OSError) -> None:
        if not isinstance(error, FileNotFoundError | NotADirectoryError):
            raise error

    for root, folders, files in os.walk(folder, onerror=stop):
        yield from (Path(root) / name for name in (*folders, *files))


def write_checksums(folder: Path) -> None:
    """Write the digests of all other files below `folder` to its `SHA256SUMS`, which pages check and `sha256sum` reads.

    Raises:
        ArtifactError: the folder contains a symbolic link.
    """
    (folder / CHECKSUMS_FILE).unlink(missing_ok=True)
    lines = (f"{digest}  {name}\n" for name, digest in tree_sha256s(folder).items())
    write_text(folder / CHECKSUMS_FILE, "".join(lines))


def combined_sha256(parts: Any) -> str:
    """sha256 of a JSON-able value, independent of key order."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True, ensure_ascii=False).encode()).hexdigest()


@contextmanager
def replacing(path: Path) -> Generator[Path]:
    """A new path beside `path`, whose file replaces the one at `path` at the end, for good.

    A crash, a full disk or an error inside the block leaves either the old file or the new one, never a part. The new
    name is random, so nothing is ever written through a link.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f".{secrets.token_hex(8)}.tmp")
    try:
        yield unfinished
        _sync_file(unfinished)
        os.replace(unfinished, path)
    except BaseException:
        unfinished.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def write_bytes(path: Path, content: bytes) -> None:
    """Replace the file at `path`; see `replacing`."""
    with replacing(path) as unfinished:
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | NO_FOLLOW | getattr(os, "O_BINARY", 0)
        with os.fdopen(os.open(unfinished, flags, 0o666), "wb") as file:
            file.write(content)


def sync_tree(folder: Path) -> None:
    """Make `folder` survive a power failure with everything below it: content, names and renames."""
    for path in all_below(folder):
        if path.is_dir():
            sync_folder(path)
        else:
            _sync_file(path)
    sync_folder(folder)


def _sync_file(path: Path) -> None:
    """Make the content of a file survive a power failure. Windows syncs only files opened for writing."""
    descriptor = os.open(path, os.O_RDWR if os.name == "nt" else os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_folder(folder: Path) -> None:
    """Make renames in `folder` survive a power failure. Does nothing on Windows, which cannot open folders."""
    if os.name != "posix":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def is_unfinished(path: Path) -> bool:
    """Whether `path` was left behind by a process that was killed inside `replacing`."""
    return _UNFINISHED.fullmatch(path.name) is not None


def write_text(path: Path, text: str) -> None:
    """`write_bytes` of `text` in UTF-8."""
    write_bytes(path, text.encode())


def write_json(path: Path, value: Any) -> None:
    """`write_text` of indented JSON; NaN is refused."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def read_json(path: Path) -> Any:
    """The JSON value in `path`.

    Raises:
        ArtifactError: the file is missing or not JSON.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise ArtifactError(f"{path}: missing", "Run the stage that writes it: tinsmith run") from error
    except ValueError as error:
        raise ArtifactError(f"{path}: not JSON ({error})", "Run its stage again with --force.") from error


def read_stamp(path: Path) -> dict[str, Any]:
    """The stamp of a finished stage.

    Raises:
        ArtifactError: the stamp is missing, not JSON, or lacks a required key.
    """
    stamp = read_json(path)
    for key in ("fingerprint", "outputs", "measurements"):
        if not isinstance(stamp, dict) or key not in stamp:
            raise ArtifactError(f"{path}: no {key!r}", f"Run its stage again: --from {path.stem} --force")
    return stamp


def copy_file(source: Path, target: Path) -> None:
    """Copy `source` to `target`. If the file system supports it, both share disk space until one of them changes."""
    target.parent.mkdir(parents=True, exist_ok=True)
    target.unlink(missing_ok=True)
    with source.open("rb") as reader, target.open("xb") as writer:
        if not _clone(reader, writer):
            shutil.copyfileobj(reader, writer, 1 << 20)


def _clone(reader: BinaryIO, writer: BinaryIO) -> bool:
    """Let the kernel copy the file. False if it cannot; both files are then back at their start."""
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
    """Make `target` a hard link to `source` if the file system allows it, to save disk space; otherwise a copy.

    A link and its source are one file, so use this only within a run, never for installed files or the user's own.
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
