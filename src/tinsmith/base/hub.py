"""Download one commit of a model from the Hugging Face Hub, and only the files that tinsmith reads."""

import errno
import glob
import re
from fnmatch import fnmatch
from pathlib import Path

from tinsmith.base.license import from_readme
from tinsmith.base.license_files import folder_files, is_license_name
from tinsmith.base.source import Source
from tinsmith.base.weights import only_pickles
from tinsmith.core.errors import BaseModelError
from tinsmith.core.run_dir import file_sha256

_WANTED = """*.safetensors *.safetensors.index.json config.json generation_config.json tokenizer.json
    tokenizer_config.json special_tokens_map.json chat_template.jinja README.md""".split()
"""Top-level files to download, besides licences. Subfolders contain the same weights in other formats."""

_DISK_ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES)

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
    import huggingface_hub
    from huggingface_hub import errors

    where = f"hf:{repository}" + (f" at revision {revision!r}" if revision else "")
    try:
        info = huggingface_hub.HfApi().model_info(repository, revision=revision or None, files_metadata=True)
        siblings = info.siblings or []
        names = [sibling.rfilename for sibling in siblings]
        _require_safetensors(where, names)
        wanted = [glob.escape(name) for name in names if _is_wanted(name)]
        folder = huggingface_hub.snapshot_download(repository, revision=info.sha, allow_patterns=wanted)
        return Path(folder), {s.rfilename: s.lfs.sha256 for s in siblings if s.lfs is not None}
    except errors.GatedRepoError as error:
        raise BaseModelError(
            f"{where}: access is restricted by its owner",
            f"Accept its terms on https://huggingface.co/{repository}, then: hf auth login",
        ) from error
    except errors.RevisionNotFoundError as error:
        raise BaseModelError(f"{where}: no such branch, tag or commit", "Check base.revision.") from error
    except errors.RepositoryNotFoundError as error:
        raise BaseModelError(
            f"{where}: no such model, or it is private", "Check the name, or: hf auth login"
        ) from error
    except errors.HFValidationError as error:
        raise BaseModelError(f"{where}: not a model name", "Write it as hf:organisation/name.") from error
    except (OSError, *_http_errors()) as error:
        # Offline mode is an OSError.
        if isinstance(error, OSError) and error.errno in _DISK_ERRORS:
            raise
        return _cached_snapshot(where, repository, revision, error), {}


def _http_errors() -> tuple[type[Exception], ...]:
    """Classes of the Hub client's connection errors.

    Refused connections and timeouts raise errors of the HTTP library that the client uses. The client has switched
    libraries before, so take that library's error class from the bases of `HfHubHTTPError`.
    """
    from huggingface_hub import errors

    return tuple(base for base in errors.HfHubHTTPError.__bases__ if issubclass(base, Exception))


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
            f"{where}: the Hugging Face Hub cannot be reached and its cache lacks the model ({_first_line(cause)})",
            _OFFLINE_HINT,
        ) from cause
    return folder


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]


def _is_wanted(name: str) -> bool:
    return "/" not in name and (is_license_name(name) or any(fnmatch(name, pattern) for pattern in _WANTED))


def _require_safetensors(where: str, names: list[str]) -> None:
    if not any(name.endswith(".safetensors") and "/" not in name for name in names):
        raise only_pickles(where, names)
