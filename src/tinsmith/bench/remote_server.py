"""A page that another browser opens to run the benchmark and send its result back.

Whoever has the link may download the model and send one result; the code in it is then spent and another one made.
On this machine alone the page is plain http. Beyond it, it is https under a certificate made for the occasion, because
browsers give threads, WebGPU and cryptography to secure pages only.
"""

import base64
import ipaddress
import json
import secrets
import socket
import ssl
import tempfile
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from pathlib import Path
from typing import Any

from tinsmith.bench import remote_result
from tinsmith.bench.remote_result import RemoteResult
from tinsmith.browser.runtime import WEB_DIR, write_runtime
from tinsmith.browser.serve import SiteHandler, SiteServer
from tinsmith.core.errors import UserError

_PAGES = (
    "remote.html",
    "remote.js",
    "protocol.js",
    "client.js",
    "worker.js",
    "loader.js",
    "store.js",
    "unpack.js",
    "unpack_worker.js",
    "reference.js",
    "rows.js",
    "context.js",
    "page.css",
)
_MOST_BYTES = 1 << 20
_PATIENCE_SECONDS = 60
_LOOPBACK, _EVERYWHERE = "127.0.0.1", "0.0.0.0"


class RemoteBench:
    """Serves the page while used as a context manager.

    Args:
        plan: Of `bench.plan.plan`; its device is chosen by the page.
        package_dir: The package that is measured.
        received_dir: Where accepted results are kept.
        is_open: To the local network, in https; else to this machine, in http.
        port: 0 takes a free one.
        on_result: Called with every accepted result, from a thread of the server.
    """

    def __init__(
        self,
        plan: dict[str, Any],
        package_dir: Path,
        received_dir: Path,
        is_open: bool = False,
        port: int = 0,
        on_result: Callable[[RemoteResult], None] = lambda result: None,
    ) -> None:
        self._package_dir, self._received_dir, self._on_result = package_dir, received_dir, on_result
        self._folder = tempfile.TemporaryDirectory(prefix="tinsmith-remote-")
        write_runtime(Path(self._folder.name) / "runtime")
        self._plan = Path(self._folder.name) / "plan.json"
        self._plan.write_text(json.dumps(plan))
        self._lock = threading.Lock()
        self._mounts: dict[str, Path] = {}
        self.is_open = is_open
        names = tuple(dict.fromkeys((own_address() if is_open else _LOOPBACK, _LOOPBACK, "localhost")))
        handler = type("Handler", (_Handler,), {"bench": self, "timeout": _PATIENCE_SECONDS})
        self._server = SiteServer(
            {},
            port,
            address=_EVERYWHERE if is_open else _LOOPBACK,
            hosts=names,
            handler=handler,
            tls=own_certificate(names) if is_open else None,
        )
        self._renew()

    def __enter__(self) -> "RemoteBench":
        self._server.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.__exit__()
        self._folder.cleanup()

    @property
    def url(self) -> str:
        """What to open, for one result."""
        return f"{self._server.origin}/{self._code}/remote.html"

    def receive(self, path: str, body: bytes, signature: str) -> HTTPStatus:
        """Keep a result that was posted to `path`, and spend its code."""
        with self._lock:
            code = self._code
            if path != f"/{code}/result":
                return HTTPStatus.NOT_FOUND
            try:
                result = remote_result.accept(code, body, signature)
            except UserError:
                return HTTPStatus.BAD_REQUEST
            remote_result.keep(self._received_dir, code, body, signature)
            self._renew()
        self._on_result(result)
        return HTTPStatus.NO_CONTENT

    def _renew(self) -> None:
        self._code = base64.b32encode(secrets.token_bytes(10)).decode().lower()
        start = f"/{self._code}/"
        mounts = {start + name: WEB_DIR / name for name in _PAGES}
        mounts |= {
            f"{start}plan.json": self._plan,
            f"{start}runtime/": Path(self._folder.name) / "runtime",
            f"{start}model/": self._package_dir,
        }
        self._server.remount(mounts)


class _Handler(SiteHandler):
    """Takes results too."""

    bench: RemoteBench

    def do_POST(self) -> None:
        length = self.headers.get("Content-Length", "")
        self.close_connection = True
        if not self.is_for_us:
            return self.refuse(HTTPStatus.MISDIRECTED_REQUEST)
        if not length.isdecimal() or int(length) > _MOST_BYTES:
            return self.refuse(HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
        status = self.bench.receive(self.path, self.rfile.read(int(length)), self.headers.get("X-Signature", ""))
        self.refuse(status)


def own_address() -> str:
    """This machine's address on the network that its default route leads to; nothing is sent to find it.

    Raises:
        UserError: there is no network.
    """
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))  # of a block reserved for documentation
        except OSError as error:
            raise UserError(
                "this machine is on no network that another device could reach it by",
                "Join one, or leave out --lan to measure browsers on this machine.",
            ) from error
        return probe.getsockname()[0]


def own_certificate(names: tuple[str, ...]) -> ssl.SSLContext:
    """A server context with a new key and a certificate for `names`, valid for a day and signed by itself."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "tinsmith bench")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder().subject_name(subject).issuer_name(subject).public_key(key.public_key())
        .serial_number(x509.random_serial_number()).not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([_named(name) for name in names]), critical=False)
        .sign(key, hashes.SHA256())
    )  # fmt: skip
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    with tempfile.TemporaryDirectory(prefix="tinsmith-key-") as folder:  # readable by this user only
        path = Path(folder) / "key.pem"
        path.write_bytes(
            certificate.public_bytes(serialization.Encoding.PEM)
            + key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        )
        context.load_cert_chain(path)
    return context


def _named(name: str) -> Any:
    from cryptography import x509

    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)
