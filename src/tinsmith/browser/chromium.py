"""Run a real headless Chromium and control it with DevTools commands.

Its profile is an empty temporary folder, so that every load is a first visit. It opens no pages by itself.
"""

import os
import shutil
import sys
import tempfile
import threading
from collections.abc import Sequence
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeout
from contextlib import ExitStack
from pathlib import Path
from typing import Literal

from tinsmith.browser.page import BrowserError, Page
from tinsmith.browser.pipe import PipedProcess
from tinsmith.core.device import high_water_bytes
from tinsmith.core.errors import MissingDependency
from tinsmith.core.scratch import scratch_folder

_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
_MAC_PROGRAMS = (
    "/Applications/Chromium.app/Contents/MacOS/Chromium",
    "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
)
_INSTALL_HINT = {
    "darwin": "Install Google Chrome, for example with: brew install --cask google-chrome",
    "win32": "Run tinsmith in WSL and install Chromium there: sudo apt-get install chromium",
}.get(sys.platform, "Install it (Debian: sudo apt-get install chromium; Fedora: sudo dnf install chromium)")
_FLAGS = (
    "--headless",
    "--no-first-run",
    "--disable-quic",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-default-apps",
    "--mute-audio",
    "--hide-scrollbars",
    "--disable-extensions",
    "--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE 127.0.0.1 , EXCLUDE localhost",  # it looks up others by itself
    "--remote-debugging-pipe",
)
# Without a screen, Chromium on Linux draws on the CPU, and then has no WebGPU adapter on the GPU either.
_ON_THE_GPU = ("--use-angle=vulkan", "--disable-vulkan-surface") if sys.platform == "linux" else ()
_WEBGPU = ("--enable-unsafe-webgpu", "--enable-features=Vulkan,WebGPU", "--ignore-gpu-blocklist")
# SwiftShader runs WebGPU on the CPU. Its results are right, but its speed says nothing about WebGPU.
_WEBGPU_FLAGS = {
    "none": ("--disable-gpu",),
    "auto": (*_WEBGPU, *_ON_THE_GPU),
    "software": (*_WEBGPU, "--use-webgpu-adapter=swiftshader"),
}
_START_SECONDS = 60
_MAX_PARENT_BYTES = 36
"""The path of a Unix socket has at most 107 bytes. tinsmith's folder and Chromium's names below it need 71 of them."""


def find_browser() -> str:
    """Path of the Chromium to use: `TINSMITH_BROWSER`, else the first known name on PATH, else a Mac application.

    Raises:
        MissingDependency: there is no Chromium.
    """
    if sys.platform == "win32":
        raise MissingDependency("tinsmith drives Chromium on Linux and macOS only", _INSTALL_HINT)
    if name := os.environ.get("TINSMITH_BROWSER", ""):
        if program := shutil.which(name):
            return program
        raise MissingDependency(f"TINSMITH_BROWSER={name}: no such program", "Set it to a Chromium or Chrome program.")
    candidates = (*_NAMES, *(_MAC_PROGRAMS if sys.platform == "darwin" else ()))
    for candidate in candidates:
        if program := shutil.which(candidate):
            return program
    raise MissingDependency(
        "no Chromium or Chrome found", f"{_INSTALL_HINT}, or set TINSMITH_BROWSER to the path of one."
    )


