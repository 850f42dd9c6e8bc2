"""The server answers for files below its mounts and nothing else, with the headers threads need."""

import http.client
import socket

import pytest

from tinsmith.browser.runtime import write_runtime
from tinsmith.browser.serve import ISOLATION_HEADERS, SiteServer, resolve
from tinsmith.core.errors import MissingDependency, UserError


@pytest.fixture
def site(tmp_path):
    (tmp_path / "site/sub").mkdir(parents=True)
    (tmp_path / "site/index.html").write_text("<p>home")
    (tmp_path / "site/sub/tool.mjs").write_text("export {}")
    (tmp_path / "site/link.txt").symlink_to(tmp_path / "secret.txt")
    (tmp_path / "site/away").symlink_to(tmp_path)
    (tmp_path / "secret.txt").write_text("secret")
    (tmp_path / "package").mkdir()
    (tmp_path / "package/model.onnx_data").write_bytes(bytes(range(100)))
    (tmp_path / "one.json").write_text("{}")
    mounts = {"/": tmp_path / "site", "/model/": tmp_path / "package", "/app.json": tmp_path / "one.json"}
    with SiteServer(mounts, headers={"X-Extra": "yes"}) as server:
        yield server


def ask(server, path, method="GET", **headers):
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=5)
    connection.request(method, path, headers=headers)
    response = connection.getresponse()
    return response, response.read()


def test_files_of_every_mount_with_their_types(site):
    for path, kind, body in [
        ("/", "text/html; charset=utf-8", b"<p>home"),
        ("/sub/tool.mjs?v=1", "text/javascript; charset=utf-8", b"export {}"),
        ("/model/model.onnx_data", "application/octet-stream", bytes(range(100))),
        ("/app.json", "application/json", b"{}"),
    ]:
        response, got = ask(site, path)
        assert (response.status, response.headers["Content-Type"], got) == (200, kind, body)


def test_isolation_headers_on_answers_and_on_refusals(site):
    for path in ("/", "/nothing"):
        response, _ = ask(site, path)
        for name, value in {**ISOLATION_HEADERS, "X-Extra": "yes"}.items():
            assert response.headers[name] == value


@pytest.mark.parametrize(
    "path",
    [
        "/nothing",
        "/sub",
        "/sub/",
        "/link.txt",
        "/away/secret.txt",
        "/../secret.txt",
        "/%2e%2e/secret.txt",
        "/..%2fsecret.txt",
        "/sub/..%5c..%5csecret.txt",
        "/model/../../secret.txt",
        "//etc/passwd",
        "/a%00b",
    ],
)
def test_nothing_else_is_served(site, path):
    response, body = ask(site, path)
    assert response.status == 404 and b"secret" not in body


def test_another_host_name_is_refused(site):
    response, body = ask(site, "/", Host="evil.example")
    assert response.status == 421 and b"home" not in body
    assert ask(site, "/", Host=f"localhost:{site.port}")[0].status == 200


def test_only_get_and_head(site):
    assert ask(site, "/", "POST")[0].status == 501
    response, body = ask(site, "/", "HEAD")
    assert (response.status, response.headers["Content-Length"], body) == (200, "7", b"")


@pytest.mark.parametrize(
    ("span", "status", "expected"),
    [
        ("bytes=10-19", 206, bytes(range(10, 20))),
        ("bytes=90-", 206, bytes(range(90, 100))),
        ("bytes=-5", 206, bytes(range(95, 100))),
        ("bytes=100-", 416, None),
        ("bytes=0-1,4-5", 200, bytes(range(100))),
    ],
)
def test_ranges(site, span, status, expected):
    response, body = ask(site, "/model/model.onnx_data", Range=span)
    assert response.status == status
    if expected is not None:
        assert body == expected
    if status == 206:
        assert response.headers["Content-Range"] == f"bytes {expected[0]}-{expected[-1]}/100"


def test_the_longest_mount_wins(tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "x").write_text(name)
    mounts = {"/": tmp_path / "a", "/b/": tmp_path / "b"}
    assert resolve(mounts, "/b/x").read_text() == "b"
    assert resolve(mounts, "/x").read_text() == "a"


def test_a_taken_port_is_a_clear_error(tmp_path):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(UserError, match=f"port {port} on 127.0.0.1"):
            SiteServer({"/": tmp_path}, port=port)


def test_a_missing_runtime_names_the_command(tmp_path, monkeypatch):
    (tmp_path / "worker.js").write_text("")
    monkeypatch.setattr("tinsmith.browser.runtime.WEB_DIR", tmp_path)
    with pytest.raises(MissingDependency) as caught:
        write_runtime(tmp_path / "runtime")
    assert "npm ci --ignore-scripts" in caught.value.hint
