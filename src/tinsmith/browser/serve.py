"""A static file server for one machine.

It answers GET and HEAD for files below its mounts. It lists no folders, follows no symbolic links, and refuses requests
that name another host. A missing file is a real 404, because a fallback page would be parsed as a model file. Every
response has the headers that make a page `crossOriginIsolated`; without them, WASM has only one thread.
"""

import io
import re
import ssl
import threading
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import BinaryIO, cast
from urllib.parse import unquote, urlsplit

from tinsmith.browser.connections import HttpServer, RequestReader, TooLarge
from tinsmith.core.errors import UserError

ISOLATION_HEADERS = {
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Embedder-Policy": "require-corp",
    "Cross-Origin-Resource-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
}
"""Headers that make a page `crossOriginIsolated`."""

# The pages also set a stricter policy themselves. Workers, which run the model, get a policy only from this header, and
# only a header can stop other sites from framing the page.
HOST_HEADERS = {
    **ISOLATION_HEADERS,
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; worker-src 'self'; connect-src 'self'; "
        "img-src 'self' data:; style-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
}
"""Headers that a static host must send. `app.py` writes them in the formats of common hosts."""

_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".mjs": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".json": "application/json",
    ".md": "text/markdown; charset=utf-8",
    ".txt": "text/plain; charset=utf-8",
    ".jinja": "text/plain; charset=utf-8",
    ".svg": "image/svg+xml",
    ".png": "image/png",
    ".wasm": "application/wasm",
}
_PIECE_BYTES = 1 << 20
_IDLE_SECONDS = 60
"""A connection is closed after this long without a byte."""
_MAX_HEADER_BYTES, _HEADER_SECONDS = 1 << 14, 10
"""Limits for the headers of a request. Browsers send 1 kB."""
_MAX_POSITION_DIGITS = 18
"""Most digits of a file position. A longer number is beyond the end of every file."""


class SiteServer:
    """Serves `mounts` on 127.0.0.1 while used as a context manager.

    Args:
        mounts: URL prefix ending in `/` -> folder, or full URL path -> file. The longest prefix wins.
        port: Port to listen on; 0 picks a free one.
        headers: Sent with every response, after `ISOLATION_HEADERS`.
        address: Address to listen on. Listen on the network only if the user asked for it.
        hosts: Names and addresses that a request's Host header may contain. The first is part of `origin`.
        tls: Certificate and key, for HTTPS.
        handler: Class that handles requests.
        max_per_address: Limit for open connections from one address; None for no other limit than that for all.

    Raises:
        UserError: the port is taken.
    """

    def __init__(
        self,
        mounts: Mapping[str, Path],
        port: int = 0,
        headers: Mapping[str, str] | None = None,
        *,
        address: str = "127.0.0.1",
        hosts: Sequence[str] = ("127.0.0.1", "localhost"),
        tls: ssl.SSLContext | None = None,
        handler: "type[SiteHandler] | None" = None,
        max_per_address: int | None = None,
    ) -> None:
        attributes = {"mounts": dict(mounts), "extra_headers": dict(headers or {}), "hosts": tuple(hosts)}
        self._handler: type[SiteHandler] = type("Handler", (handler or SiteHandler,), attributes)
        try:
            options = {} if max_per_address is None else {"max_per_address": max_per_address}
            self._http = HttpServer((address, port), self._handler, **options)
        except OSError as error:
            raise UserError(f"port {port} on {address}: {error.strerror}", "Choose another with --port.") from error
        if tls:
            # The handshake runs in the connection's own thread, so that a silent client delays nobody else.
            self._http.socket = tls.wrap_socket(self._http.socket, server_side=True, do_handshake_on_connect=False)
        self.port: int = self._http.server_address[1]
        self.origin = f"{'https' if tls else 'http'}://{hosts[0]}:{self.port}"
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.05,), daemon=True)

    def __enter__(self) -> "SiteServer":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._http.shutdown()
        self._http.server_close()

    def remount(self, mounts: Mapping[str, Path]) -> None:
        """Serve `mounts` from now on, in place of the earlier ones."""
        self._handler.mounts = dict(mounts)

    def wait(self) -> None:
        """Block until the server stops or Ctrl-C interrupts the calling thread."""
        while self._thread.is_alive():
            self._thread.join(timeout=0.5)


