"""What a stranger on the network can do to `bench --remote --lan`: sockets that send too much, too slowly, or often."""

import hashlib
import http.client
import json
import socket
import ssl
import time
import urllib.parse
from contextlib import ExitStack, suppress

import pytest

from signed_results import result
from tinsmith.bench import remote_server
from tinsmith.bench.remote_result import signature_of
from tinsmith.bench.remote_server import RemoteBench
from tinsmith.browser import serve

CONTEXT = ssl.create_default_context()
CONTEXT.check_hostname, CONTEXT.verify_mode = False, ssl.CERT_NONE


@pytest.fixture
def bench(tmp_path, monkeypatch):
    """Open as to the network, with a certificate, but on this machine's own address only."""
    monkeypatch.setattr(remote_server, "_EVERYWHERE", "127.0.0.1")
    monkeypatch.setattr(remote_server, "local_address", lambda: "127.0.0.1")
    (tmp_path / "package").mkdir()
    with RemoteBench({}, tmp_path / "package", tmp_path / "received", is_open=True) as bench:
        yield bench


def connect(bench) -> ssl.SSLSocket:
    address = ("127.0.0.1", urllib.parse.urlsplit(bench.url).port)
    return CONTEXT.wrap_socket(socket.create_connection(address, timeout=10))


def code_of(bench) -> str:
    return urllib.parse.urlsplit(bench.url).path.split("/")[1]


def head(bench, method: str, path: str, *headers: str) -> bytes:
    host = urllib.parse.urlsplit(bench.url).netloc
    return "\r\n".join([f"{method} {path} HTTP/1.1", f"Host: {host}", *headers, "", ""]).encode()


def answers(bench) -> bool:
    """Whether a visitor with the code is served."""
    client = http.client.HTTPSConnection(urllib.parse.urlsplit(bench.url).netloc, context=CONTEXT, timeout=10)
    client.request("GET", urllib.parse.urlsplit(bench.url).path)
    return client.getresponse().status == 200


def reply(connection: ssl.SSLSocket) -> bytes:
    with suppress(ConnectionError, ssl.SSLError):
        return b"".join(iter(lambda: connection.recv(65536), b""))
    return b""


def test_the_fingerprint_is_that_of_the_certificate_sent(bench):
    with connect(bench) as connection:
        certificate = connection.getpeercert(binary_form=True)
    assert bench.fingerprint.replace(":", "").lower() == hashlib.sha256(certificate).hexdigest()
    assert bench.fingerprint.count(":") == 31


def test_headers_are_limited(bench):
    for header in ("X-Long: " + "x" * 20_000, "\r\n".join(f"X-{n}: {'x' * 1000}" for n in range(20))):
        with connect(bench) as connection:
            connection.sendall(head(bench, "GET", "/", header))
            assert reply(connection).startswith(b"HTTP/1.1 431")
    with connect(bench) as connection:
        connection.sendall(b"GET /" + b"x" * 20_000)
        assert reply(connection).startswith(b"HTTP/1.1 431")
    assert answers(bench)


def drip(connection: ssl.SSLSocket, content: bytes, every_seconds: float) -> float:
    """Send a byte at a time until the server hangs up; returns the seconds that took."""
    started = time.monotonic()
    connection.settimeout(every_seconds)
    for byte in content:
        try:
            connection.sendall(bytes([byte]))
            if connection.recv(1) == b"":
                break
        except TimeoutError:
            continue
        except OSError:
            break
    else:
        raise AssertionError("the server waited for all of it")
    return time.monotonic() - started


def test_headers_that_never_end_are_not_waited_for(bench, monkeypatch):
    monkeypatch.setattr(serve, "_HEADER_SECONDS", 0.5)
    with connect(bench) as connection:
        drip(connection, b"GET / HTTP/1.1\r\n" + b"X-A: b\r\n" * 100, 0.05)
    assert answers(bench)


def test_a_body_is_not_read_from_a_sender_without_the_code(bench):
    with connect(bench) as connection:
        connection.sendall(head(bench, "POST", f"/{'a' * 16}/result", "Content-Length: 1000000"))
        assert reply(connection).startswith(b"HTTP/1.1 404"), "answered before a byte of the body was sent"
    with connect(bench) as connection:
        connection.sendall(head(bench, "POST", f"/{code_of(bench)}/result", "Content-Length: 1048577"))
        assert reply(connection).startswith(b"HTTP/1.1 413")


def test_a_body_that_never_ends_is_not_waited_for(bench, monkeypatch, tmp_path):
    monkeypatch.setattr(remote_server, "_RESULT_SECONDS", 0.5)
    with connect(bench) as connection:
        connection.sendall(head(bench, "POST", f"/{code_of(bench)}/result", "Content-Length: 1000"))
        drip(connection, b"x" * 1000, 0.05)
    body, code = json.dumps(result()).encode(), code_of(bench)
    with connect(bench) as connection:
        headers = (f"Content-Length: {len(body)}", f"X-Signature: {signature_of(code, body)}")
        connection.sendall(head(bench, "POST", f"/{code}/result", *headers) + body)
        assert reply(connection).startswith(b"HTTP/1.1 204")
    assert len(list((tmp_path / "received").iterdir())) == 1


def test_one_address_gets_a_few_connections(bench):
    with ExitStack() as stack:
        connections = [stack.enter_context(connect(bench)) for _ in range(3 * remote_server._MAX_PER_ADDRESS)]
        assert answers(bench)
        still_open = 0
        for connection in connections:
            connection.settimeout(0.2)
            try:
                still_open += connection.recv(1) != b""
            except TimeoutError:
                still_open += 1
            except OSError:
                pass
        assert 0 < still_open <= remote_server._MAX_PER_ADDRESS


def test_codes_are_compared_in_constant_time(bench, monkeypatch):
    compared = []

    def compare(left: bytes, right: bytes) -> bool:
        compared.append((left, right))
        return left == right

    monkeypatch.setattr(remote_server.hmac, "compare_digest", compare)
    right = code_of(bench).encode()
    for path in (f"/{code_of(bench)}/plan.json", f"/{'a' * 16}/plan.json", "/plan.json", "/"):
        with connect(bench) as connection:
            connection.sendall(head(bench, "GET", path, "Connection: close"))
            reply(connection)
    assert compared == [(right, right), (b"a" * 16, right), (b"", right), (b"", right)]
