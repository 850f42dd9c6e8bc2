"""One browser tab, with a record of every requested URL, console message and exception.

The model runs in a worker, so workers are recorded too, from their first line on.
"""

import base64
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from tinsmith.browser.serve import content_type, resolve
from tinsmith.core.errors import UserError


class BrowserError(UserError):
    """The browser or a page in it failed, or took too long."""


class Link(Protocol):
    """The part of `chromium.Browser` that a page uses."""

    def send(self, method: str, params: dict, session: str = "") -> Future: ...

    def call(self, method: str, params: dict, session: str = "", timeout_seconds: float = 30) -> dict: ...

    def adopt(self, session: str, page: "Page") -> None: ...


@dataclass(slots=True)
class Request:
    """One request by a page or one of its workers, and its response."""

    url: str
    status: int = 0
    """HTTP status; 0 while there is no response, or if the request failed."""
    size_bytes: int = 0
    """Bytes received over the network, headers included."""
    failure: str = ""
    is_cached: bool = False
    """Whether the response came from the browser's disk cache."""


@dataclass(slots=True)
class Page:
    """One tab, opened by `Browser.open`."""

    _browser: Link
    _session: str
    requests: list[Request] = field(default_factory=list)
    """Every request in order, except `data:` and `blob:` URLs."""
    console: list[tuple[str, str]] = field(default_factory=list)
    """(`log` | `warning` | `error` | ..., text), workers included."""
    exceptions: list[str] = field(default_factory=list)
    """Uncaught exceptions and unhandled rejections, workers included."""
    _by_id: dict[tuple[str, str], Request] = field(default_factory=dict)
    _served: dict[str, Path | str] = field(default_factory=dict)

    def evaluate(self, expression: str, timeout_seconds: float = 30) -> Any:
        """JSON value of a JavaScript expression; a promise is awaited.

        Raises:
            BrowserError: it throws, rejects, or takes longer than `timeout_seconds`.
        """
        parameters = {"expression": expression, "awaitPromise": True, "returnByValue": True, "userGesture": True}
        response = self._browser.call("Runtime.evaluate", parameters, self._session, timeout_seconds)
        if "exceptionDetails" in response:
            details = response["exceptionDetails"]
            text = details.get("exception", {}).get("description") or details["text"]
            raise BrowserError(f"the page failed: {text}", "Its console may say more.")
        return response["result"].get("value")

    def wait_for(self, expression: str, timeout_seconds: float = 30) -> Any:
        """Evaluate an expression until its value is truthy, and return that value.

        Raises:
            BrowserError: it stays falsy for `timeout_seconds`, or throws.
        """
        deadline = time.monotonic() + timeout_seconds
        while not (value := self.evaluate(expression)):
            if time.monotonic() > deadline:
                raise BrowserError(f"the page did not reach this state in {timeout_seconds:g} s: {expression}")
            time.sleep(0.05)
        return value

    def navigate(self, url: str, timeout_seconds: float = 60) -> None:
        """Load `url` and return after its load event.

        Raises:
            BrowserError: the address cannot be loaded.
        """
        response = self._browser.call("Page.navigate", {"url": url}, self._session, timeout_seconds)
        if response.get("errorText"):
            raise BrowserError(f"{url}: {response['errorText']}")
        self.wait_for("document.readyState === 'complete' && location.href !== 'about:blank'", timeout_seconds)

    def serve(self, sources: Mapping[str, Path | str]) -> None:
        """Answer requests for these URL prefixes, such as `https://host/path/`, from local folders or other URLs.

        Call it before `navigate`. A page that loads from a public address then runs without a network.

        Args:
            sources: Prefix -> folder, or prefix -> URL prefix to request instead, invisibly to the page. A folder's
                files travel over the DevTools pipe, which Chromium closes above 100 MB. Serve larger ones
                with a `SiteServer` that sends `Access-Control-Allow-Origin: *` and
                `Cross-Origin-Resource-Policy: cross-origin`.
        """
        self._served.update(sources)
        self._browser.call("Fetch.enable", self._fetch_patterns(), self._session)

    def screenshot(self, path: Path, width: int, height: int, dark: bool = False) -> None:
        """Write a PNG of the page at `width` x `height` CSS pixels."""
        size = {"width": width, "height": height, "deviceScaleFactor": 2, "mobile": width < 600}
        self._browser.call("Emulation.setDeviceMetricsOverride", size, self._session)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self._browser.call("Emulation.setEmulatedMedia", {"features": [scheme]}, self._session)
        self.evaluate("new Promise(done => requestAnimationFrame(() => setTimeout(done, 150)))")
        image = self._browser.call("Page.captureScreenshot", {"format": "png"}, self._session)
        path.write_bytes(base64.b64decode(image["data"]))

    def listen(self, session: str) -> None:
        """Record the events of a DevTools session, which belongs to the tab or one of its workers."""
        self._browser.adopt(session, self)
        for domain in ("Network", "Runtime", "Log"):
            self._browser.send(f"{domain}.enable", {}, session)
        if self._served:
            self._browser.send("Fetch.enable", self._fetch_patterns(), session)
        attach = {"autoAttach": True, "waitForDebuggerOnStart": True, "flatten": True}
        self._browser.send("Target.setAutoAttach", attach, session)

    def on_event(self, session: str, method: str, params: dict) -> None:
        """Handle one event of a session. It runs on the reading thread, so it must not wait for a response."""
        handler = _EVENTS.get(method)
        if handler is not None:
            handler(self, session, params)

    def _fetch_patterns(self) -> dict:
        return {"patterns": [{"urlPattern": prefix + "*"} for prefix in self._served]}

    def _on_request(self, session: str, params: dict) -> None:
        url = params["request"]["url"]
        if url.startswith(("data:", "blob:")):
            return
        self._by_id[session, params["requestId"]] = request = Request(url)
        self.requests.append(request)

    def _on_response(self, session: str, params: dict) -> None:
        if request := self._by_id.get((session, params["requestId"])):
            request.status = params["response"]["status"]
            request.is_cached |= params["response"].get("fromDiskCache", False)

    def _on_finished(self, session: str, params: dict) -> None:
        if request := self._by_id.get((session, params["requestId"])):
            request.size_bytes = int(params["encodedDataLength"])

    def _on_failed(self, session: str, params: dict) -> None:
        if request := self._by_id.get((session, params["requestId"])):
            request.failure = params["errorText"]

    def _on_console(self, session: str, params: dict) -> None:
        words = [str(a.get("value", a.get("description", a.get("type", "")))) for a in params["args"]]
        self.console.append((params["type"], " ".join(words)))

    def _on_log(self, session: str, params: dict) -> None:
        entry = params["entry"]
        self.console.append((entry["level"], f"{entry['text']} {entry.get('url', '')}".strip()))

    def _on_exception(self, session: str, params: dict) -> None:
        details = params["exceptionDetails"]
        self.exceptions.append(details.get("exception", {}).get("description") or details["text"])

    def _on_paused(self, session: str, params: dict) -> None:
        url = params["request"]["url"]
        prefix = next(p for p in self._served if url.startswith(p))
        source = self._served[prefix]
        if isinstance(source, str):
            redirect = {"requestId": params["requestId"], "url": source + url[len(prefix) :]}
            self._browser.send("Fetch.continueRequest", redirect, session)
            return
        path = resolve({"/": source}, "/" + url[len(prefix) :])
        headers = [
            {"name": "Access-Control-Allow-Origin", "value": "*"},
            {"name": "Cross-Origin-Resource-Policy", "value": "cross-origin"},
        ]
        body = path.read_bytes() if path else b"not found"
        headers.append({"name": "Content-Length", "value": str(len(body))})
        if path:
            headers.append({"name": "Content-Type", "value": content_type(path)})
        response = {
            "requestId": params["requestId"],
            "responseCode": 200 if path else 404,
            "responseHeaders": headers,
            "body": base64.b64encode(body).decode(),
        }
        self._browser.send("Fetch.fulfillRequest", response, session)

    def _on_attached(self, session: str, params: dict) -> None:
        """Listen to a new worker before it runs its first line."""
        child = params["sessionId"]
        self.listen(child)
        self._browser.send("Runtime.runIfWaitingForDebugger", {}, child)


_EVENTS: dict[str, Callable[[Page, str, dict], None]] = {
    "Network.requestWillBeSent": Page._on_request,
    "Network.responseReceived": Page._on_response,
    "Network.loadingFinished": Page._on_finished,
    "Network.loadingFailed": Page._on_failed,
    "Runtime.consoleAPICalled": Page._on_console,
    "Runtime.exceptionThrown": Page._on_exception,
    "Log.entryAdded": Page._on_log,
    "Fetch.requestPaused": Page._on_paused,
    "Target.attachedToTarget": Page._on_attached,
}
