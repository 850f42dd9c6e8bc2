"""A static file server for one machine.

It answers GET and HEAD for files below its mounts and nothing else: no listing, no symbolic links, no other host's
name in the request, real 404s (a fallback page would be parsed as a model file). Every answer carries the headers
that give the page `crossOriginIsolated`, without which WASM has one thread.
"""

import ssl
import sys
import threading
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, BinaryIO
from urllib.parse import unquote, urlsplit

from tinsmith.core.errors import UserError

ISOLATION_HEADERS = {
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Embedder-Policy": "require-corp",
    "Cross-Origin-Resource-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
}
"""What gives a page `crossOriginIsolated`."""

# The pages carry a narrower policy of their own. Workers, in which the model runs, take theirs from the header alone, and being
# framed by another site can only be refused there.
HOST_HEADERS = {
    **ISOLATION_HEADERS,
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; worker-src 'self'; connect-src 'self'; img-src 'self' data:; "
        "style-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
}
"""What a static host must send; `app.py` writes them down for the common hosts."""

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


class SiteServer:
    """Serves `mounts` on 127.0.0.1 while used as a context manager.

    Args:
        mounts: URL prefix ending in `/` -> folder, or full URL path -> file. The longest prefix wins.
        port: 0 takes a free one.
        headers: Sent with every answer beside `ISOLATION_HEADERS`.
        address: To listen on. Only a person who asked for it gets another one.
        hosts: Names and numbers that a request may call this machine; the first is the origin's.
        tls: Certificate and key, for https.
        handler: What answers.

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
    ) -> None:
        filled = {"mounts": dict(mounts), "extra_headers": dict(headers or {}), "hosts": tuple(hosts)}
        try:
            self._http = _Http((address, port), type("Handler", (handler or SiteHandler,), filled))
        except OSError as error:
            raise UserError(f"port {port} on {address}: {error.strerror}", "Choose another with --port.") from error
        if tls:
            # The handshake waits for the handler's thread, so that a silent caller holds up nobody else.
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
        """Serve these from now on, and nothing else."""
        self._http.RequestHandlerClass.mounts = dict(mounts)

    def wait(self) -> None:
        """Return when the server stops, such as after an interrupt in the calling thread."""
        while self._thread.is_alive():
            self._thread.join(timeout=0.5)


class _Http(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing of callers that hang up or refuse the certificate; the rest is a mistake here."""
        if not isinstance(sys.exception(), ssl.SSLError | ConnectionError | TimeoutError):
            super().handle_error(request, client_address)


class SiteHandler(BaseHTTPRequestHandler):
    """One request. Subclassed per server with its mounts."""

    mounts: Mapping[str, Path]
    extra_headers: Mapping[str, str]
    hosts: Sequence[str]
    protocol_version = "HTTP/1.1"
    server_version = "tinsmith"
    sys_version = ""

    def do_GET(self) -> None:
        self._answer(with_body=True)

    def do_HEAD(self) -> None:
        self._answer(with_body=False)

    @property
    def is_for_us(self) -> bool:
        """A page of another site can point its own name at 127.0.0.1; it cannot forge the Host header."""
        port = self.server.server_address[1]
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
        left = end - start
        try:
            while left > 0:
                piece = file.read(min(_PIECE_BYTES, left))
                if not piece:
                    break
                self.wfile.write(piece)
                left -= len(piece)
        except (BrokenPipeError, ConnectionResetError):
            # The browser cancels downloads when a tab closes; nobody is left to tell.
            self.close_connection = True
        if left:
            self.close_connection = True

    def refuse(self, status: HTTPStatus, headers: Mapping[str, str] | None = None) -> None:
        """Answer with a status and its name."""
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
        # A run is replaced in place; a stale model file under the same name must not be answered from memory.
        self.send_header("Cache-Control", "no-cache")
        super().end_headers()

    def log_message(self, format: str, *args: object) -> None:
        """Print nothing: stderr belongs to progress and errors."""


def resolve(mounts: Mapping[str, Path], target: str) -> Path | None:
    """The file a request target names, or None if it names none that may be served.

    Args:
        mounts: As for `SiteServer`.
        target: Path of the request line, percent-encoded, with or without a query.
    """
    url_path = unquote(urlsplit(target).path)
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
    for name in names:
        path = path / name
        if path.is_symlink():
            return None
    return _plain_file(path)


def content_type(path: Path) -> str:
    """MIME type by file name; browsers refuse modules and WASM under a wrong one."""
    return _TYPES.get(path.suffix, "application/octet-stream")


def _plain_file(path: Path) -> Path | None:
    return path if path.is_file() and not path.is_symlink() else None


def _byte_range(header: str, size: int) -> tuple[int, int] | None:
    """Half-open byte range a Range header asks for; the whole file for none or several; None if it cannot be met."""
    unit, equals, span = header.partition("=")
    first, dash, last = span.partition("-")
    if not equals or unit.strip() != "bytes" or not dash or not (first + last).isdecimal():
        return 0, size
    start = int(first) if first else max(0, size - int(last))
    end = min(int(last) + 1, size) if first and last else size
    return (start, end) if start < end else None
