"""A data set of the Hugging Face Hub as a folder of data files: one commit, no scripts, nothing that runs."""

import glob
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import quote

from tinsmith.core.errors import ArtifactError, DataError
from tinsmith.core.hub import PREFIX, Repository, Snapshot, Unreachable, fetch_snapshot
from tinsmith.core.run_dir import cache_dir, read_json, write_json
from tinsmith.data.read.formats import ENDINGS

_PATH = re.compile(r"hf:(?P<id>[^@#]+)(?:@(?P<revision>[^#]+))?(?:#(?P<part>.+))?")
_HINT = "Write data.path as hf:organisation/name, hf:organisation/name@revision or hf:organisation/name@revision#split."
_SHARD = re.compile(r"-\d{5}-of-\d{5}$")
_PAGES = (".md", ".markdown", ".html", ".htm", ".txt", ".text", ".docx", ".pdf")
"""Endings of descriptions more often than of data, which count if nothing else is there or the README names them."""


@dataclass(frozen=True, slots=True)
class HubData:
    """Where data of the Hub came from, for the report and the card."""

    id: str
    revision: str
    """The commit."""
    part: str
    """Configuration and split that were asked for; empty for the usual ones."""
    license: str
    """As the Hub gives it; empty if it gives none."""

    @property
    def address(self) -> str:
        """The page of this commit."""
        return f"https://huggingface.co/datasets/{self.id}/tree/{self.revision}"

    @property
    def note(self) -> str:
        """One line for the owner."""
        part = f", {self.part}" if self.part else ""
        return f"{self.address}{part}; licence as the Hub gives it: {self.license or 'none'}"

    def as_json(self) -> dict[str, str]:
        """For the report."""
        return asdict(self) | {"address": self.address}


@dataclass(frozen=True, slots=True)
class Located:
    """The file or folder that `data.path` means."""

    path: Path
    name: str
    """For the report, without the folders above it."""
    place: str
    """For messages about files below it."""
    hub: HubData | None = None
    only: frozenset[str] | None = None
    """Names of files below a folder that are part of the data; None for all."""
    others: tuple[str, ...] = ()
    """Names of files of the repository that are not part of the data."""
    sha256s: Mapping[str, str] | None = None
    """What the Hub lists for large files."""


def locate(path: str) -> Located:
    """The data of `data.path`, fetched if it is on the Hub.

    Raises:
        DataError: not a data set's name, no such data set, revision, configuration or split, no data files in it, or
            no network and no copy from before.
    """
    if not path.startswith(PREFIX):
        local = Path(path)
        return Located(local, local.name, str(local if local.is_dir() else local.parent))
    match = _PATH.fullmatch(path)
    if not match:
        raise DataError(f"data.path: {path!r} names no data set", _HINT)
    repository = Repository("dataset", match["id"], match["revision"] or "", "the revision in data.path", DataError)
    part = match["part"] or ""
    record = cache_dir() / "datasets" / f"{quote(path.removeprefix(PREFIX), safe='')}.json"
    others: list[str] = []

    def choose(names: list[str], card: dict[str, Any]) -> list[str]:
        files = _chosen(repository.where, names, card, part)
        others.extend(sorted(set(names).difference(files)))
        return files

    try:
        snapshot = fetch_snapshot(repository, choose)
    except Unreachable as error:
        snapshot, others = _cached(repository, record, error)
    else:
        record.parent.mkdir(parents=True, exist_ok=True)
        kept = {"commit": snapshot.commit, "names": snapshot.names, "sha256s": snapshot.sha256s, "others": others}
        write_json(record, {**kept, "card": {"license": snapshot.card.get("license")}})
    hub = HubData(repository.id, snapshot.commit, part, _license(snapshot.card))
    place = f"{PREFIX}{repository.id}"
    return Located(snapshot.folder, place, place, hub, frozenset(snapshot.names), tuple(others), snapshot.sha256s)


def check_digests(located: Located, files: Mapping[str, str]) -> None:
    """Compare files that were read with what the Hub lists.

    Raises:
        DataError: a file differs.
    """
    for name, sha256 in (located.sha256s or {}).items():
        if files.get(name, sha256) != sha256:
            raise DataError(
                f"{located.place}: {name} has sha256 {files[name]}, the Hub lists {sha256}",
                "Delete it from the Hub cache (hf cache rm) and run again.",
            )


