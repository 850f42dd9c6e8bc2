"""A real Chromium, headless, driven over its own DevTools protocol.

It runs with an empty profile in a temporary folder, so that every load is a first visit, and opens only what it is told to.
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeout
from contextlib import ExitStack
from pathlib import Path
from typing import Literal

from tinsmith.browser.page import BrowserError, Page
from tinsmith.core.device import high_water_bytes
from tinsmith.core.errors import MissingDependency

_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
_FLAGS = (
    "--headless", "--no-first-run", "--disable-quic", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--disable-default-apps", "--mute-audio", "--hide-scrollbars",
    "--disable-extensions", "--remote-debugging-port=0",
)  # fmt: skip
# Without a screen, Chromium on Linux draws on the processor, and then takes WebGPU's adapter from there too.
_ON_THE_GPU = ("--use-angle=vulkan", "--disable-vulkan-surface") if sys.platform == "linux" else ()
# SwiftShader runs WebGPU on the CPU: right results, no meaning for speed.
_WEBGPU_FLAGS = {
    "none": ("--disable-gpu",),
    "auto": ("--enable-unsafe-webgpu", "--enable-features=Vulkan,WebGPU", "--ignore-gpu-blocklist", *_ON_THE_GPU),
    "software": (
        "--enable-unsafe-webgpu", "--use-webgpu-adapter=swiftshader", "--enable-features=Vulkan,WebGPU",
        "--ignore-gpu-blocklist",
    ),
}  # fmt: skip
_START_SECONDS = 60


def find_browser() -> str:
    """Path of the Chromium to use: `TINSMITH_BROWSER`, else the first known name on PATH.

    Raises:
        MissingDependency: there is none.
    """
    named = os.environ.get("TINSMITH_BROWSER", "")
    found = shutil.which(named) if named else next(filter(None, map(shutil.which, _NAMES)), None)
    if found is None:
        raise MissingDependency(
            f"TINSMITH_BROWSER={named}: no such program" if named else "no Chromium found on PATH",
            "Install it (Debian: apt-get install chromium) or set TINSMITH_BROWSER to a Chromium or Chrome program.",
        )
    return found


class Browser:
    """A Chromium process of its own while used as a context manager.

    Args:
        webgpu: `none` gives no adapter, `auto` the machine's, `software` SwiftShader.
        flags: More of Chromium's.

    Raises:
        MissingDependency: no Chromium.
        BrowserError: it does not start.
    """

    def __init__(self, webgpu: Literal["none", "auto", "software"] = "none", flags: Sequence[str] = ()) -> None:
        self._program = find_browser()
        self._flags = [*_FLAGS, *_WEBGPU_FLAGS[webgpu], *flags]
        if os.geteuid() == 0:
            # Chromium refuses its sandbox to root, which is what containers usually run as.
            self._flags.append("--no-sandbox")
        self._answers: dict[int, Future] = {}
        self._pages: dict[str, Page] = {}
        self._closing = ExitStack()
        self._lock = threading.Lock()
        self._last_id = 0
        self.version = ""
        """Such as `Chromium 156.0.8078.79`."""
        self.user_agent = ""

    def __enter__(self) -> "Browser":
        from websockets.sync.client import connect

        self._folder = tempfile.TemporaryDirectory(prefix="tinsmith-browser-", ignore_cleanup_errors=True)
        self._profile = Path(self._folder.name) / "profile"
        self._log = tempfile.TemporaryFile()
        self._process = subprocess.Popen(
            [self._program, *self._flags, f"--user-data-dir={self._profile}", "about:blank"],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=self._log, start_new_session=True,
            # It leaves folders of its own beside the profile; they go with ours.
            env={**os.environ, "TMPDIR": self._folder.name},
        )  # fmt: skip
        try:
            connection = connect(self._endpoint(), max_size=None, compression=None, ping_interval=None, proxy=None)
            self._socket = self._closing.enter_context(connection)
            self._reader = threading.Thread(target=self._read, daemon=True)
            self._reader.start()
            about = self.call("Browser.getVersion", {})
        except BaseException:
            self._stop()
            raise
        self.version = about["product"].replace("HeadlessChrome/", "Chromium ").replace("Chrome/", "Chromium ")
        self.user_agent = about["userAgent"]
        return self

    def __exit__(self, *_: object) -> None:
        self._stop()

    def open(self, url: str = "about:blank") -> Page:
        """A new tab with `url` loaded, listened to from its first request."""
        target = self.call("Target.createTarget", {"url": "about:blank"})["targetId"]
        session = self.call("Target.attachToTarget", {"targetId": target, "flatten": True})["sessionId"]
        page = Page(self, session)
        page.listen(session)
        self.call("Page.enable", {}, session)
        if url != "about:blank":
            page.navigate(url)
        return page

    def peak_memory_bytes(self) -> int | None:
        """Peak resident memory of its largest process, which is the tab's where the page holds a model; None off Linux."""
        import psutil

        if not Path("/proc/self/status").exists():
            return None
        peaks = [high_water_bytes(child.pid) for child in psutil.Process(self._process.pid).children(recursive=True)]
        return max(peaks, default=0) or None

    def adopt(self, session: str, page: Page) -> None:
        """Hand the events of a session to `page`."""
        self._pages[session] = page

    def send(self, method: str, params: dict, session: str = "") -> Future:
        """Send a command without waiting; the future holds its answer."""
        with self._lock:
            self._last_id += 1
            future: Future = Future()
            self._answers[self._last_id] = future
            message = {"id": self._last_id, "method": method, "params": params}
            if session:
                message["sessionId"] = session
            self._socket.send(json.dumps(message))
        return future

    def call(self, method: str, params: dict, session: str = "", timeout_seconds: float = 30) -> dict:
        """The answer to a DevTools command.

        Raises:
            BrowserError: the command fails, the browser is gone, or `timeout_seconds` pass.
        """
        try:
            answer = self.send(method, params, session).result(timeout_seconds)
        except FutureTimeout as error:
            raise BrowserError(f"the browser did not finish {method} within {timeout_seconds:g} seconds") from error
        if "error" in answer:
            raise BrowserError(f"the browser refused {method}: {answer['error']['message']}")
        return answer["result"]

    def _endpoint(self) -> str:
        port_file = self._profile / "DevToolsActivePort"
        deadline = time.monotonic() + _START_SECONDS
        while time.monotonic() < deadline:
            if port_file.is_file() and (text := port_file.read_text()).count("\n") == 1:
                port, path = text.split("\n")
                return f"ws://127.0.0.1:{port}{path}"
            if self._process.poll() is not None:
                break
            time.sleep(0.05)
        self._log.seek(0)
        tail = self._log.read().decode(errors="replace").strip().splitlines()[-3:]
        raise BrowserError(f"{self._program} did not start: {' / '.join(tail)}", "Try it by hand with --headless.")

    def _read(self) -> None:
        from websockets.exceptions import ConnectionClosed

        try:
            for text in self._socket:
                message = json.loads(text)
                if "id" in message:
                    self._answers.pop(message["id"]).set_result(message)
                elif page := self._pages.get(message.get("sessionId", "")):
                    page.on_event(message["sessionId"], message["method"], message["params"])
        except ConnectionClosed:
            pass
        finally:
            for future in self._answers.values():
                if not future.done():
                    future.set_exception(BrowserError("the browser closed unexpectedly"))

    def _stop(self) -> None:
        self._closing.close()
        self._process.terminate()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._log.close()
        self._folder.cleanup()
