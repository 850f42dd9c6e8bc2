"""Files of npm packages: from a registry that fails in every way, from archives by hand, and from a damaged cache."""

import base64
import hashlib
import io
import json
import os
import re
import subprocess
import sys
import tarfile
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from tinsmith.browser import download, npm
from tinsmith.browser.npm import Package, extract, is_cached, package_files, package_folder, pinned_package
from tinsmith.browser.runtime import WEB_DIR, missing_packages, runtime_packages
from tinsmith.core.errors import ArtifactError, MissingDependency

FILES = {"dist/a.mjs": b"export const a = 1;\n" * 9000, "LICENSE": b"free\n"}


def archive_of(*members: tuple[str, bytes | str]) -> bytes:
    """A .tgz; text in place of bytes makes a symbolic link to it."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as tar:
        for name, content in members:
            info = tarfile.TarInfo(name)
            if isinstance(content, str):
                info.type, info.linkname = tarfile.SYMTYPE, content
                tar.addfile(info)
            else:
                info.size = len(content)
                tar.addfile(info, io.BytesIO(content))
    return packed.getvalue()


def integrity_of(archive: bytes) -> str:
    return "sha512-" + base64.b64encode(hashlib.sha512(archive).digest()).decode()


ARCHIVE = archive_of(*((f"package/{name}", content) for name, content in FILES.items()), ("package/unused", b"x"))
PACKAGE = Package("@tea/leaf", "1.2.3", integrity_of(ARCHIVE))


@dataclass
class Cut:
    """The right archive, but the connection closes early."""

    bytes_sent: int


@dataclass
class Registry:
    """A registry on this machine; `answers` are given one after the other, the last one for good."""

    url: str = ""
    answers: list = field(default_factory=lambda: [ARCHIVE])
    """An archive, a status, or a `Cut`."""
    requests: list[tuple[str, str, dict]] = field(default_factory=list)
    has_etag: bool = True


@pytest.fixture
def registry(monkeypatch):
    served = Registry()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self):
            served.requests.append((self.command, self.path, dict(self.headers)))
            answer = served.answers.pop(0) if len(served.answers) > 1 else served.answers[0]
            self.close_connection = True
            if isinstance(answer, int):
                self.send_response(answer)
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            body, end = (ARCHIVE, answer.bytes_sent) if isinstance(answer, Cut) else (answer, len(answer))
            match = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
            start = int(match[1]) if match and self.headers.get("If-Range") == '"one"' else 0
            self.send_response(206 if start else 200)
            if start:
                self.send_header("Content-Range", f"bytes {start}-{len(body) - 1}/{len(body)}")
            if served.has_etag:
                self.send_header("ETag", '"one"')
            self.send_header("Content-Length", str(len(body) - start))
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(body[start:end])

        do_HEAD = do_GET

        def log_message(self, *args):
            pass

    monkeypatch.setattr(download, "_PAUSES_SECONDS", (0, 0, 0))
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        served.url = f"http://127.0.0.1:{server.server_port}"
        monkeypatch.setenv("npm_config_registry", served.url + "/")
        for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
            monkeypatch.delenv(name, raising=False)
        yield served
        server.shutdown()


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """An empty cache."""
    monkeypatch.setenv("TINSMITH_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def assert_fetched(folder):
    assert {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()} == {
        *FILES,
        "MANIFEST.json",
    }
    assert all((folder / name).read_bytes() == content for name, content in FILES.items())


def test_files_are_fetched_once_and_nothing_else_stays(registry, cache, capfd):
    folder = package_files(PACKAGE, tuple(FILES))
    assert_fetched(folder)
    assert package_files(PACKAGE, tuple(FILES)) == folder
    assert [(method, path) for method, path, _ in registry.requests] == [("GET", "/@tea/leaf/-/leaf-1.2.3.tgz")]
    assert list((cache / "npm").iterdir()) == [folder]
    said = capfd.readouterr()
    assert f"fetching @tea/leaf@1.2.3 from {registry.url}" in said.err and not said.out


def test_a_broken_download_continues_where_it_stopped(registry, cache):
    half = len(ARCHIVE) // 2
    registry.answers = [Cut(half), 503, Cut(half + 20), ARCHIVE]
    assert_fetched(package_files(PACKAGE, tuple(FILES)))
    ranges = [headers.get("Range") for _, _, headers in registry.requests]
    assert ranges == [None, f"bytes={half}-", f"bytes={half}-", f"bytes={half + 20}-"]


def test_without_a_way_to_continue_a_broken_download_starts_again(registry, cache):
    registry.has_etag = False
    registry.answers = [Cut(len(ARCHIVE) // 2), ARCHIVE]
    assert_fetched(package_files(PACKAGE, tuple(FILES)))
    assert all("Range" not in headers for _, _, headers in registry.requests)


@pytest.mark.parametrize(
    ("answers", "reason", "tries"),
    [
        ([404], "HTTP 404 Not Found", 1),
        ([503], "HTTP 503", 4),
        ([Cut(10)], r"connection closed after 10 of \d+", 4),
    ],
)
def test_a_registry_that_fails_is_one_line(registry, cache, answers, reason, tries):
    registry.answers, registry.has_etag = answers, False
    with pytest.raises(MissingDependency) as caught:
        package_files(PACKAGE, tuple(FILES))
    wanted = rf"cannot fetch @tea/leaf@1\.2\.3 from {registry.url}/@tea/leaf/-/leaf-1\.2\.3\.tgz: {reason}.*"
    assert re.fullmatch(wanted, caught.value.message)
    assert "npm_config_registry" in caught.value.hint and "tinsmith setup" in caught.value.hint
    assert len(registry.requests) == tries
    assert not list((cache / "npm").iterdir())


def test_no_network_is_one_line(cache, monkeypatch):
    monkeypatch.setattr(download, "_PAUSES_SECONDS", ())
    monkeypatch.setenv("npm_config_registry", "http://127.0.0.1:9")
    with pytest.raises(MissingDependency, match=r"cannot fetch @tea/leaf@1\.2\.3 from http://127\.0\.0\.1:9/.*refused"):
        package_files(PACKAGE, tuple(FILES))


def test_another_archive_than_the_pinned_one_is_refused(registry, cache):
    registry.answers = [archive_of(("package/dist/a.mjs", b"evil"), ("package/LICENSE", b"free\n"))]
    with pytest.raises(MissingDependency, match=r"has sha512-.* but @tea/leaf@1\.2\.3 is pinned to sha512-"):
        package_files(PACKAGE, tuple(FILES))
    assert not list((cache / "npm").iterdir())


@pytest.mark.parametrize(
    ("members", "problem"),
    [
        ([("package/dist/a.mjs", "/etc/passwd"), ("package/LICENSE", b"")], "dist/a.mjs is not a plain file"),
        ([("package/dist/a.mjs", b"")], "LICENSE is not in it"),
        ([("package/dist/../dist/a.mjs", b""), ("package/LICENSE", b"")], "dist/a.mjs is not in it"),
    ],
)
def test_an_archive_without_the_plain_files_is_refused(tmp_path, members, problem):
    (tmp_path / "a.tgz").write_bytes(archive_of(*members))
    with pytest.raises(MissingDependency, match=f"a.tgz: {problem}"):
        extract(tmp_path / "a.tgz", tuple(FILES), tmp_path / "out")


def test_members_that_lead_outside_are_never_written(tmp_path):
    members = [
        ("package/dist", str(tmp_path / "outside")),
        ("../../outside/x", b"evil"),
        ("/outside/x", b"evil"),
        ("package/../../outside/x", b"evil"),
        *((f"package/{name}", content) for name, content in FILES.items()),
    ]
    (tmp_path / "a.tgz").write_bytes(archive_of(*members))
    extract(tmp_path / "a.tgz", tuple(FILES), tmp_path / "in/out")
    assert sorted(path.name for path in tmp_path.rglob("*") if path.is_file()) == ["LICENSE", "a.mjs", "a.tgz"]
    assert not any(path.is_symlink() for path in tmp_path.rglob("*"))


def test_an_archive_is_bounded(tmp_path, monkeypatch):
    (tmp_path / "a.tgz").write_bytes(archive_of(("package/huge", bytes(5_000_000)), ("package/LICENSE", b"")))
    monkeypatch.setattr(npm, "_MAX_ARCHIVE_BYTES", 4_000_000)
    with pytest.raises(MissingDependency, match="more than 4 MB unpacked"):
        extract(tmp_path / "a.tgz", ("LICENSE",), tmp_path / "out")
    monkeypatch.setattr(npm, "_MAX_FILE_BYTES", 4_000_000)
    with pytest.raises(MissingDependency, match="huge is not a plain file of less"):
        extract(tmp_path / "a.tgz", ("huge",), tmp_path / "out")


@pytest.mark.parametrize("damaged", [ARCHIVE[: len(ARCHIVE) // 2], b"not an archive", ARCHIVE[:100] + bytes(200)])
def test_a_damaged_archive_is_one_line(tmp_path, damaged):
    (tmp_path / "a.tgz").write_bytes(damaged)
    with pytest.raises(MissingDependency, match=r"a\.tgz: "):
        extract(tmp_path / "a.tgz", tuple(FILES), tmp_path / "out")


@pytest.mark.parametrize("damage", ["change", "remove", "manifest"])
def test_a_damaged_cache_is_replaced(registry, cache, damage):
    folder = package_files(PACKAGE, tuple(FILES))
    target = folder / ("MANIFEST.json" if damage == "manifest" else "LICENSE")
    target.unlink() if damage == "remove" else target.write_text("[]")
    npm._intact.clear()  # as in a new process
    assert not is_cached(PACKAGE, tuple(FILES))
    assert_fetched(package_files(PACKAGE, tuple(FILES)))
    assert list((cache / "npm").iterdir()) == [folder]


def test_processes_fetch_at_the_same_time(registry, cache):
    script = (
        "import sys, json; from pathlib import Path; from tinsmith.browser.npm import *;"
        "print(package_files(Package(*json.loads(sys.argv[1])), json.loads(sys.argv[2])))"
    )
    arguments = [json.dumps([PACKAGE.name, PACKAGE.version, PACKAGE.integrity]), json.dumps(list(FILES))]
    with ThreadPoolExecutor(4) as pool:
        runs = [
            pool.submit(subprocess.run, [sys.executable, "-c", script, *arguments], capture_output=True, text=True)
            for _ in range(4)
        ]
    folders = {run.result().stdout.strip() for run in runs}
    assert folders == {str(package_folder(PACKAGE, tuple(FILES)))}, runs[0].result().stderr
    assert_fetched(package_folder(PACKAGE, tuple(FILES)))
    assert len(list((cache / "npm").iterdir())) == 1


def test_what_a_killed_fetch_left_is_removed(registry, cache):
    (cache / "npm/.fetch-old/files").mkdir(parents=True)
    os.utime(cache / "npm/.fetch-old", (0, 0))
    folder = package_files(PACKAGE, tuple(FILES))
    assert list((cache / "npm").iterdir()) == [folder]


def test_archives_can_be_brought_by_hand(cache, tmp_path, monkeypatch):
    monkeypatch.setenv("npm_config_registry", "http://127.0.0.1:9")
    (tmp_path / "brought").mkdir()
    (tmp_path / "brought/other.tgz").write_bytes(b"x")
    with pytest.raises(MissingDependency) as caught:
        package_files(PACKAGE, tuple(FILES), tmp_path / "brought")
    assert "none of the 1 .tgz files in" in caught.value.message
    assert "http://127.0.0.1:9/@tea/leaf/-/leaf-1.2.3.tgz" in caught.value.hint
    (tmp_path / "brought/any name.tgz").write_bytes(ARCHIVE)
    assert_fetched(package_files(PACKAGE, tuple(FILES), tmp_path / "brought"))


def test_the_registry_is_the_one_npm_would_use(tmp_path, monkeypatch):
    for name in ("npm_config_registry", "NPM_CONFIG_REGISTRY"):
        monkeypatch.delenv(name, raising=False)
    settings = tmp_path / "npmrc"
    monkeypatch.setenv("npm_config_userconfig", str(settings))
    assert download.registry_address() == "https://registry.npmjs.org"
    monkeypatch.setenv("MIRROR", "mirror.example")
    settings.write_text(
        "; registry=https://no.example\nregistry = https://${MIRROR}/npm/\n@tea:registry=http://tea.example\n"
    )
    assert download.registry_address("axe-core") == "https://mirror.example/npm"
    assert download.registry_address("@tea/leaf") == "http://tea.example"
    assert PACKAGE.url == "http://tea.example/@tea/leaf/-/leaf-1.2.3.tgz"
    monkeypatch.setenv("NPM_CONFIG_REGISTRY", "https://variable.example/")
    assert download.registry_address("axe-core") == "https://variable.example"
    monkeypatch.setenv("npm_config_registry", "file:///etc")
    with pytest.raises(MissingDependency, match="not an http or https address"):
        download.registry_address()


def test_credentials_are_sent_and_not_shown(registry, cache, monkeypatch, capfd):
    monkeypatch.setenv("npm_config_registry", registry.url.replace("//", "//ada:s%40crit@"))
    assert_fetched(package_files(PACKAGE, tuple(FILES)))
    assert registry.requests[0][2]["Authorization"] == "Basic " + base64.b64encode(b"ada:s@crit").decode()
    registry.answers = [404]
    with pytest.raises(MissingDependency) as caught:
        package_files(PACKAGE, ("LICENSE",))
    assert "crit" not in caught.value.message + caught.value.hint + capfd.readouterr().err


def test_a_proxy_is_used(registry, cache, monkeypatch):
    monkeypatch.setenv("http_proxy", registry.url)
    monkeypatch.setenv("no_proxy", "")
    monkeypatch.setenv("npm_config_registry", "http://registry.example")
    assert_fetched(package_files(PACKAGE, tuple(FILES)))
    assert registry.requests[0][1] == "http://registry.example/@tea/leaf/-/leaf-1.2.3.tgz"


def test_is_reachable_asks_without_fetching(registry):
    assert download.is_reachable(PACKAGE.url)
    registry.answers = [404]
    assert not download.is_reachable(PACKAGE.url)
    assert {method for method, _, _ in registry.requests} == {"HEAD"}


def test_the_lock_file_is_the_only_place_that_pins(tmp_path, cache):
    lock = json.loads((WEB_DIR / "package-lock.json").read_text())["packages"]
    pins = {package.name: (package.version, package.integrity) for package in runtime_packages()}
    assert pins.keys() == {"@huggingface/transformers", "onnxruntime-web"}
    for name, pin in pins.items():
        assert pin == (lock[f"node_modules/{name}"]["version"], lock[f"node_modules/{name}"]["integrity"])
    # The version that Transformers.js itself asks for, exactly.
    assert (
        lock["node_modules/@huggingface/transformers"]["dependencies"]["onnxruntime-web"] == pins["onnxruntime-web"][0]
    )
    assert [package.name for package in missing_packages()] == list(pins)
    (tmp_path / "package-lock.json").write_text("{}")
    with pytest.raises(ArtifactError, match="does not pin onnxruntime-web"):
        pinned_package(tmp_path / "package-lock.json", "onnxruntime-web")
