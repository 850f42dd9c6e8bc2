"""Hub models over HTTP from a stand-in Hub on 127.0.0.1: one commit, only the files that are read, verified."""

import hashlib
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import huggingface_hub
import pytest

from stage_runs import run_stage
from tinsmith.base.stage import resolve_base
from tinsmith.core.config import BaseConfig
from tinsmith.core.errors import BaseModelError

COMMIT = "0123456789abcdef0123456789abcdef01234567"


class StandInHub:
    """Serves one repository, `acme/tiny`, as the Hub's HTTP interface does."""

    def __init__(self, files: dict[str, bytes]):
        self.files = files
        self.listed_sha256: dict[str, str] = {}
        self.fetched: list[str] = []
        self.asked: list[str] = []
        hub = self

        class Handler(BaseHTTPRequestHandler):
            def do_HEAD(self):
                self.do_GET()

            def do_GET(self):
                hub.answer(self)

            def log_message(self, *_):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def answer(self, request: BaseHTTPRequestHandler) -> None:
        path = request.path.split("?")[0]
        self.asked.append(path)
        if path in (
            "/api/models/acme/tiny",
            "/api/models/acme/tiny/revision/main",
            f"/api/models/acme/tiny/revision/{COMMIT}",
        ):
            self._send(request, json.dumps(self._info()).encode(), {"Content-Type": "application/json"})
        elif path == f"/api/models/acme/tiny/tree/{COMMIT}":
            tree = [{"type": "file", "path": s["rfilename"], "oid": s["blobId"], **s} for s in self._info()["siblings"]]
            self._send(request, json.dumps(tree).encode(), {"Content-Type": "application/json"})
        elif path.startswith(f"/acme/tiny/resolve/{COMMIT}/") and path.rsplit("/", 1)[1] in self.files:
            name = path.rsplit("/", 1)[1]
            if request.command == "GET":
                self.fetched.append(name)
            etag = hashlib.sha256(self.files[name]).hexdigest()
            self._send(request, self.files[name], {"ETag": f'"{etag}"', "X-Repo-Commit": COMMIT})
        elif path.startswith("/api/models/acme/locked"):
            self._send(request, b"{}", {"X-Error-Code": "GatedRepo"}, status=403)
        elif path.startswith("/api/models/acme/tiny/"):
            self._send(request, b"{}", {"X-Error-Code": "RevisionNotFound"}, status=404)
        else:
            self._send(request, b"{}", {"X-Error-Code": "RepoNotFound"}, status=404)

    def _info(self) -> dict:
        siblings = []
        for name, content in self.files.items():
            sibling = {"rfilename": name, "size": len(content), "blobId": "b"}
            if name.endswith(".safetensors"):
                listed = self.listed_sha256.get(name, hashlib.sha256(content).hexdigest())
                sibling["lfs"] = {"sha256": listed, "oid": listed, "size": len(content), "pointerSize": 130}
            siblings.append(sibling)
        return {"id": "acme/tiny", "sha": COMMIT, "siblings": siblings}

    @staticmethod
    def _send(request: BaseHTTPRequestHandler, body: bytes, headers: dict[str, str], status: int = 200) -> None:
        request.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            request.send_header(name, value)
        request.end_headers()
        if request.command == "GET":
            request.wfile.write(body)


@pytest.fixture
def hub(tiny_llama, tmp_path, monkeypatch):
    files = {path.name: path.read_bytes() for path in tiny_llama.iterdir()}
    del files["LICENSE"]
    files["README.md"] = b"---\nlicense: other\nlicense_name: tea-1\nlicense_link: https://example.org/tea\n---\n"
    files |= {"NOTICE": b"brewed by acme", "pytorch_model.bin": b"pickle", "modeling_evil.py": b"raise SystemExit"}
    server = StandInHub(files)
    constants = huggingface_hub.constants
    monkeypatch.setattr(constants, "ENDPOINT", server.url)
    monkeypatch.setattr(
        constants, "HUGGINGFACE_CO_URL_TEMPLATE", server.url + "/{repo_id}/resolve/{revision}/{filename}"
    )
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub-cache"))
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
    yield server
    server.server.shutdown()
    server.server.server_close()


