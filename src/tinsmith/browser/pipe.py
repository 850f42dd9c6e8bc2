"""A browser process that is controlled over a pair of pipes.

A debugging port would let every user of the machine read files and pages through the browser. Nobody else can open a
pipe. When the pipe closes, the browser exits by itself, even if the process that started it was killed.
"""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from typing import IO, TYPE_CHECKING, Any

if TYPE_CHECKING:
    import psutil

_LAUNCHER = """
import os, sys
commands, replies = int(sys.argv[1]), int(sys.argv[2])
os.dup2(commands, 3)
os.dup2(replies, 4)
os.close(commands)
os.close(replies)
os.execvp(sys.argv[3], sys.argv[3:])
"""
"""Moves the pipes to the descriptors where Chromium expects them, and becomes Chromium."""

_MIN_DESCRIPTOR = 10
"""Keeps both pipes off descriptors 3 and 4, so that moving one cannot overwrite the other."""
_READ_BYTES = 1 << 20
_EXIT_SECONDS = 10


class PipedProcess:
    """A browser started with `--remote-debugging-pipe`; messages are JSON, each ended by a zero byte."""

    def __init__(self, command: Sequence[str], log: IO[bytes], env: Mapping[str, str]) -> None:
        """Start `command`, its stderr going to `log`."""
        commands_out, commands_in = _pipe()
        replies_out, replies_in = _pipe()
        launcher = [sys.executable, "-I", "-S", "-c", _LAUNCHER, str(commands_out), str(replies_in)]
        self._process = subprocess.Popen(
            [*launcher, *command],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=log,
            env=env,
            pass_fds=(commands_out, replies_in),
            start_new_session=True,
        )
        os.close(commands_out)
        os.close(replies_in)
        self._commands = os.fdopen(commands_in, "wb")
        self._replies = os.fdopen(replies_out, "rb", buffering=0)
        self._lock = threading.Lock()

    @property
    def pid(self) -> int:
        return self._process.pid

    def send(self, message: Mapping[str, Any]) -> None:
        """Write one message.

        Raises:
            BrokenPipeError: the browser is gone.
        """
        with self._lock:
            self._commands.write(json.dumps(message).encode() + b"\0")
            self._commands.flush()

    def messages(self) -> Iterator[dict[str, Any]]:
        """Every message from the browser, until the browser ends. Only one thread may read."""
        pieces: list[bytes] = []
        while piece := self._replies.read(_READ_BYTES):
            *last_pieces, rest = piece.split(b"\0")
            for last_piece in last_pieces:
                yield json.loads(b"".join([*pieces, last_piece]))
                pieces = []
            if rest:
                pieces.append(rest)

    def stop(self) -> None:
        """End the browser and every process it started."""
        import psutil

        try:
            children = psutil.Process(self._process.pid).children(recursive=True)
        except psutil.NoSuchProcess:
            children = []
        with suppress(BrokenPipeError), self._lock:
            self._commands.close()
        self._process.terminate()
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(_EXIT_SECONDS)
        # Children can outlive the browser for a moment. One that still writes into its folder keeps it from removal.
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        deadline = time.monotonic() + _EXIT_SECONDS
        while any(map(_is_running, children)) and time.monotonic() < deadline:
            time.sleep(0.01)

    def close(self) -> None:
        """Close the reading end. Call it after the last read."""
        self._replies.close()


def _is_running(process: "psutil.Process") -> bool:
    import psutil

    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def _pipe() -> tuple[int, int]:
    """Reading and writing end of a new pipe that other child processes do not inherit."""
    import fcntl

    ends = []
    for descriptor in os.pipe():
        ends.append(fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, _MIN_DESCRIPTOR))
        os.close(descriptor)
    return ends[0], ends[1]
