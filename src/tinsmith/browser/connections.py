"""An HTTP server whose clients cannot take it over: connections, sizes and times are limited.

A client may be slow on purpose. So the headers of a request, and each body, have to be complete after some seconds, and
not only their next byte.
"""

import io
import socket
import ssl
import sys
import threading
import time
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

_MAX_CONNECTIONS = 128
"""Limit for open connections. A browser opens six per host. At the limit, a new one replaces the one idle longest."""


class TooSlow(ConnectionError):
    """A request or its body did not arrive in time; the connection is closed without an answer."""


class TooLarge(Exception):
    """The headers of a request have too many bytes."""


class RequestReader(io.RawIOBase):
    """Reads one request after the other from a connection, each part within a number of bytes and seconds."""

    def __init__(self, connection: socket.socket, idle_seconds: float) -> None:
        self._connection, self._idle_seconds = connection, idle_seconds
        self._bytes_left, self._seconds, self._end = 0, 0.0, None

    def expect(self, max_bytes: int, seconds: float) -> None:
        """Allow at most `max_bytes` from now on, which must arrive within `seconds` of the first of them."""
        self._bytes_left, self._seconds, self._end = max_bytes, seconds, None

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        if self._bytes_left <= 0:
            raise TooLarge
        if self._end is None:
            self._connection.settimeout(self._idle_seconds)
        else:
            seconds_left = self._end - time.monotonic()
            if seconds_left <= 0:
                raise TooSlow
            self._connection.settimeout(seconds_left)
        view = memoryview(buffer)[: self._bytes_left]
        size_bytes = self._connection.recv_into(view)
        self._bytes_left -= size_bytes
        if self._end is None:
            self._end = time.monotonic() + self._seconds
        return size_bytes


class HttpServer(ThreadingHTTPServer):
    """One thread per connection, up to `_MAX_CONNECTIONS`, so that idle ones cannot shut out others.

    Args:
        address: Where to listen.
        handler: Class that handles requests.
        max_per_address: Limit for open connections from one address, so that one device cannot shut out others.
    """

    daemon_threads = True
    request_queue_size = _MAX_CONNECTIONS

    def __init__(
        self,
        address: tuple[str, int],
        handler: type[BaseHTTPRequestHandler],
        max_per_address: int = _MAX_CONNECTIONS,
    ) -> None:
        self._max_per_address = max_per_address
        self._address_of: dict[socket.socket, str] = {}
        self._lock = threading.Lock()
        self._connections: set[socket.socket] = set()
        self._idle_since: dict[socket.socket, float] = {}
        super().__init__(address, handler)

    def set_idle(self, connection: socket.socket, is_idle: bool) -> None:
        """Record whether a connection is idle, which means that it waits for a request, or is answering one."""
        with self._lock:
            if not is_idle:
                self._idle_since.pop(connection, None)
            elif connection in self._connections:
                self._idle_since.setdefault(connection, time.monotonic())

    def process_request(self, request: Any, client_address: Any) -> None:
        with self._lock:
            own = [other for other, address in self._address_of.items() if address == client_address[0]]
            is_full = len(own) >= self._max_per_address or len(self._connections) >= _MAX_CONNECTIONS
            candidates = own if len(own) >= self._max_per_address else list(self._connections)
            if is_full and not self._drop_longest_idle(candidates):
                super().shutdown_request(request)
                return
            self._connections.add(request)
            self._address_of[request] = client_address[0]
            self._idle_since[request] = time.monotonic()
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        with self._lock:
            self._forget(request)
        super().shutdown_request(request)

    def server_close(self) -> None:
        """Stop listening and end every connection; those that a browser keeps open would be answered on otherwise."""
        super().server_close()
        with self._lock:
            for connection in self._connections:
                _shut_down(connection)

    def _drop_longest_idle(self, candidates: list[socket.socket]) -> bool:
        """Close the one that has waited longest for a request; its thread then ends. False if all are busy."""
        idle = [connection for connection in candidates if connection in self._idle_since]
        if not idle:
            return False
        connection = min(idle, key=lambda one: self._idle_since[one])
        self._forget(connection)
        _shut_down(connection)
        return True

    def _forget(self, connection: socket.socket) -> None:
        self._connections.discard(connection)
        self._address_of.pop(connection, None)
        self._idle_since.pop(connection, None)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Ignore clients that hang up or refuse the certificate. Report any other error: it is a bug in the server."""
        if not isinstance(sys.exception(), ssl.SSLError | ConnectionError | TimeoutError):
            super().handle_error(request, client_address)


def _shut_down(connection: socket.socket) -> None:
    """End a connection from another thread than its own."""
    with suppress(OSError):
        # Call the plain socket's method: a TLS socket's own is unsafe while another thread reads.
        socket.socket.shutdown(connection, socket.SHUT_RDWR)
