"""A page that another browser opens to run the benchmark and send its result back.

Anyone with the link can download the model and send one result. Then the code in the link expires, and a new one
replaces it. Browsers on this machine get the page over HTTP. Devices on the network get it over HTTPS with a temporary
certificate, because browsers allow threads, WebGPU and cryptography only on secure pages.
"""

import base64
import hmac
import ipaddress
import json
import re
import secrets
import socket
import ssl
import threading
from collections.abc import Callable
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from pathlib import Path
from typing import Any

from tinsmith.bench import remote_result
from tinsmith.bench.remote_result import RemoteResult
from tinsmith.browser.runtime import GPU_SCRIPTS, WEB_DIR, write_runtime
from tinsmith.browser.serve import SiteHandler, SiteServer
from tinsmith.core.errors import UserError
from tinsmith.core.scratch import scratch_folder

_PAGES = (
    "remote.html",
    "remote.js",
    "benchmark.js",
    "client.js",
    "worker.js",
    "answers.js",
    "encoder.js",
    "overlap.js",
    "vectors.js",
    "loader.js",
    "store.js",
    "files.js",
    "device.js",
    "runtime.js",
    "runtime_digests.js",
    "unpack.js",
    "unpack_worker.js",
    "reference.js",
    "rows.js",
    "context.js",
    "tokens.js",
    "versions.js",
    *GPU_SCRIPTS,
    "page.css",
)
_MAX_RESULT_BYTES, _RESULT_SECONDS = 1 << 20, 30
_MAX_PER_ADDRESS = 16
"""Open connections from one address. A browser opens six."""
_LOOPBACK, _EVERYWHERE = "127.0.0.1", "0.0.0.0"


class RemoteBench:
    """Serves the page while used as a context manager.

    Args:
        plan: Result of `bench.plan.plan`; the page picks the device.
        package_dir: The package to measure.
        received_dir: Folder for accepted results.
        is_open: Serve the local network over HTTPS instead of only this machine over HTTP.
        port: Port to listen on; 0 picks a free one.
        on_result: Called with every accepted result, on a server thread.
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
        self._exit = ExitStack()
        folder = self._exit.enter_context(scratch_folder("tinsmith-remote-"))
        self._runtime, self._plan = folder / "runtime", folder / "plan.json"
        write_runtime(self._runtime)
        self._plan.write_text(json.dumps(plan))
        self._lock = threading.Lock()
        self._mounts: dict[str, Path] = {}
        self.is_open = is_open
        self.fingerprint: str
        """SHA-256 fingerprint of the certificate, as browsers show it; empty without one."""
        names = tuple(dict.fromkeys((local_address() if is_open else _LOOPBACK, _LOOPBACK, "localhost")))
        handler = type("Handler", (_Handler,), {"bench": self})
        tls, self.fingerprint = self_signed_tls(names) if is_open else (None, "")
        self._server = SiteServer(
            {},
            port,
            address=_EVERYWHERE if is_open else _LOOPBACK,
            hosts=names,
            handler=handler,
            tls=tls,
            max_per_address=_MAX_PER_ADDRESS if is_open else None,
        )
        self._renew()

    def __enter__(self) -> "RemoteBench":
        self._exit.enter_context(self._server)
        return self

    def __exit__(self, *_: object) -> None:
        self._exit.close()

    @property
    def url(self) -> str:
        """Address to open for the next result."""
        return f"{self._server.origin}/{self._code}/remote.html"

    def knows(self, path: str) -> bool:
        """Whether a path starts with the code. The comparison takes as long for every code."""
        code = path.split("/", 2)[1] if path.count("/") >= 2 else ""
        return hmac.compare_digest(code.encode(errors="replace"), self._code.encode())

    def receive(self, path: str, body: bytes, signature: str) -> HTTPStatus:
        """Store a result that was posted to `path`, replace the code, and return the status for the sender."""
        with self._lock:
            code = self._code
            if not (self.knows(path) and path.endswith("/result") and path.count("/") == 2):
                return HTTPStatus.NOT_FOUND
            try:
                result = remote_result.accept(code, body, signature)
            except UserError:
                return HTTPStatus.BAD_REQUEST
            remote_result.store(self._received_dir, code, body, signature)
            self._renew()
        self._on_result(result)
        return HTTPStatus.NO_CONTENT

    def _renew(self) -> None:
        self._code = base64.b32encode(secrets.token_bytes(10)).decode().lower()
        prefix = f"/{self._code}/"
        mounts = {prefix + name: WEB_DIR / name for name in _PAGES}
        mounts |= {
            f"{prefix}plan.json": self._plan,
            f"{prefix}runtime/": self._runtime,
            f"{prefix}model/": self._package_dir,
        }
        self._server.remount(mounts)


class _Handler(SiteHandler):
    """Serves the page and receives its results."""

    bench: RemoteBench

    def do_GET(self) -> None:
        super().do_GET() if self.bench.knows(self.path) else self._refuse_stranger()

    def do_HEAD(self) -> None:
        super().do_HEAD() if self.bench.knows(self.path) else self._refuse_stranger()

    def do_POST(self) -> None:
        length = _content_length(self.headers.get("Content-Length", ""))
        self.close_connection = True
        # A body is read only from a sender that knows the code.
        if not self.is_for_us or not self.bench.knows(self.path):
            return self._refuse_stranger()
        if length is None or length > _MAX_RESULT_BYTES:
            return self.refuse(HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
        body = self.read_body(length, _RESULT_SECONDS)
        self.refuse(self.bench.receive(self.path, body, self.headers.get("X-Signature", "")))

    def _refuse_stranger(self) -> None:
        self.refuse(HTTPStatus.NOT_FOUND if self.is_for_us else HTTPStatus.MISDIRECTED_REQUEST)


def _content_length(header: str) -> int | None:
    """Size of a body in bytes, or None if the header is not a number of at most 9 digits."""
    return int(header) if re.fullmatch("[0-9]{1,9}", header) else None


def local_address() -> str:
    """This machine's IPv4 address on the network of its default route. Sends nothing.

    Raises:
        UserError: this machine is not connected to a network.
    """
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))  # reserved for documentation (RFC 5737)
        except OSError as error:
            raise UserError(
                "this machine is not connected to a network, so no other device can reach it",
                "Connect it, or leave out --lan to measure browsers on this machine.",
            ) from error
        return probe.getsockname()[0]


def self_signed_tls(names: tuple[str, ...]) -> tuple[ssl.SSLContext, str]:
    """A TLS context with a new key and a self-signed certificate for `names`, valid for one day.

    Returns:
        The context, and the SHA-256 fingerprint of the certificate as browsers show it: `AB:CD:...`.
    """
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "tinsmith bench")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([_general_name(name) for name in names]), critical=False)
        .sign(key, hashes.SHA256())
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    pem, pkcs8 = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    with scratch_folder("tinsmith-key-") as folder:  # readable by this user only
        path = folder / "key.pem"
        unencrypted_key = key.private_bytes(pem, pkcs8, serialization.NoEncryption())
        path.write_bytes(certificate.public_bytes(pem) + unencrypted_key)
        context.load_cert_chain(path)
    return context, certificate.fingerprint(hashes.SHA256()).hex(":").upper()


def _general_name(name: str) -> Any:
    from cryptography import x509

    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)
