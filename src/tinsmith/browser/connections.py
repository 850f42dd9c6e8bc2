"""An HTTP server with a bounded number of connections."""

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


class HttpServer(ThreadingHTTPServer):
    """One thread per connection, up to `_MAX_CONNECTIONS`, so that idle ones cannot shut out others."""

    daemon_threads = True
    request_queue_size = _MAX_CONNECTIONS

    def __init__(self, address: tuple[str, int], handler: type[BaseHTTPRequestHandler]) -> None:
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
            if len(self._connections) >= _MAX_CONNECTIONS and not self._drop_longest_idle():
                super().shutdown_request(request)
                return
            self._connections.add(request)
            self._idle_since[request] = time.monotonic()
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        with self._lock:
            self._connections.discard(request)
            self._idle_since.pop(request, None)
        super().shutdown_request(request)

    def server_close(self) -> None:
        """Stop listening and end every connection; those that a browser keeps open would be answered on otherwise."""
        super().server_close()
        with self._lock:
            for connection in self._connections:
                _shut_down(connection)

    def _drop_longest_idle(self) -> bool:
        """Close the connection that has waited longest for a request; its thread then ends. False if all are busy."""
        if not self._idle_since:
            return False
        connection = min(self._idle_since, key=lambda idle: self._idle_since[idle])
        del self._idle_since[connection]
        self._connections.discard(connection)
        _shut_down(connection)
        return True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Ignore clients that hang up or refuse the certificate. Report any other error: it is a bug in the server."""
        if not isinstance(sys.exception(), ssl.SSLError | ConnectionError | TimeoutError):
            super().handle_error(request, client_address)


def _shut_down(connection: socket.socket) -> None:
    """End a connection from another thread than its own."""
    with suppress(OSError):
        # Call the plain socket's method: a TLS socket's own is unsafe while another thread reads.
        socket.socket.shutdown(connection, socket.SHUT_RDWR)
