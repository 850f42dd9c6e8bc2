"""Downloads from an npm registry: its address, proxies, certificates, and retries."""

import base64
import http.client
import os
import re
import ssl
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit, urlunsplit

from tinsmith.core.errors import MissingDependency

_PUBLIC_REGISTRY = "https://registry.npmjs.org"
_RETRYABLE_STATUSES = frozenset({408, 425, 429, 500, 502, 503, 504})
_PAUSES_SECONDS = (1, 2, 4)
"""Pauses between attempts."""
_TIMEOUT_SECONDS = 30
"""Time limit for a connection and for each read."""
_PIECE_BYTES = 1 << 16
_MAX_BYTES = 500_000_000
_CERTIFICATE_VARIABLES = ("NODE_EXTRA_CA_CERTS", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")
"""Variables that name a file of additional trusted certificates. OpenSSL reads `SSL_CERT_FILE` and `SSL_CERT_DIR`."""


def registry_address(package_name: str = "") -> str:
    """Address of the npm registry, without a trailing slash.

    It is the first of these that is set: the registry for the package's scope (such as `@huggingface:registry`) in the
    user's npm configuration, the environment variable `npm_config_registry`, `registry` in that configuration, and the
    public registry.

    Raises:
        MissingDependency: it is not an http or https address.
    """
    settings = _user_settings()
    scope = package_name.partition("/")[0] if package_name.startswith("@") else ""
    address = (
        settings.get(f"{scope}:registry") or _npm_variable("registry") or settings.get("registry") or _PUBLIC_REGISTRY
    ).rstrip("/")
    if not address.startswith(("https://", "http://")):
        raise MissingDependency(
            f"npm registry {address!r}: not an http or https address",
            "Correct npm_config_registry or the user's .npmrc.",
        )
    return address


def without_credentials(url: str) -> str:
    """`url` without user name and password, for messages."""
    parts = urlsplit(url)
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))


def is_reachable(url: str, timeout_seconds: float = 5) -> bool:
    """Whether a server has the file at `url`. Downloads nothing."""
    try:
        with _open(_request(url, "HEAD"), timeout_seconds):
            return True
    except (OSError, http.client.HTTPException, ValueError):
        return False


def download(what: str, url: str, target: Path) -> Path:
    """Fetch `url` into `target` with a progress bar; return `target`.

    An interrupted download continues where it stopped if the server supports that; otherwise it starts again. The
    environment variables `https_proxy`, `http_proxy` and `no_proxy` set the proxy.

    Args:
        what: Name of the file for messages.
        url: An http or https address.
        target: A new file.

    Raises:
        MissingDependency: the file cannot be fetched; the message says what, from where, and why.
    """
    from tqdm import tqdm

    etag = ""
    with tqdm(desc=f"fetching {what} from {_server_of(url)}", unit="B", unit_scale=True) as bar:
        for pause_seconds in (*_PAUSES_SECONDS, None):
            try:
                with _open(_request(url, "GET", target, etag), _TIMEOUT_SECONDS) as response:
                    etag = response.headers.get("ETag", "")
                    _save(response, target, bar)
                return target
            except (OSError, http.client.HTTPException, ValueError) as error:
                is_final = isinstance(error, urllib.error.HTTPError) and error.code not in _RETRYABLE_STATUSES
                if pause_seconds is None or is_final or isinstance(error, ValueError):
                    raise _not_fetched(what, url, error) from error
                time.sleep(pause_seconds)
    raise AssertionError("the last attempt returns or raises")


def _save(response: http.client.HTTPResponse, target: Path, bar: Any) -> None:
    """Write a response to `target`. A partial response is appended to the part already there.

    Raises:
        ConnectionError: the connection closed before the end.
        ValueError: the file is larger than any package, or the partial response starts at the wrong byte.
    """
    start = 0
    if response.status == http.HTTPStatus.PARTIAL_CONTENT:
        start = target.stat().st_size
        if not response.headers.get("Content-Range", "").startswith(f"bytes {start}-"):
            raise ValueError("the server sent the wrong part of the file")
    length = response.headers.get("Content-Length", "")
    end = start + int(length) if length.isdecimal() else None
    bar.total, bar.n = end, start
    with target.open("ab" if start else "wb") as file:
        while piece := response.read(_PIECE_BYTES):
            file.write(piece)
            bar.update(len(piece))
            if file.tell() > _MAX_BYTES:
                raise ValueError(f"more than {_MAX_BYTES // 10**6} MB")
        if end is not None and file.tell() < end:
            raise ConnectionError(f"connection closed after {file.tell()} of {end} bytes")


def _request(url: str, method: str, partial: Path | None = None, etag: str = "") -> urllib.request.Request:
    """A request for `url`. With a partial file, it asks for the rest, or for all of it if the server's file changed."""
    parts = urlsplit(url)
    request = urllib.request.Request(without_credentials(url), method=method, headers={"User-Agent": "tinsmith"})
    if parts.username:
        credentials = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
        encoded = base64.b64encode(credentials.encode()).decode()
        request.add_unredirected_header("Authorization", f"Basic {encoded}")
    if partial is not None and etag and partial.exists():
        request.add_header("Range", f"bytes={partial.stat().st_size}-")
        request.add_header("If-Range", etag)
    return request


def _open(request: urllib.request.Request, timeout_seconds: float) -> http.client.HTTPResponse:
    import certifi

    context = ssl.create_default_context()
    # Python on macOS may come without any certificates.
    context.load_verify_locations(certifi.where())
    for path in (_npm_variable("cafile"), *map(os.environ.get, _CERTIFICATE_VARIABLES)):
        if path:
            context.load_verify_locations(path)
    opener = urllib.request.build_opener(urllib.request.HTTPSHandler(context=context))
    return opener.open(request, timeout=timeout_seconds)


def _user_settings() -> dict[str, str]:
    """The user's npm configuration: lines of `key=value`, with each `${NAME}` replaced from the environment."""
    path = Path(_npm_variable("userconfig") or Path.home() / ".npmrc")
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError):
        return {}
    settings = {}
    for line in lines:
        key, equals, value = line.partition("=")
        if equals and not line.lstrip().startswith((";", "#")):
            value = re.sub(r"\$\{([^}]+)\}", lambda match: os.environ.get(match[1], ""), value.strip().strip("\"'"))
            settings[key.strip()] = value
    return settings


def _npm_variable(name: str) -> str:
    """Value of npm's environment variable for a setting, in lower or upper case; empty if neither is set."""
    lower = f"npm_config_{name}"
    return os.environ.get(lower) or os.environ.get(lower.upper()) or ""


def _server_of(url: str) -> str:
    parts = urlsplit(without_credentials(url))
    return f"{parts.scheme}://{parts.netloc}"


def _not_fetched(what: str, url: str, error: Exception) -> MissingDependency:
    reason = error.reason if isinstance(error, urllib.error.URLError) else error
    if isinstance(error, urllib.error.HTTPError):
        reason = f"HTTP {error.code} {error.reason}"
    return MissingDependency(
        f"cannot fetch {what} from {without_credentials(url)}: {reason}",
        "Check the network, the proxy (https_proxy) and the registry (npm_config_registry)."
        " Without a network, copy the archives to this machine: tinsmith setup --help",
    )
