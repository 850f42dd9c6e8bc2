"""Download one commit of a model from the Hugging Face Hub, and only the files that tinsmith reads."""

import re
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from tinsmith.base.license import from_readme
from tinsmith.base.license_files import folder_files, is_license_name
from tinsmith.base.source import Source
from tinsmith.base.weights import only_pickles
from tinsmith.core.errors import BaseModelError
from tinsmith.core.hub import Repository, Unreachable, fetch_snapshot
from tinsmith.core.run_dir import file_sha256

_WANTED = """*.safetensors *.safetensors.index.json config.json generation_config.json tokenizer.json
    tokenizer_config.json special_tokens_map.json chat_template.jinja README.md""".split()
"""Top-level files to download, besides licences. Subfolders contain the same weights in other formats."""

_OFFLINE_HINT = (
    "Check the network (and that HF_HUB_OFFLINE is not set), or download the model elsewhere and set base.model to "
    "its folder."
)


def fetch_from_hub(repository: str, revision: str) -> Source:
    """Fetch the commit that `revision` names now; an empty revision is the default branch.

    Without a network, use a snapshot from the Hub's cache.

    Raises:
        BaseModelError: no such model or revision, no access, no network, no safetensors, or a damaged download.
    """
    requested = f"hf:{repository}" + (f"@{revision}" if revision else "")
    folder, hashes = _snapshot(repository, revision)
    files = {}
    for name in sorted(path.name for path in folder.iterdir() if path.is_file()):
        files[name] = file_sha256(folder / name)
        if hashes.get(name, files[name]) != files[name]:
            raise BaseModelError(
                f"hf:{repository}: {name} has sha256 {files[name]}, the Hub lists {hashes[name]}",
                "Delete it from the Hub cache (hf cache rm) and run again.",
            )
    return Source(
        folder=folder,
        texts=folder_files(folder, "in the model's repository"),
        id=repository,
        requested=requested,
        kind="hub",
        revision=folder.name,
        files=files,
        license=from_readme(folder, requested),
        gguf=None,
        may_link=True,
    )


def _snapshot(repository: str, revision: str) -> tuple[Path, dict[str, str]]:
    """The snapshot folder, named after its commit, and the sha256 that the Hub lists for each large file."""
    asked = Repository("model", repository, revision, "base.revision", BaseModelError)

    def choose(names: list[str], card: dict[str, Any]) -> list[str]:
        _require_safetensors(asked.where, names)
        return [name for name in names if _is_wanted(name)]

    try:
        snapshot = fetch_snapshot(asked, choose)
    except Unreachable as error:
        return _cached_snapshot(asked.where, repository, revision, error), {}
    return snapshot.folder, snapshot.sha256s


def _cached_snapshot(where: str, repository: str, revision: str, cause: Exception) -> Path:
    import huggingface_hub
    from huggingface_hub import errors

    try:
        snapshot = huggingface_hub.snapshot_download(
            repository, revision=revision or None, allow_patterns=list(_WANTED), local_files_only=True
        )
        folder = Path(snapshot)
    except errors.LocalEntryNotFoundError:
        folder = None
    if folder is None or not re.fullmatch(r"[0-9a-f]{40}", folder.name):
        raise BaseModelError(
            f"{where}: the Hugging Face Hub cannot be reached and its cache lacks the model ({cause})",
            _OFFLINE_HINT,
        ) from cause
    return folder


def _is_wanted(name: str) -> bool:
    return "/" not in name and (is_license_name(name) or any(fnmatch(name, pattern) for pattern in _WANTED))


def _require_safetensors(where: str, names: list[str]) -> None:
    if not any(name.endswith(".safetensors") and "/" not in name for name in names):
        raise only_pickles(where, names)
