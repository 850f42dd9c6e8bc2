"""Run a model's own code, such as its chat template, in a process with limited time and memory and without files.

A chat template is a program, and the patterns of a tokenizer may take exponential time. Both come from strangers.
"""

import atexit
import json
import os
import select
import signal
import subprocess
import sys
import threading
import time
from functools import cache
from pathlib import Path
from typing import Any

from tinsmith.core.errors import BaseModelError

_PROCESS = Path(__file__).with_name("sandbox_process.py")
_MAX_REPLY_BYTES = 64_000_000
_WALL_SECONDS_PER_CPU_SECOND = 30
"""Other work may leave the process little of a processor."""


class Sandbox:
    """A process that answers one request at a time. One that exceeds a limit ends it; the next starts a new one."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._lock = threading.Lock()

    def run(self, action: str, what: str, *, cpu_seconds: int, memory_bytes: int, **arguments: Any) -> Any:
        """Result of a function of `sandbox_process.py`.

        Args:
            action: Its name, `render` or `tokenize`.
            what: Subject for messages, such as `tiny/chat_template.jinja`.
            cpu_seconds: Limit for processor time.
            memory_bytes: Limit for memory, besides what the process itself needs. Not enforced on macOS.
            arguments: Passed to the function; JSON values.

        Raises:
            BaseModelError: it needs more time or memory, or ends the process in another way.
        """
        request = {"action": action, "cpu_seconds": cpu_seconds, "memory_bytes": memory_bytes, "arguments": arguments}
        with self._lock:
            reply = self._exchange(json.dumps(request).encode() + b"\n", cpu_seconds * _WALL_SECONDS_PER_CPU_SECOND)
            if reply is not None:
                return json.loads(reply)
            code = self._end()
        if code == -signal.SIGXCPU:
            problem = f"takes more than {cpu_seconds} s of processor time"
        else:
            problem = (
                f"needs more than {memory_bytes // 10**6} MB of memory, or does what is not allowed ({_ending(code)})"
            )
        raise BaseModelError(
            f"{what}: {problem}", "It may be damaged, or made to do harm. Use the model's original files."
        )

    def close(self) -> None:
        """End the process, if there is one."""
        with self._lock:
            self._end()

    def _exchange(self, request: bytes, seconds: float) -> bytes | None:
        """The reply, or None if the process ends, says too much, or takes too long."""
        process = self._started()
        assert process.stdin is not None and process.stdout is not None
        try:
            process.stdin.write(request)
            process.stdin.flush()
        except BrokenPipeError:
            return None
        parts, size_bytes, end = [], 0, time.monotonic() + seconds
        while size_bytes <= _MAX_REPLY_BYTES:
            readable, _, _ = select.select([process.stdout], [], [], max(0, end - time.monotonic()))
            part = os.read(process.stdout.fileno(), 1 << 20) if readable else b""
            if not part:
                return None
            parts.append(part)
            size_bytes += len(part)
            if part.endswith(b"\n"):
                return b"".join(parts)
        return None

    def _started(self) -> subprocess.Popen[bytes]:
        if self._process is None or self._process.poll() is not None:
            self._process = subprocess.Popen(
                [sys.executable, "-I", str(_PROCESS)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                env={},
                cwd="/",
            )
        return self._process

    def _end(self) -> int:
        """End the process; return its exit code, or minus the signal that ended it."""
        if self._process is None:
            return 0
        process, self._process = self._process, None
        with process:
            if process.poll() is None:
                try:
                    process.wait(0.2)  # it may be ending already
                except subprocess.TimeoutExpired:
                    process.kill()
        return process.returncode


def _ending(code: int) -> str:
    return f"signal {-code}" if code < 0 else f"exit code {code}"


@cache
def shared_sandbox() -> Sandbox:
    """The sandbox of this process; ends with it."""
    sandbox = Sandbox()
    atexit.register(sandbox.close)
    return sandbox
