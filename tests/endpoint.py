"""A stand-in for an OpenAI-compatible endpoint, on this machine."""

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

KEY = "sk-very-secret-3141592653"


class StandIn:
    """The requests that the endpoint got, and its address."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.requests: list[dict] = []
        """Bodies, in order of arrival."""
        self.headers: list[dict] = []


def completion(text: str | None) -> bytes:
    """The body of a chat completion."""
    return json.dumps({"choices": [{"message": {"role": "assistant", "content": text}}]}).encode()


def last_message(body: dict) -> str:
    return body["messages"][-1]["content"]


@contextmanager
def endpoint(reply: Callable[[dict, int], tuple[int, bytes, dict]]) -> Iterator[StandIn]:
    """Serve `POST /v1/chat/completions`.

    Args:
        reply: (body of the request, its number from 0) -> status, body and further headers.
    """

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            with lock:
                number = len(stand_in.requests)
                stand_in.requests.append({"path": self.path, **body})
                stand_in.headers.append(dict(self.headers))
            status, content, headers = reply(body, number)
            self.send_response(status)
            for name, value in {"Content-Length": str(len(content)), **headers}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            pass

    lock = threading.Lock()
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    stand_in = StandIn(f"http://127.0.0.1:{server.server_port}/v1")
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield stand_in
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