@pytest.fixture
def out(tmp_path):
    folder = tmp_path / "out"
    folder.mkdir()
    return folder


def test_model_is_pinned_to_a_commit_and_only_what_is_read_is_fetched(hub, out):
    run_stage(resolve_base, BaseConfig(model="hf:acme/tiny", revision="main"), out)
    record = json.loads((out / "base.json").read_text())
    assert record["id"] == "acme/tiny" and record["source"] == "hub" and record["revision"] == COMMIT
    assert record["requested"] == "hf:acme/tiny@main"
    assert record["license"] | {"warning": ""} == {
        "id": "other",
        "name": "tea-1",
        "link": "https://example.org/tea",
        "stated_in": "README.md",
        "warning": "",
        "files": ["NOTICE"],
    }
    assert record["files"] == {name: hashlib.sha256(hub.files[name]).hexdigest() for name in hub.fetched}
    assert not {"pytorch_model.bin", "modeling_evil.py"} & set(hub.fetched)
    assert (out / "model/NOTICE").read_bytes() == b"brewed by acme"
    assert not any(path.is_symlink() for path in out.rglob("*"))
    moving = [path for path in hub.asked if path.endswith("/main")]
    assert len(moving) == 1, "the branch is looked up once, so it cannot move between listing and download"


def test_download_that_differs_from_the_hubs_listing_is_refused(hub, out):
    hub.listed_sha256["model.safetensors"] = "0" * 64
    with pytest.raises(BaseModelError, match=f"model.safetensors has sha256 [0-9a-f]{{64}}, the Hub lists {'0' * 64}"):
        run_stage(resolve_base, BaseConfig(model="hf:acme/tiny"), out)


def test_pickles_are_refused_before_anything_is_fetched(hub, out):
    del hub.files["model.safetensors"]
    with pytest.raises(BaseModelError, match=r"hf:acme/tiny: weights only as pytorch_model.bin"):
        run_stage(resolve_base, BaseConfig(model="hf:acme/tiny"), out)
    assert hub.fetched == []


def test_cached_snapshot_is_used_without_a_network(hub, out, tmp_path, monkeypatch):
    run_stage(resolve_base, BaseConfig(model="hf:acme/tiny", revision="main"), out)
    hub.server.shutdown()
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    again = tmp_path / "again"
    again.mkdir()
    run_stage(resolve_base, BaseConfig(model="hf:acme/tiny", revision=COMMIT), again)
    first, second = (json.loads((folder / "base.json").read_text()) for folder in (out, again))
    assert first["files"] == second["files"] and second["revision"] == COMMIT


@pytest.mark.parametrize(
    ("model", "revision", "message"),
    [
        ("hf:acme/locked", "", "hf:acme/locked: access is restricted by its owner"),
        ("hf:acme/nothing", "", "hf:acme/nothing: no such model, or it is private"),
        ("hf:acme/tiny", "v9", "hf:acme/tiny at revision 'v9': no such branch, tag or commit"),
        ("hf:acme/tiny/extra/x", "", "not a model name"),
    ],
)
def test_what_the_hub_refuses_is_explained(model, revision, message, hub, out):
    with pytest.raises(BaseModelError, match=message):
        run_stage(resolve_base, BaseConfig(model=model, revision=revision), out)


@pytest.mark.parametrize("offline", [True, False])
def test_no_network_points_to_a_local_folder(offline, hub, out, monkeypatch):
    hub.server.shutdown()
    hub.server.server_close()
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", offline)
    with pytest.raises(BaseModelError, match="hf:acme/tiny: the Hugging Face Hub cannot be reached") as caught:
        run_stage(resolve_base, BaseConfig(model="hf:acme/tiny"), out)
    assert "set base.model to its folder" in caught.value.hint