def _license(card: Mapping[str, Any]) -> str:
    value = card.get("license") or ""
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def _cached(repository: Repository, record: Path, cause: Exception) -> tuple[Snapshot, list[str]]:
    """The copy of an earlier run, if all of it is there, and the names of other files."""
    import huggingface_hub
    from huggingface_hub import errors

    try:
        kept = read_json(record)
        folder = Path(
            huggingface_hub.snapshot_download(
                repository.id,
                repo_type="dataset",
                revision=kept["commit"],
                allow_patterns=[glob.escape(name) for name in kept["names"]],
                local_files_only=True,
            )
        )
        if all((folder / name).is_file() for name in kept["names"]):
            names = tuple(kept["names"])
            return Snapshot(folder, kept["commit"], names, kept["sha256s"], kept["card"]), kept["others"]
    except (ArtifactError, OSError, errors.LocalEntryNotFoundError):
        pass  # Never fetched, or no longer there.
    raise DataError(
        f"{repository.where}: the Hugging Face Hub cannot be reached and its cache lacks the data set ({cause})",
        "Check the network (and that HF_HUB_OFFLINE is not set), or download the files elsewhere and set data.path to "
        "their folder.",
    ) from cause


def _chosen(where: str, names: Sequence[str], card: Mapping[str, Any], part: str) -> list[str]:
    """Names of the data files of a part.

    Raises:
        DataError: there is no such part, more than one configuration to choose from, or no data file.
    """
    declared = _declared(card, names)
    if declared:
        files = _of_declared(where, declared, part)
    else:
        files = [name for name in names if _ending(name) in ENDINGS and not _is_hidden(name)]
        files = [name for name in files if _ending(name) not in _PAGES] or files
        if part:
            files = _of_names(where, files, part)
    if not files:
        repository = where.partition(" ")[0]
        scripts = [name for name in names if name.endswith(".py")]
        reason = f"its script {scripts[0]} makes them, and tinsmith runs no scripts" if scripts else "none at all"
        raise DataError(
            f"{where}: no data files ({reason})",
            f"Files that the Hub has converted are often at {repository}@refs/convert/parquet.",
        )
    return sorted(files)


def _ending(name: str) -> str:
    return PurePosixPath(name.removesuffix(".gz")).suffix.lower()


def _is_hidden(name: str) -> bool:
    return any(folder.startswith(".") for folder in PurePosixPath(name).parts)


def _declared(card: Mapping[str, Any], names: Sequence[str]) -> dict[str, dict[str, list[str]]]:
    """Configuration -> split -> files that the README declares, the default configuration first."""
    configs = [config for config in card.get("configs") or () if isinstance(config, dict) and config.get("data_files")]
    configs.sort(key=lambda config: not (config.get("default") or config.get("config_name") == "default"))
    return {
        str(config.get("config_name", "default")): {
            split: [name for name in names if any(fnmatchcase(name, pattern) for pattern in patterns)]
            for split, patterns in _splits(config)
        }
        for config in configs
    }


def _splits(config: Mapping[str, Any]) -> Iterator[tuple[str, list[str]]]:
    """Split and patterns of a configuration of a README."""
    folder = str(config.get("data_dir") or "").strip("/")
    files = config["data_files"]
    for entry in files if isinstance(files, list) else [files]:
        split, path = (entry.get("split", "train"), entry.get("path")) if isinstance(entry, dict) else ("train", entry)
        paths = path if isinstance(path, list) else [path]
        yield str(split), [f"{folder}/{one}" if folder else str(one) for one in paths if one]


def _of_declared(where: str, declared: Mapping[str, Mapping[str, list[str]]], part: str) -> list[str]:
    wanted = part.split("/") if part else []
    config = wanted.pop(0) if wanted and wanted[0] in declared else ""
    if not config and len(declared) > 1 and "default" not in declared:
        raise DataError(
            f"{where}: it has {len(declared)} configurations: {_shown(declared)}",
            f"Choose one, such as data.path = {f'{PREFIX}...#{next(iter(declared))}'!r}.",
        )
    splits = declared[config or next(iter(declared))]
    split = wanted.pop(0) if wanted else ""
    if wanted or (split and split not in splits):
        others = [*(declared if len(declared) > 1 else ()), *splits]
        raise DataError(f"{where}: no configuration or split {part!r}", f"There are: {_shown(others)}.")
    return [name for one in ([split] if split else splits) for name in splits[one]]


def _of_names(where: str, files: Sequence[str], part: str) -> list[str]:
    """Files that have each word of a part as a folder or as their name without shard."""
    wanted = set(part.split("/"))
    chosen = [name for name in files if wanted <= _words(name)]
    if not chosen:
        words = sorted({word for name in files for word in _words(name)})
        raise DataError(f"{where}: no folder or file {part!r}", f"There are: {_shown(words)}.")
    return chosen


def _words(name: str) -> set[str]:
    path = PurePosixPath(name)
    return {*path.parent.parts, _SHARD.sub("", path.name.split(".")[0])}


def _shown(names: Sequence[str] | Mapping[str, Any]) -> str:
    """The first names of many."""
    shown = list(names)[:20]
    return ", ".join(shown) + (f" and {len(names) - len(shown)} more" if len(names) > len(shown) else "")
