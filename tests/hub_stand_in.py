"""A stand-in for the Hugging Face Hub on this machine: one model, data set or Space that can be created and changed."""

import base64
import hashlib
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

import huggingface_hub
import pytest

NAME = "tea/bot"
TOKEN = "hf_very_secret_2718281828"
LARGE_BYTES = 200
"""Larger files travel as the Hub's large files do, apart from the commit."""


class StandInHub:
    """The repository `tea/bot`, and what was asked of it."""

    def __init__(self) -> None:
        self.exists, self.private, self.kind = False, True, "model"
        self.files: dict[str, bytes] = {}
        self.stored: dict[str, bytes] = {}
        """Large files that arrived, by SHA-256."""
        self.commits = 0
        self.requests: list[tuple[str, str]] = []
        """Method and path of each."""
        self.bodies: list[bytes] = []
        self.tokens: set[str | None] = set()
        self.failures: dict[str, list[int]] = {}
        """`METHOD part-of-path` -> statuses to answer with first."""
        self.ignored: set[str] = set()
        """Files that the repository's own .gitignore keeps out."""
        self.url = ""
        self.card: dict = {}
        """What the README declares."""
        self.revisions: set[str] = set()
        """Names of the newest commit besides `main`."""
        self.listed_sha256: dict[str, str] = {}
        """Digests of large files that differ from the files."""

    @property
    def sent(self) -> list[tuple[str, str]]:
        """Requests that were more than reading."""
        return [(method, path) for method, path in self.requests if method not in ("GET", "HEAD")]

    @property
    def head(self) -> str:
        return f"{self.commits:040x}"

    def create(self, files: dict[str, bytes], private: bool = True) -> None:
        """Let the repository exist with these files besides the Hub's own."""
        self.exists, self.private, self.commits = True, private, self.commits + 1
        self.files = {".gitattributes": b"* text", **files}

    def answer(self, method: str, path: str, body: bytes) -> tuple[int, bytes, dict[str, str]]:
        """Status, body and headers."""
        # A Space has the same addresses below `spaces`, a data set below `datasets`.
        path = (
            re.sub("^/api/(?:spaces|datasets)/", "/api/models/", path).removeprefix("/spaces").removeprefix("/datasets")
        )
        if path == f"/api/models/{NAME}/commits/main":
            return _json(
                [
                    {"id": f"{n:040x}", "title": "", "message": "", "authors": [], "date": "2026-11-27T00:00:00.000Z"}
                    for n in range(self.commits)
                ]
            )
        if method == "POST" and path == "/api/repos/create":
            return self._create(json.loads(body))
        if method == "POST" and path == "/api/validate-yaml":
            return _json({"errors": [], "warnings": []})
        if method == "PUT" and path.startswith("/large/"):
            self.stored[path.removeprefix("/large/")] = body
            return _json({})
        if not self.exists or NAME not in path:
            return 404, b"{}", {"X-Error-Code": "RepoNotFound"}
        if path in (
            f"/api/models/{NAME}",
            *(f"/api/models/{NAME}/revision/{name}" for name in (self.head, "main", *self.revisions)),
        ):
            siblings = [{"rfilename": name, **self._stored(name)} for name in self.files]
            known = {"id": NAME, "sha": self.head, "private": self.private, "cardData": self.card}
            return _json({**known, "siblings": siblings})
        if path.startswith(f"/api/models/{NAME}/revision/"):
            return 404, b"{}", {"X-Error-Code": "RevisionNotFound"}
        if path.startswith(f"/api/models/{NAME}/tree/"):
            return _json([self._listed(name) for name in self.files])
        if path == f"/api/models/{NAME}/preupload/main":
            return _json({"files": [self._mode(file) for file in json.loads(body)["files"]]})
        if path == f"/{NAME}.git/info/lfs/objects/batch":
            return _json({"objects": [self._upload(entry) for entry in json.loads(body)["objects"]]})
        if path == f"/api/models/{NAME}/commit/main":
            return self._commit([json.loads(line) for line in body.splitlines()])
        if path.startswith(f"/{NAME}/resolve/{self.head}/"):
            content = self.files[path.removeprefix(f"/{NAME}/resolve/{self.head}/")]
            return 200, content, {"ETag": f'"{hashlib.sha256(content).hexdigest()}"', "X-Repo-Commit": self.head}
        return 404, b"{}", {}

    def _create(self, wanted: dict) -> tuple[int, bytes, dict[str, str]]:
        assert f"{wanted['organization']}/{wanted['name']}" == NAME
        if self.exists:
            return 409, b'{"error": "exists"}', {}
        self.kind = wanted.get("type", "model")
        own = {}
        if self.kind == "space":
            assert wanted["sdk"] == "static"
            own = dict.fromkeys(("README.md", "index.html", "style.css"), b"the Hub's own\n")
        self.create(own, wanted["visibility"] == "private")
        return _json({"url": f"{self.url}/{NAME}"})

    def _listed(self, name: str) -> dict:
        return {"type": "file", "path": name, "oid": _git_sha1(self.files[name]), **self._stored(name)}

    def _stored(self, name: str) -> dict:
        """Size of a file, and its digest if it is large."""
        content = self.files[name]
        if len(content) <= LARGE_BYTES:
            return {"size": len(content)}
        sha256 = self.listed_sha256.get(name, hashlib.sha256(content).hexdigest())
        return {
            "size": len(content),
            "lfs": {"oid": sha256, "sha256": sha256, "size": len(content), "pointerSize": 130},
        }

    def _mode(self, file: dict) -> dict:
        mode = "lfs" if file["size"] > LARGE_BYTES else "regular"
        return {"path": file["path"], "uploadMode": mode, "shouldIgnore": file["path"] in self.ignored, "oid": None}

    def _upload(self, entry: dict) -> dict:
        if entry["oid"] in self.stored:
            return entry
        return {**entry, "actions": {"upload": {"href": f"{self.url}/large/{entry['oid']}"}}}

    def _commit(self, lines: list[dict]) -> tuple[int, bytes, dict[str, str]]:
        (header, *operations) = lines
        if header["value"].get("parentCommit") != self.head:
            return 412, b'{"error": "A commit has happened since."}', {}
        for line in operations:
            path = line["value"]["path"]
            if line["key"] == "file":
                self.files[path] = base64.b64decode(line["value"]["content"])
            elif line["key"] == "lfsFile":
                self.files[path] = self.stored[line["value"]["oid"]]
            else:
                assert line["key"] == "deletedFile"
                del self.files[path]
        self.commits += 1
        return _json({"commitUrl": f"{self.url}/{NAME}/commit/{self.head}", "commitOid": self.head})


