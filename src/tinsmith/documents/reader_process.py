"""The other side of `reader.py`: starts the process that reads documents, and again where a file ends it."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from types import TracebackType
from typing import Any

from tinsmith.documents import reader
from tinsmith.documents.blocks import Block, Document
from tinsmith.documents.unreadable import Unreadable

# -P keeps modules in the current folder from standing in for installed ones.
_COMMAND = ("-P", "-W", "ignore", "-m", reader.__name__)


class DocumentReader:
    """Reads documents in a process of its own, while the context is open."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[str] | None = None

    def __enter__(self) -> "DocumentReader":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._process:
            self._process.kill()
            self._process.communicate()

    def read(self, path: Path, ending: str) -> Document:
        """The blocks of the file at `path`, which has a known `ending`.

        Raises:
            Unreadable: the file cannot be used; the text says why, and what to do. The cause is an OSError if the
                system refused to read it.
        """
        process = self._process or self._started()
        assert process.stdin and process.stdout
        try:
            process.stdin.write(json.dumps({"path": str(path), "ending": ending}) + "\n")
            process.stdin.flush()
            answer = process.stdout.readline()
        except BrokenPipeError:
            answer = ""
        if not answer:
            self._process = None
            _, errors = process.communicate()
            raise _death(process.returncode, errors)
        return _document(json.loads(answer), path)

    def _started(self) -> "subprocess.Popen[str]":
        self._process = subprocess.Popen(
            [sys.executable, *_COMMAND],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            encoding="utf-8",
        )
        return self._process


def _death(code: int, errors: str) -> Unreadable:
    """Why the process ended while it read a file, from its exit code and the traceback it left."""
    if code == -signal.SIGPROF:
        return Unreadable(f"takes more than {reader.MAX_CPU_SECONDS} seconds to read; split it")
    last_line = errors.strip().rsplit("\n", 1)[-1] or f"the reader ended with code {code}"
    return Unreadable("cannot be read; save it in another format", last_line)


def _document(answer: dict[str, Any], path: Path) -> Document:
    if "unreadable" in answer:
        code = answer.get("code")
        cause = OSError(code, os.strerror(code), str(path)) if code else None
        raise Unreadable(answer["unreadable"], answer["detail"]) from cause
    blocks = [Block(**block) for block in answer.pop("blocks")]
    return Document(blocks, **answer)