class Browser:
    """Runs a separate Chromium process while used as a context manager.

    The process ends with its parent, even if the parent is killed.

    Args:
        webgpu: Adapter that pages get: `none`, `auto` (the machine's) or `software` (SwiftShader).
        flags: Further command-line flags of Chromium.

    Raises:
        MissingDependency: there is no Chromium.
        BrowserError: Chromium does not start.
    """

    def __init__(self, webgpu: Literal["none", "auto", "software"] = "none", flags: Sequence[str] = ()) -> None:
        self._program = find_browser()
        self._flags = [*_FLAGS, *_WEBGPU_FLAGS[webgpu], *flags]
        if os.geteuid() == 0:
            # Chromium does not start its sandbox as root, the usual user in containers.
            self._flags.append("--no-sandbox")
        self._pending: dict[int, Future] = {}
        self._pages: dict[str, Page] = {}
        self._lock = threading.Lock()
        self._last_id = 0
        self._is_gone = False
        self.version = ""
        """Name and version, such as `Chromium 156.0.8078.79`."""
        self.user_agent = ""

    def __enter__(self) -> "Browser":
        with ExitStack() as stack:
            folder = stack.enter_context(scratch_folder("tinsmith-browser-", _temporary_parent()))
            log = stack.enter_context(tempfile.TemporaryFile())
            command = [self._program, *self._flags, f"--user-data-dir={folder / 'profile'}", "about:blank"]
            # Chromium also leaves folders in TMPDIR. Put them into the folder that is removed on exit.
            self._process = PipedProcess(command, log, {**os.environ, "TMPDIR": str(folder)})
            stack.callback(self._process.close)
            reader = threading.Thread(target=self._read, daemon=True)
            reader.start()
            stack.callback(reader.join, _START_SECONDS)
            stack.callback(self._process.stop)
            try:
                version = self.call("Browser.getVersion", {}, timeout_seconds=_START_SECONDS)
            except BrowserError as error:
                self._process.stop()
                log.seek(0)
                last_lines = log.read().decode(errors="replace").strip().splitlines()[-3:]
                raise BrowserError(
                    f"{self._program} did not start: {' / '.join(last_lines) or error.message}",
                    "Run it in a shell with --headless to see why.",
                ) from error
            self._stack = stack.pop_all()
        self.version = version["product"].replace("HeadlessChrome/", "Chromium ").replace("Chrome/", "Chromium ")
        self.user_agent = version["userAgent"]
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def open(self, url: str = "about:blank") -> Page:
        """Open `url` in a new tab, and record its events from the first request on."""
        target = self.call("Target.createTarget", {"url": "about:blank"})["targetId"]
        session = self.call("Target.attachToTarget", {"targetId": target, "flatten": True})["sessionId"]
        page = Page(self, session)
        page.listen(session)
        self.call("Page.enable", {}, session)
        if url != "about:blank":
            page.navigate(url)
        return page

    def peak_memory_bytes(self) -> int | None:
        """Peak resident memory of the browser's largest process: the tab's, if its page loads a model. Linux only."""
        import psutil

        if not Path("/proc/self/status").exists():
            return None
        peaks = [high_water_bytes(child.pid) for child in psutil.Process(self._process.pid).children(recursive=True)]
        return max(peaks, default=0) or None

    def adopt(self, session: str, page: Page) -> None:
        """Deliver the events of a session to `page`."""
        self._pages[session] = page

    def send(self, method: str, params: dict, session: str = "") -> Future:
        """Send a command and return a future of its response, without waiting."""
        future: Future = Future()
        with self._lock:
            if self._is_gone:
                future.set_exception(_gone())
                return future
            self._last_id += 1
            message = {"id": self._last_id, "method": method, "params": params}
            self._pending[self._last_id] = future
        if session:
            message["sessionId"] = session
        try:
            self._process.send(message)
        except (BrokenPipeError, ValueError):  # ValueError: this side has closed the pipe
            self._fail_pending()
        return future

    def call(self, method: str, params: dict, session: str = "", timeout_seconds: float = 30) -> dict:
        """Send a DevTools command and return the result.

        Raises:
            BrowserError: the command fails, the browser is gone, or `timeout_seconds` pass.
        """
        try:
            response = self.send(method, params, session).result(timeout_seconds)
        except FutureTimeout as error:
            raise BrowserError(f"the browser did not finish {method} within {timeout_seconds:g} seconds") from error
        if "error" in response:
            raise BrowserError(f"the browser refused {method}: {response['error']['message']}")
        return response["result"]

    def _read(self) -> None:
        try:
            for message in self._process.messages():
                if "id" in message:
                    if future := self._pending.pop(message["id"], None):
                        future.set_result(message)
                elif page := self._pages.get(message.get("sessionId", "")):
                    page.on_event(message["sessionId"], message["method"], message["params"])
        finally:
            self._fail_pending()

    def _fail_pending(self) -> None:
        """Fail every command that still waits for a response: the browser has ended."""
        with self._lock:
            self._is_gone = True
            while self._pending:
                _, future = self._pending.popitem()
                future.set_exception(_gone())


def _temporary_parent() -> Path:
    """The system's folder for temporary files, or `/tmp` if its path is too long for Chromium's socket."""
    parent = Path(tempfile.gettempdir())
    return parent if len(os.fsencode(parent)) <= _MAX_PARENT_BYTES else Path("/tmp")


def _gone() -> BrowserError:
    return BrowserError("the browser closed unexpectedly")
