"""Publish to the Hugging Face Hub, to a model repository or a static Space, by one commit with what differs."""

import hashlib
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, TypeVar

from tinsmith.commands.publish_plan import MARK_FILE, File, Plan, Present, compare, mark_text, read_mark
from tinsmith.core.disk_errors import disk_problem
from tinsmith.core.errors import EndpointError, UserError
from tinsmith.core.scratch import scratch_folder
from tinsmith.core.writers import is_loopback

_HUBS_OWN = (".gitattributes",)
"""Files that the Hub itself puts into a new repository."""
_HUBS_OWN_IN_SPACES = ("README.md", "index.html", "style.css")
"""More of them, in the first commit of a new static Space."""
_RETRYABLE_STATUSES = (429, 500, 502, 503, 504)
_PAUSES_SECONDS = (1.0, 4.0)
"""Waits before the second and the third try."""
_SHOWN_CHARACTERS = 300
_NOUNS = {"model": "repository", "space": "Space"}

Result = TypeVar("Result")


class HubRepository:
    """A repository that tinsmith made, or that is new or empty.

    The token is the one in HF_TOKEN or of the library's login, the endpoint the one in HF_ENDPOINT.
    """

    def __init__(self, name: str, is_public: bool, kind: Literal["model", "space"] = "model") -> None:
        """Check name, endpoint and token; sends nothing.

        Args:
            name: `organisation/name`.
            is_public: Whether the repository is or may become readable by everyone.
            kind: A model repository, or a static Space.

        Raises:
            UserError: one of them cannot be used.
        """
        import huggingface_hub
        from huggingface_hub.errors import HFValidationError
        from huggingface_hub.utils import validate_repo_id

        prefix = {"model": "hf:", "space": "space:"}[kind]
        try:
            validate_repo_id(name)
            is_valid = name.count("/") == 1
        except HFValidationError:
            is_valid = False
        if not is_valid:
            raise UserError(f"{prefix}{name}: not the name of a repository", f"Write it as {prefix}organisation/name.")
        endpoint = huggingface_hub.constants.ENDPOINT
        if not endpoint.startswith("https://") and not is_loopback(endpoint):
            raise UserError(
                f"HF_ENDPOINT is {endpoint}, where your token would travel unencrypted", "Give an https address."
            )
        token = huggingface_hub.get_token()
        if not token:
            raise UserError(
                f"{prefix}{name}: no token for {endpoint}",
                "Log in: hf auth login. Or set HF_TOKEN to a token that may write.",
            )
        self.url = f"{endpoint}/spaces/{name}" if kind == "space" else f"{endpoint}/{name}"
        self._name, self._is_public, self._token, self._kind = name, is_public, token, kind
        self._api = huggingface_hub.HfApi(endpoint=endpoint, token=token, library_name="tinsmith")

    def plan(self, files: dict[str, File]) -> Plan:
        """Compare `files` with the repository's newest commit, by digest; only reads.

        Raises:
            UserError: the repository is somebody else's, or public without leave.
            EndpointError: the Hub cannot be reached or refuses.
        """
        info = self._asked(self._info)
        if info is None:
            place = f"a new {'public' if self._is_public else 'private'} {_NOUNS[self._kind]}"
            return Plan(files, new=tuple(files), changed=(), removed={}, kept=(), place=place)
        if not info.private and not self._is_public:
            raise UserError(
                f"{self.url}: everyone can read this repository; nothing was sent",
                "Add --public to publish there, make it private in its settings, or name another one.",
            )
        tree = self._asked(lambda: self._tree(info.sha))
        written = self._written(tree, info.sha)
        present = {
            path: Present(tree[path].size, self._sha256(tree[path], files.get(path), info.sha))
            for path in sorted(files.keys() | written.keys())
            if path in tree
        }
        plan = compare(self.url, files, written, present, tree.keys() - {MARK_FILE})
        return replace(plan, place=_place(_NOUNS[self._kind], info.private, self._is_public), commit=info.sha)

    def publish(self, plan: Plan) -> None:
        """Create the repository if there is none, send what differs as one commit, and compare again.

        What arrived before a stop is not sent again. A commit is made only on top of the one that was compared.

        Raises:
            UserError: the repository was made by somebody else meanwhile.
            EndpointError: the Hub cannot be reached, refuses, or holds something else afterwards.
        """
        if plan.commit is None:
            is_private = not self._is_public
            self._asked(lambda: self._create(is_private))
            plan = self.plan(plan.files)
        self._asked(lambda: self._commit(plan))
        remaining = self.plan(plan.files)
        if not remaining.is_current:
            different = [*remaining.new, *remaining.changed, *remaining.removed]
            raise EndpointError(
                f"{self.url}: the commit arrived, but {len(different)} file(s) are not as sent, such as {different[0]}",
                "Look for a .gitignore in the repository, or run the same command again.",
            )

    def _create(self, is_private: bool) -> None:
        sdk = "static" if self._kind == "space" else None
        self._api.create_repo(self._name, repo_type=self._kind, space_sdk=sdk, private=is_private, exist_ok=True)

    def _info(self) -> Any:
        """What the Hub says of the repository; None if there is none."""
        from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError

        try:
            return self._api.repo_info(self._name, repo_type=self._kind)
        except GatedRepoError:
            raise
        except RepositoryNotFoundError as error:
            if error.response.status_code != 404:  # the library takes a refused token for a missing repository
                raise
            return None

    def _tree(self, commit: str) -> dict[str, Any]:
        items = self._api.list_repo_tree(self._name, recursive=True, revision=commit, repo_type=self._kind)
        return {item.path: item for item in items if hasattr(item, "blob_id")}

    def _written(self, tree: dict[str, Any], commit: str) -> dict[str, list[str]]:
        """What the repository's mark lists; empty for an empty repository."""
        if MARK_FILE in tree:
            mark = self._content(MARK_FILE, commit).decode(errors="replace")
            return read_mark(mark, f"{self.url}: {MARK_FILE}")
        names = sorted(tree.keys() - set(_HUBS_OWN))
        if self._kind == "space" and set(names) <= set(_HUBS_OWN_IN_SPACES) and self._has_one_commit():
            return {path: [self._sha256(tree[path], None, commit)] for path in names}
        if names:
            raise UserError(
                f"{self.url}: not published by tinsmith (it has no {MARK_FILE}) and not empty (it contains "
                f"{names[0]!r}); nothing was sent",
                "Name a repository that is new or empty.",
            )
        return {}

    def _has_one_commit(self) -> bool:
        """Whether nobody has committed since the Hub made the repository."""
        return len(self._asked(lambda: list(self._api.list_repo_commits(self._name, repo_type=self._kind)))) == 1

    def _sha256(self, remote: Any, file: File | None, commit: str) -> str:
        """Digest of a file of the repository.

        The Hub lists it for large files. For others it lists git's, which is compared with `file`; if they differ, the
        content is fetched.
        """
        if remote.lfs is not None:
            return remote.lfs.sha256
        if file is not None and remote.size == file.size_bytes:
            content = file.source.read_bytes()
            if remote.blob_id == _git_sha1(content):
                return hashlib.sha256(content).hexdigest()
        return hashlib.sha256(self._content(remote.path, commit)).hexdigest()

    def _content(self, path: str, commit: str) -> bytes:
        """The content of a file of the repository."""
        with scratch_folder("tinsmith-publish-") as folder:
            fetched = self._asked(
                lambda: self._api.hf_hub_download(
                    self._name, path, revision=commit, local_dir=folder, repo_type=self._kind
                )
            )
            return Path(fetched).read_bytes()

    def _commit(self, plan: Plan) -> None:
        from huggingface_hub import CommitOperationAdd, CommitOperationDelete

        mark = mark_text({path: [file.sha256] for path, file in plan.files.items()})
        self._api.create_commit(
            self._name,
            [
                *(CommitOperationAdd(path, plan.files[path].source) for path in (*plan.new, *plan.changed)),
                CommitOperationAdd(MARK_FILE, mark.encode()),
                *(CommitOperationDelete(path) for path in plan.removed),
            ],
            repo_type=self._kind,
            commit_message="Publish with tinsmith",
            parent_commit=plan.commit,
        )

    def _asked(self, call: Callable[[], Result]) -> Result:
        """The result of a call to the Hub. Busy and failing servers are asked again; other errors are explained."""
        from huggingface_hub.errors import HTTPError  # of the library's HTTP client: refused connections, timeouts

        for pause_seconds in (*_PAUSES_SECONDS, None):
            try:
                return call()
            except (OSError, ValueError, RuntimeError, HTTPError) as error:
                if disk_problem(error):
                    raise
                if pause_seconds is None or _status(error) not in _RETRYABLE_STATUSES:
                    raise self._explained(error) from error
                time.sleep(pause_seconds)
        raise AssertionError("the last try returns or raises")

    def _explained(self, error: Exception) -> EndpointError:
        from huggingface_hub.errors import OfflineModeIsEnabled

        organisation = self._name.split("/")[0]
        status = _status(error)
        if isinstance(error, OfflineModeIsEnabled):
            return EndpointError(f"{self.url}: HF_HUB_OFFLINE is set, so nothing can be sent", "Unset it.")
        if status == 401:
            return EndpointError(
                f"{self.url}: the Hub does not accept your token (status 401)",
                "Log in again: hf auth login. Or set HF_TOKEN to a token that may write.",
            )
        if status == 403:
            return EndpointError(
                f"{self.url}: your token may not write there (status 403)",
                f"Use a token with write access to {organisation}, or name a repository of your own.",
            )
        if status == 412:
            return EndpointError(
                f"{self.url}: somebody committed since its files were compared; your commit was not made (status 412)",
                "Run the same command again.",
            )
        # A server may repeat what it was sent.
        reason = _reason(error).replace(self._token, "...")
        status_text = f" (status {status})" if status else ""
        return EndpointError(
            f"{self.url}: publishing failed{status_text}: {reason[:_SHOWN_CHARACTERS]}",
            "Check the network, then run the same command again: what arrived is not sent again.",
        )


def _place(noun: str, is_private: bool, is_public_wanted: bool) -> str:
    if not is_private:
        return f"a public {noun}"
    return f"a private {noun}" + ", which --public does not change: see its settings" * is_public_wanted


def _reason(error: Exception) -> str:
    """What the server said, else what the library says, on one line."""
    words = (getattr(error, "server_message", None) or str(error)).split()
    return " ".join(words) or type(error).__name__


def _status(error: BaseException | None) -> int | None:
    """HTTP status of an error or of its cause; None if no server answered."""
    while error is not None:
        response = getattr(error, "response", None)
        if response is not None:
            return response.status_code
        error = error.__cause__
    return None


def _git_sha1(content: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()
