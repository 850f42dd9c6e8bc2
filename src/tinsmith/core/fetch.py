"""Run a package registry's client as a child process, with a progress bar and an error that names the command."""

import importlib.util
import os
import re
import shutil
import subprocess
import sys
import threading
from contextlib import suppress
from pathlib import Path

from tinsmith.core.errors import FetchError, MissingDependency


def run_fetch(command: list[str], folder: Path, total_bytes: int, what: str, hint: str) -> None:
    """Run a registry client that downloads into `folder`; a progress bar counts the bytes that arrive there.

    Args:
        command: The client and its arguments.
        folder: Where the client writes.
        total_bytes: Size of the download.
        what: Noun for the progress bar and errors, such as `base model`.
        hint: What the user can do if the download fails.

    Raises:
        MissingDependency: the program is not installed.
        FetchError: it failed; the message has the command and the last line it printed.
    """
    if shutil.which(command[0]) is None:
        raise MissingDependency(
            f"{command[0]} is not installed; it is needed for: {' '.join(command)}", "Install Node.js 20 or newer."
        )
    if command[1:3] == ["-m", "pip"] and importlib.util.find_spec("pip") is None:
        raise MissingDependency(f"pip is not installed in {sys.prefix}", f"{sys.executable} -m ensurepip")
    # pip downloads to TMPDIR, then moves the archive; TMPDIR is `folder`, so the bar sees the bytes.
    environment = os.environ | {"TMPDIR": str(folder)}
    with _BytesBar(folder, total_bytes, what):
        process = subprocess.run(
            command,
            check=False,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
        )
    if process.returncode != 0:
        lines = [line.strip() for line in process.stdout.splitlines() if line.strip()]
        errors = [line for line in lines if re.match(r"(npm )?error\b", line, re.IGNORECASE)]
        raise FetchError(
            f"downloading the {what} failed: {' '.join(command)}\n  {(errors or lines or ['(no output)'])[-1]}", hint
        )


class _BytesBar:
    """Progress bar of the bytes below a folder while a program writes there."""

    def __init__(self, folder: Path, total_bytes: int, what: str) -> None:
        self._folder, self._total, self._what = folder, total_bytes, what
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._follow, daemon=True)

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _follow(self) -> None:
        from tqdm import tqdm

        with tqdm(total=self._total, desc=f"downloading the {self._what}", unit="B", unit_scale=True) as bar:
            while not self._stop.wait(0.5):
                bar.update(min(_folder_bytes(self._folder), self._total) - bar.n)
            bar.update(min(_folder_bytes(self._folder), self._total) - bar.n)


def _folder_bytes(folder: Path) -> int:
    total = 0
    for path in folder.rglob("*"):
        with suppress(FileNotFoundError):  # the program may have moved it since it was listed
            total += path.stat().st_size if path.is_file() else 0
    return total
