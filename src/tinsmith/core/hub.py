"""One commit of a repository on the Hugging Face Hub: its files, and copies of some in the Hub's cache."""

import errno
import glob
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tinsmith.core.errors import UserError

PREFIX = "hf:"
_DISK_ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES)


@dataclass(frozen=True, slots=True)
class Repository:
    """A repository as the owner of a configuration names it."""

    kind: str
    """`model` or `dataset`."""
    id: str
    """Such as `organisation/name`."""
    revision: str
    """A branch, tag or commit; empty for the default branch."""
    setting: str
    """The key that names the revision."""
    error: type[UserError]

    @property
    def where(self) -> str:
        """For messages."""
        return f"{PREFIX}{self.id}" + (f" at revision {self.revision!r}" if self.revision else "")

    @property
    def address(self) -> str:
        """Its page."""
        return f"https://huggingface.co/{'datasets/' if self.kind == 'dataset' else ''}{self.id}"


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Files of one commit in the Hub's cache."""

    folder: Path
    commit: str
    names: tuple[str, ...]
    """Files that were asked for."""
    sha256s: dict[str, str]
    """Name of each large file -> sha256 that the Hub lists."""
    card: dict[str, Any]
    """What the repository's README declares, such as its licence."""


class Unreachable(Exception):
    """The Hub cannot be asked; the text says why."""


def fetch_snapshot(repository: Repository, choose: Callable[[list[str], dict[str, Any]], list[str]]) -> Snapshot:
    """Look up the commit that the revision names now, and fetch files of it.

    Args:
        repository: The repository.
        choose: Names of the files to fetch, from the names of all and what the README declares.

    Raises:
        Unreachable: no network, or the Hub does not answer.
        UserError: no such repository or revision, or no access; of the class `repository.error`.
        OSError: the disk is full or cannot be written.
    """
    import huggingface_hub
    from huggingface_hub import errors

    where, kind = repository.where, repository.kind
    try:
        api = huggingface_hub.HfApi()
        look_up = api.dataset_info if kind == "dataset" else api.model_info
        info = look_up(repository.id, revision=repository.revision or None, files_metadata=True)
        siblings = info.siblings or []
        card = info.card_data.to_dict() if info.card_data else {}
        names = choose([sibling.rfilename for sibling in siblings], card)
        folder = huggingface_hub.snapshot_download(
            repository.id, revision=info.sha, repo_type=kind, allow_patterns=[glob.escape(name) for name in names]
        )
        sha256s = {s.rfilename: s.lfs.sha256 for s in siblings if s.lfs is not None}
        return Snapshot(Path(folder), str(info.sha), tuple(names), sha256s, card)
    except errors.GatedRepoError as error:
        raise repository.error(
            f"{where}: access is restricted by its owner",
            f"Accept its terms on {repository.address}, then: hf auth login",
        ) from error
    except errors.RevisionNotFoundError as error:
        raise repository.error(f"{where}: no such branch, tag or commit", f"Check {repository.setting}.") from error
    except errors.RepositoryNotFoundError as error:
        raise repository.error(
            f"{where}: no such {kind}, or it is private", "Check the name, or: hf auth login"
        ) from error
    except errors.HFValidationError as error:
        raise repository.error(f"{where}: not a {kind} name", "Write it as hf:organisation/name.") from error
    except (OSError, *_http_errors()) as error:
        # Offline mode is an OSError.
        if isinstance(error, OSError) and error.errno in _DISK_ERRORS:
            raise
        raise Unreachable(_first_line(error)) from error


def _http_errors() -> tuple[type[Exception], ...]:
    """Classes of the Hub client's connection errors.

    Refused connections and timeouts raise errors of the HTTP library that the client uses. The client has switched
    libraries before, so take that library's error class from the bases of `HfHubHTTPError`.
    """
    from huggingface_hub import errors

    return tuple(base for base in errors.HfHubHTTPError.__bases__ if issubclass(base, Exception))


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
