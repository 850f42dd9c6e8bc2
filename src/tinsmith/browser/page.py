"""One browser tab and what it leaves as evidence: every URL fetched, every console message, every exception.

Workers are followed from before their first line, because the model runs in one.
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
    """The browser, or the page in it, did not do what it was asked."""


class Link(Protocol):
    """The connection to a browser, as far as a page needs it (`browser.Browser`)."""

    def send(self, method: str, params: dict, session: str = "") -> Future: ...

    def call(self, method: str, params: dict, session: str = "", timeout_seconds: float = 30) -> dict: ...

    def adopt(self, session: str, page: "Page") -> None: ...


@dataclass(slots=True)
class Fetched:
    """One request made by a page or one of its workers."""

    url: str
    status: int = 0
    """HTTP status; 0 while unanswered or failed."""
    size_bytes: int = 0
    """Bytes received over the network, headers included."""
    failure: str = ""
    is_cached: bool = False


@dataclass(slots=True)
class Page:
    """One tab. Made by `Browser.open`."""

    _browser: Link
    _session: str
    requests: list[Fetched] = field(default_factory=list)
    """Every request in order, `data:` and `blob:` URLs left out."""
    console: list[tuple[str, str]] = field(default_factory=list)
    """(`log` | `warning` | `error` | ..., text), workers included."""
    exceptions: list[str] = field(default_factory=list)
    """Uncaught exceptions and rejected promises nobody handled, workers included."""
    _by_id: dict[tuple[str, str], Fetched] = field(default_factory=dict)
    _served: dict[str, Path | str] = field(default_factory=dict)

    def evaluate(self, expression: str, timeout_seconds: float = 30) -> Any:
        """JSON value of a JavaScript expression; a promise is awaited.

        Raises:
            BrowserError: it throws, rejects, or takes longer than `timeout_seconds`.
        """
        answer = self._browser.call(
            "Runtime.evaluate",
            {"expression": expression, "awaitPromise": True, "returnByValue": True, "userGesture": True},
            self._session, timeout_seconds,
        )  # fmt: skip
        if "exceptionDetails" in answer:
            details = answer["exceptionDetails"]
            text = details.get("exception", {}).get("description") or details["text"]
            raise BrowserError(f"the page failed: {text}", "The messages of its console may say more.")
        return answer["result"].get("value")

    def wait_for(self, expression: str, timeout_seconds: float = 30) -> Any:
        """First truthy value of an expression that is asked repeatedly.

        Raises:
            BrowserError: it stays falsy for `timeout_seconds`, or throws.
        """
        deadline = time.monotonic() + timeout_seconds
        while not (value := self.evaluate(expression)):
            if time.monotonic() > deadline:
                raise BrowserError(f"the page never got to: {expression} ({timeout_seconds:g} s)")
            time.sleep(0.05)
        return value

    def navigate(self, url: str, timeout_seconds: float = 60) -> None:
        """Load `url` and return when its load event has fired.

        Raises:
            BrowserError: the address cannot be loaded.
        """
        answer = self._browser.call("Page.navigate", {"url": url}, self._session, timeout_seconds)
        if answer.get("errorText"):
            raise BrowserError(f"{url}: {answer['errorText']}")
        self.wait_for("document.readyState === 'complete' && location.href !== 'about:blank'", timeout_seconds)

    def serve(self, sources: Mapping[str, Path | str]) -> None:
        """Answer requests for these URL prefixes, such as `https://host/path/`, from local folders or other URLs.

        Call it before `navigate`. It lets a page that names a public address run without a network.

        Args:
            sources: Prefix -> folder, or -> URL prefix that is asked instead, unseen by the page. A folder's files
                travel over the DevTools connection, which Chromium closes above 100 MB; use a `SiteServer` for
                large ones, with `Access-Control-Allow-Origin: *` and `Cross-Origin-Resource-Policy: cross-origin`.
        """
        self._served.update(sources)
        self._browser.call("Fetch.enable", self._fetch_patterns(), self._session)

    def screenshot(self, path: Path, width: int, height: int, dark: bool = False) -> None:
        """Write a PNG of the page at `width` x `height` CSS pixels."""
        self._browser.call(
            "Emulation.setDeviceMetricsOverride",
            {"width": width, "height": height, "deviceScaleFactor": 2, "mobile": width < 600}, self._session,
        )  # fmt: skip
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self._browser.call("Emulation.setEmulatedMedia", {"features": [scheme]}, self._session)
        self.evaluate("new Promise(done => requestAnimationFrame(() => setTimeout(done, 150)))")
        answer = self._browser.call("Page.captureScreenshot", {"format": "png"}, self._session)
        path.write_bytes(base64.b64decode(answer["data"]))

    def listen(self, session: str) -> None:
        """Record what happens in a session, of the tab itself or of one of its workers."""
        self._browser.adopt(session, self)
        for domain in ("Network", "Runtime", "Log"):
            self._browser.send(f"{domain}.enable", {}, session)
        if self._served:
            self._browser.send("Fetch.enable", self._fetch_patterns(), session)
        attach = {"autoAttach": True, "waitForDebuggerOnStart": True, "flatten": True}
        self._browser.send("Target.setAutoAttach", attach, session)

    def on_event(self, session: str, method: str, params: dict) -> None:
        """Take in one event of a session; called from the connection's thread, so nothing here may wait."""
        handler = _EVENTS.get(method)
        if handler is not None:
            handler(self, session, params)

    def _fetch_patterns(self) -> dict:
        return {"patterns": [{"urlPattern": prefix + "*"} for prefix in self._served]}

    def _on_request(self, session: str, params: dict) -> None:
        url = params["request"]["url"]
        if url.startswith(("data:", "blob:")):
            return
        self._by_id[session, params["requestId"]] = fetched = Fetched(url)
        self.requests.append(fetched)

    def _on_response(self, session: str, params: dict) -> None:
        if fetched := self._by_id.get((session, params["requestId"])):
            fetched.status = params["response"]["status"]
            fetched.is_cached |= params["response"].get("fromDiskCache", False)

    def _on_finished(self, session: str, params: dict) -> None:
        if fetched := self._by_id.get((session, params["requestId"])):
            fetched.size_bytes = int(params["encodedDataLength"])

    def _on_failed(self, session: str, params: dict) -> None:
        if fetched := self._by_id.get((session, params["requestId"])):
            fetched.failure = params["errorText"]

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
            moved = {"requestId": params["requestId"], "url": source + url[len(prefix) :]}
            self._browser.send("Fetch.continueRequest", moved, session)
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
        self._browser.send(
            "Fetch.fulfillRequest",
            {"requestId": params["requestId"], "responseCode": 200 if path else 404, "responseHeaders": headers,
             "body": base64.b64encode(body).decode()},
            session,
        )  # fmt: skip

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