def _json(value: object) -> tuple[int, bytes, dict[str, str]]:
    return 200, json.dumps(value).encode(), {"Content-Type": "application/json"}


def _git_sha1(content: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


@contextmanager
def stand_in_hub(monkeypatch: pytest.MonkeyPatch, tmp_path) -> Iterator[StandInHub]:
    """A Hub that is empty, with a user who is logged in."""

    class Handler(BaseHTTPRequestHandler):
        def _reply(self) -> None:
            path = urlsplit(self.path).path
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            with lock:
                hub.requests.append((self.command, path))
                hub.bodies.append(body)
                if not path.startswith("/large/"):
                    hub.tokens.add(self.headers.get("Authorization"))
                failing = [key for key in hub.failures if f"{self.command} {path}".startswith(key)]
                statuses = hub.failures[failing[0]] if failing else []
                if statuses:
                    # A server may repeat what it was sent.
                    echo = json.dumps({"error": f"refused {self.headers.get('Authorization')}"}).encode()
                    status, content, headers = statuses.pop(0), echo, {"Content-Type": "application/json"}
                    if status == 401 and self.command == "GET":  # the Hub does not say whether there is one
                        headers["X-Error-Code"] = "RepoNotFound"
                else:
                    status, content, headers = hub.answer(self.command, path, body)
            self.send_response(status)
            for name, value in {"Content-Length": str(len(content)), **headers}.items():
                self.send_header(name, value)
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(content)

        do_GET = do_HEAD = do_POST = do_PUT = _reply

        def log_message(self, *_: object) -> None:
            pass

    hub, lock = StandInHub(), threading.Lock()
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    hub.url = f"http://127.0.0.1:{server.server_port}"
    constants = huggingface_hub.constants
    monkeypatch.setattr(constants, "ENDPOINT", hub.url)
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", hub.url + "/{repo_id}/resolve/{revision}/{filename}")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "no-token"))
    monkeypatch.setattr(constants, "AGENT_HARNESSES_PATH", str(tmp_path / "harnesses.json"))
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