class SiteHandler(BaseHTTPRequestHandler):
    """Handles requests. Each server makes a subclass with its own mounts."""

    mounts: Mapping[str, Path]
    extra_headers: Mapping[str, str]
    hosts: Sequence[str]
    protocol_version = "HTTP/1.1"
    server_version = "tinsmith"
    sys_version = ""
    timeout = _IDLE_SECONDS

    @property
    def _server(self) -> HttpServer:
        return cast(HttpServer, self.server)

    def setup(self) -> None:
        super().setup()
        self.rfile.close()
        self._reader = RequestReader(self.connection, self.timeout or _IDLE_SECONDS)
        self.rfile = io.BufferedReader(self._reader)

    def handle_one_request(self) -> None:
        self._server.set_idle(self.connection, True)
        self._reader.expect(_MAX_HEADER_BYTES, _HEADER_SECONDS)
        try:
            super().handle_one_request()
        except TooLarge:
            self.close_connection = True
            self.wfile.write(b"HTTP/1.1 431 Request Header Fields Too Large\r\nConnection: close\r\n\r\n")

    def parse_request(self) -> bool:
        """Read the headers. Only a connection with a complete request counts as busy."""
        is_whole = super().parse_request()
        self._server.set_idle(self.connection, False)
        self.connection.settimeout(self.timeout)
        return is_whole

    def read_body(self, length: int, seconds: float) -> bytes:
        """The body of a request: `length` bytes, or fewer if the client sends no more.

        Raises:
            TooSlow: it is not complete after `seconds`.
        """
        self._reader.expect(length, seconds)
        return self.rfile.read(length)

    def do_GET(self) -> None:
        self._answer(with_body=True)

    def do_HEAD(self) -> None:
        self._answer(with_body=False)

    @property
    def is_for_us(self) -> bool:
        """Whether the Host header names this server. A site whose own domain points here cannot forge that header."""
        port = self._server.server_port
        return self.headers.get("Host") in [f"{host}:{port}" for host in self.hosts]

    def _answer(self, with_body: bool) -> None:
        if not self.is_for_us:
            return self.refuse(HTTPStatus.MISDIRECTED_REQUEST)
        path = resolve(self.mounts, self.path)
        if path is None:
            return self.refuse(HTTPStatus.NOT_FOUND)
        size = path.stat().st_size
        span = _byte_range(self.headers.get("Range", ""), size)
        if span is None:
            return self.refuse(HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE, {"Content-Range": f"bytes */{size}"})
        start, end = span
        is_part = "Range" in self.headers and (start, end) != (0, size)
        self.send_response(HTTPStatus.PARTIAL_CONTENT if is_part else HTTPStatus.OK)
        self.send_header("Content-Type", content_type(path))
        self.send_header("Content-Length", str(end - start))
        self.send_header("Accept-Ranges", "bytes")
        if is_part:
            self.send_header("Content-Range", f"bytes {start}-{end - 1}/{size}")
        self.end_headers()
        if with_body:
            with path.open("rb") as file:
                self._send(file, start, end)

    def _send(self, file: BinaryIO, start: int, end: int) -> None:
        file.seek(start)
        bytes_left = end - start
        try:
            while bytes_left > 0:
                piece = file.read(min(_PIECE_BYTES, bytes_left))
                if not piece:
                    break
                self.wfile.write(piece)
                bytes_left -= len(piece)
        except (BrokenPipeError, ConnectionResetError):
            # Browsers cancel downloads when a tab closes.
            self.close_connection = True
        if bytes_left:
            self.close_connection = True

    def refuse(self, status: HTTPStatus, headers: Mapping[str, str] | None = None) -> None:
        """Respond with a status and its name."""
        body = f"{status.value} {status.phrase}\n".encode()
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Type", "text/plain; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def end_headers(self) -> None:
        for name, value in {**ISOLATION_HEADERS, **self.extra_headers}.items():
            self.send_header(name, value)
        # A new run replaces files under the same names, so a cached file may be outdated.
        self.send_header("Cache-Control", "no-cache")
        super().end_headers()

    def log_message(self, format: str, *args: object) -> None:
        """Print nothing: stderr belongs to progress and errors."""


def resolve(mounts: Mapping[str, Path], target: str) -> Path | None:
    """File that a request target names, or None if there is no such file to serve.

    Args:
        mounts: As for `SiteServer`.
        target: Path of the request line, percent-encoded, with or without a query.
    """
    try:
        url_path = unquote(urlsplit(target).path)
    except ValueError:  # not a URL, such as `http://[`
        return None
    if not url_path.startswith("/") or "\\" in url_path or "\0" in url_path:
        return None
    if url_path in mounts and not url_path.endswith("/"):
        return _plain_file(mounts[url_path])
    prefix = max((p for p in mounts if p.endswith("/") and url_path.startswith(p)), key=len, default=None)
    if prefix is None:
        return None
    names = url_path[len(prefix) :].split("/")
    if names[-1] == "":
        names[-1] = "index.html"
    if any(name in ("", ".", "..") or ":" in name for name in names):
        return None
    path = mounts[prefix]
    for name in names[:-1]:
        path = path / name
        if _is_link(path):
            return None
    return _plain_file(path / names[-1])


def content_type(path: Path) -> str:
    """MIME type for a file name. Browsers refuse modules and WASM with a wrong one."""
    return _TYPES.get(path.suffix, "application/octet-stream")


def _plain_file(path: Path) -> Path | None:
    try:
        return path if path.is_file() and not path.is_symlink() else None
    except OSError:  # a name longer than the file system allows
        return None


def _is_link(path: Path) -> bool:
    try:
        return path.is_symlink()
    except OSError:
        return True


def _byte_range(header: str, size: int) -> tuple[int, int] | None:
    """Half-open byte range of a Range header: the whole file for none or several, None for one outside the file."""
    match = re.fullmatch(r"\s*bytes\s*=([0-9]*)-([0-9]*)", header)
    if match is None or match[0].endswith("=-"):
        return 0, size
    first, last = (_position(digits) for digits in match.groups())
    if first is None:
        first, last = max(0, size - (last or 0)), None
    end = size if last is None else min(last + 1, size)
    return (first, end) if first < end else None


def _position(digits: str) -> int | None:
    """The file position that `digits` spell, or None without digits."""
    if not digits:
        return None
    return int(digits) if len(digits) <= _MAX_POSITION_DIGITS else 10**_MAX_POSITION_DIGITS
