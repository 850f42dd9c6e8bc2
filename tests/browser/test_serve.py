"""The server answers for files below its mounts and nothing else, with the headers threads need."""

import http.client
import socket
import ssl
import threading
from contextlib import suppress

import pytest

from tinsmith.bench.remote_server import self_signed_tls
from tinsmith.browser.serve import ISOLATION_HEADERS, SiteHandler, SiteServer, resolve
from tinsmith.core.errors import UserError


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


@pytest.mark.parametrize("target", ["http://[", "http://[::1", "/" + "n" * 3000, "/sub/" + "n" * 300 + "/x", "*", "?"])
def test_a_target_that_names_nothing_is_a_plain_404(site, target, capfd):
    assert raw(site, f"GET {target} HTTP/1.1") == (404, b"404 Not Found\n")
    assert ask(site, "/")[0].status == 200
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("span", "status"),
    [("9" * 5000 + "-", 416), ("0-" + "9" * 5000, 200), ("-" + "9" * 5000, 200), ("-0", 416), ("-", 200), ("٣-", 200)],
)
def test_a_range_of_any_size_is_answered(site, span, status, capfd):
    assert raw(site, "GET /model/model.onnx_data HTTP/1.1", f"Range: bytes={span}")[0] == status
    assert capfd.readouterr() == ("", "")


def raw(server, request_line, *headers):
    """Status and body of a request that `http.client` would not send."""
    lines = [request_line, f"Host: 127.0.0.1:{server.port}", *headers, "Connection: close", "", ""]
    with socket.create_connection(("127.0.0.1", server.port), timeout=5) as connection:
        connection.sendall("\r\n".join(lines).encode())
        received = b"".join(iter(lambda: connection.recv(65536), b""))
    head, _, body = received.partition(b"\r\n\r\n")
    return int(head.split()[1]), body


@pytest.mark.parametrize("sent", [b"", b"GET / HTTP/1.1\r\nX-Slow: "])
def test_idle_connections_shut_nobody_out(site, sent, capfd):
    threads = threading.active_count()
    idle = [socket.create_connection(("127.0.0.1", site.port), timeout=5) for _ in range(400)]
    try:
        for connection in idle:
            with suppress(ConnectionError):  # the server may have closed it by now
                connection.sendall(sent)
        for _ in range(10):
            assert ask(site, "/")[0].status == 200
        assert threading.active_count() - threads < 200
        assert idle[0].recv(1) == b"", "the longest idle one was closed"
    finally:
        for connection in idle:
            connection.close()
    assert capfd.readouterr() == ("", "")


def test_idle_connections_shut_nobody_out_of_https(tmp_path, capfd):
    (tmp_path / "index.html").write_text("home")
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with SiteServer({"/": tmp_path}, tls=self_signed_tls(("127.0.0.1",))[0]) as server:
        # Most never begin the handshake; the others finish it and say nothing more.
        idle = [socket.create_connection(("127.0.0.1", server.port), timeout=5) for _ in range(150)]
        for _ in range(20):
            connection = socket.create_connection(("127.0.0.1", server.port), timeout=5)
            idle.append(context.wrap_socket(connection))
        for _ in range(3):
            client = http.client.HTTPSConnection("127.0.0.1", server.port, context=context, timeout=5)
            client.request("GET", "/")
            assert client.getresponse().read() == b"home"
        for connection in idle:
            connection.close()
    assert capfd.readouterr() == ("", "")


def test_a_busy_connection_is_not_closed_for_a_new_one(site, tmp_path):
    large = tmp_path / "package/large.bin"
    large.write_bytes(bytes(50_000_000))
    with socket.create_connection(("127.0.0.1", site.port), timeout=5) as download:
        request = f"GET /model/large.bin HTTP/1.1\r\nHost: 127.0.0.1:{site.port}\r\nConnection: close\r\n\r\n"
        download.sendall(request.encode())
        count = len(download.recv(1000))
        idle = [socket.create_connection(("127.0.0.1", site.port), timeout=5) for _ in range(200)]
        while piece := download.recv(1 << 20):
            count += len(piece)
        for connection in idle:
            connection.close()
    assert count > large.stat().st_size


def test_a_silent_connection_is_closed_in_time(site, monkeypatch):
    monkeypatch.setattr(SiteHandler, "timeout", 0.3)
    with socket.create_connection(("127.0.0.1", site.port), timeout=5) as connection:
        assert connection.recv(1) == b""


def test_a_server_that_stopped_answers_on_no_connection(tmp_path, capfd):
    (tmp_path / "index.html").write_text("home")
    with SiteServer({"/": tmp_path}) as server:
        client = http.client.HTTPConnection("127.0.0.1", server.port, timeout=5)
        client.request("GET", "/")
        assert client.getresponse().read() == b"home"
        kept = client.sock
    assert kept is not None and kept.recv(1) == b""
    assert capfd.readouterr() == ("", "")
