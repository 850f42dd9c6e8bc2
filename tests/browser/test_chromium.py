"""The browser takes commands from nobody else, ends with whoever started it, and leaves nothing behind."""

import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil
import pytest

from tinsmith.browser.chromium import Browser, find_browser
from tinsmith.browser.page import BrowserError
from tinsmith.core.errors import MissingDependency

HOLD_A_BROWSER = """
import sys, time
from tinsmith.browser.chromium import Browser
with Browser() as browser:
    browser.open("data:text/html,<title>open</title>")
    print("ready", flush=True)
    time.sleep(120)
"""


def processes_of(folder: Path) -> list[psutil.Process]:
    """Every process whose command line names something in `folder`."""
    return [
        process
        for process in psutil.process_iter(["cmdline", "status"])
        if any(str(folder) in word for word in process.info["cmdline"] or ()) and process.info["status"] != "zombie"
    ]


def wait_until(condition, seconds: float = 20) -> bool:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if condition():
            return True
        time.sleep(0.1)
    return False


@pytest.fixture
def temporary(monkeypatch):
    """A folder for temporary files that only this test uses. Its path is short: Chromium puts a socket below it."""
    with tempfile.TemporaryDirectory(prefix="tin-") as folder:
        monkeypatch.setenv("TMPDIR", folder)
        monkeypatch.setattr("tempfile.tempdir", None)
        yield Path(folder)
        monkeypatch.undo()


@pytest.mark.browser
def test_no_port_is_open_to_other_users(temporary):
    with Browser() as browser:
        assert browser.open("data:text/html,<title>tea</title>").evaluate("document.title") == "tea"
        processes = processes_of(temporary)
        assert processes
        listening = [c for process in processes for c in process.net_connections() if c.status == psutil.CONN_LISTEN]
        assert not listening
        assert not list(temporary.rglob("DevToolsActivePort"))


@pytest.mark.browser
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_killed_run_leaves_no_process_and_the_next_one_removes_its_folder(temporary, number):
    with subprocess.Popen([sys.executable, "-c", HOLD_A_BROWSER], stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout.readline() == "ready\n"
        (folder,) = temporary.glob("tinsmith-browser-*")
        assert len(processes_of(folder)) > 2
        holder.send_signal(number)
    assert wait_until(lambda: not processes_of(folder))
    assert folder.exists()
    with Browser():
        assert folder.exists(), "its owner might be about to lock it"
    os.utime(folder, (0, 0))
    with Browser():
        assert not folder.exists()


@pytest.mark.browser
def test_the_folder_of_a_running_browser_stays(temporary):
    with Browser() as first:
        (folder,) = temporary.glob("tinsmith-browser-*")
        os.utime(folder, (0, 0))
        with Browser():
            assert folder.exists()
        assert first.open().evaluate("1 + 1") == 2
    assert not list(temporary.glob("tinsmith-browser-*")) and not processes_of(temporary)


@pytest.mark.browser
def test_a_long_path_for_temporary_files_is_no_obstacle(tmp_path, monkeypatch):
    folder = tmp_path / ("long" * 20)
    folder.mkdir()
    monkeypatch.setenv("TMPDIR", str(folder))
    monkeypatch.setattr("tempfile.tempdir", None)
    with Browser() as browser:
        assert browser.open().evaluate("1 + 1") == 2


@pytest.mark.browser
def test_calls_fail_at_once_when_the_browser_dies(temporary):
    with Browser() as browser:
        page = browser.open()
        waiting = browser.send(
            "Runtime.evaluate", {"expression": "new Promise(() => {})", "awaitPromise": True}, page._session
        )
        os.kill(browser._process.pid, signal.SIGKILL)
        with pytest.raises(BrowserError, match="closed unexpectedly"):
            waiting.result(20)
        with pytest.raises(BrowserError, match="closed unexpectedly"):
            page.evaluate("1")


@pytest.mark.browser
def test_large_messages_pass_both_ways():
    with Browser() as browser:
        page = browser.open()
        text = "茶" * 3_000_000
        assert page.evaluate(f"'{text}'.length") == len(text)
        assert page.evaluate("'x'.repeat(5000000)") == "x" * 5_000_000


def test_a_program_that_is_no_browser_says_what_it_said(tmp_path, monkeypatch):
    program = tmp_path / "chromium"
    program.write_text("#!/bin/sh\necho first\necho no display >&2\nexit 3\n")
    program.chmod(0o755)
    monkeypatch.setenv("TINSMITH_BROWSER", str(program))
    with pytest.raises(BrowserError, match=f"{program} did not start: no display"), Browser():
        pass


def test_a_missing_browser_is_one_line_with_the_way_out(tmp_path, monkeypatch):
    monkeypatch.delenv("TINSMITH_BROWSER", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(MissingDependency) as caught:
        find_browser()
    assert "no Chromium" in caught.value.message and "\n" not in caught.value.message
    assert "install" in caught.value.hint.lower() and "TINSMITH_BROWSER" in caught.value.hint
    monkeypatch.setenv("TINSMITH_BROWSER", "/nowhere/chromium")
    with pytest.raises(MissingDependency, match="TINSMITH_BROWSER=/nowhere/chromium: no such program"):
        find_browser()
