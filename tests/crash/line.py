"""A line of stages, as commands in processes of their own that can be killed or made to fail.

The run folder as it was before each stage is kept, so that a stage can be repeated without those before it.
"""

import atexit
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from crash.system_calls import Call, serve
from tinsmith.core.measure import current_measurements, read
from tinsmith.core.run_dir import RunDir, read_json, tree_sha256s

_SECONDS = 600
_HANDED_ON = ("TINSMITH_CACHE", "TMPDIR", "HF_HUB_OFFLINE")

Decide = Callable[[Call, "Command"], int]
"""Sees an operation of a command before it happens, and may kill it. Returns 0, or the error's number to fail with."""


@dataclass(frozen=True, slots=True)
class Ended:
    """How a command ended."""

    code: int
    """Exit code, or minus the signal's number."""
    text: str
    """What it printed."""


@dataclass(frozen=True, slots=True)
class Kind:
    """How a line's commands run."""

    stages: tuple[str, ...]
    """The stages that it has, in order."""
    stand_ins: str
    """Function of `stand_ins` that each command calls first."""
    preloaded: str
    """Module that is imported once for all commands; empty for none."""


class Line:
    """A project, and its run folder as it was before each stage.

    Args:
        kind: What runs.
        folder: Has the configuration `tinsmith.toml`, whose run is called `tea`.
        snapshots: Where the run folders are kept.
    """

    def __init__(self, kind: Kind, folder: Path, snapshots: Path) -> None:
        self.kind, self.folder, self.snapshots = kind, folder, snapshots
        self.run = RunDir(folder / "runs/tea")
        self._restored: dict[Path, tuple[int, ...]] = {}
        """What the system says of each file in the run folder since `go_back_to`."""

    def complete(self) -> None:
        """Run all stages and keep the run folder before each of them and at the end."""
        for stage in self.kind.stages:
            self._keep(stage)
            ended = self.bring_up_to(stage)
            assert ended.code == 0, ended.text
        self._keep("end")

    def _keep(self, name: str) -> None:
        if self.run.root.exists():
            shutil.copytree(self.run.root, self.snapshots / name)

    def go_back_to(self, name: str) -> None:
        """Make the run folder what it was before stage `name`, or at the `end`."""
        shutil.rmtree(self.run.root, ignore_errors=True)
        if (self.snapshots / name).exists():
            shutil.copytree(self.snapshots / name, self.run.root)
        self._restored = {path: _facts(path) for path in self.run.root.rglob("*") if path.is_file()}

    def is_restored(self, path: Path) -> bool:
        """Whether the file at `path` was there after `go_back_to` and has not been written to or replaced since."""
        return path in self._restored and path.exists() and _facts(path) == self._restored[path]

    def repeat(self, stage: str, decide: Decide | None = None) -> Ended:
        """Run one stage alone, showing every file operation in the project to `decide`."""
        return self.bring_up_to(stage, "--from", stage, decide=decide)

    def bring_up_to(self, stage: str, *more: str, decide: Decide | None = None) -> Ended:
        """Run `tinsmith run` up to `stage`, showing every file operation in the project to `decide`."""
        return self.tinsmith("run", "tinsmith.toml", "--to", stage, *more, decide=decide)

    def tinsmith(self, *arguments: str, decide: Decide | None = None) -> Ended:
        """Run a command in a process of its own."""
        command = self.start(*arguments, is_watched=decide is not None)
        if decide is not None:
            command.watch(self.folder, decide)
        return command.wait()

    def start(self, *arguments: str, is_watched: bool = False) -> "Command":
        """Start a command. Wait for it before starting another."""
        return Command(self.kind, arguments, self.folder, is_watched)

    def check_finished(self, stage: str) -> None:
        """Require that all up to `stage` is as in the run that nobody interrupted, and that nothing is left over."""
        whole = RunDir(self.snapshots / "end")
        for name in self.stages_up_to(stage):
            assert result(self.run, name) == result(whole, name), name
        recorded = [m.id for m in read(whole.measurements) if m.stage in self.stages_up_to(stage)]
        assert [m.id for m in read(self.run.measurements)] == recorded
        leftovers = [path for path in self.run.root.rglob("*") if path.name.endswith(".tmp")]
        assert not leftovers and not list(self.run.work.iterdir()), leftovers

    def check_kept(self, stage: str) -> None:
        """Require that no file of the stages before `stage` was touched since `go_back_to`, nor a number lost."""
        earlier = self.stages_up_to(stage)[:-1]
        folders = {self.run.stage(name) for name in earlier}
        kept = {path for path in self._restored if folders & set(path.parents)} | set(map(self.run.stamp, earlier))
        touched = [path for path in kept if not self.is_restored(path)]
        assert not touched, touched
        added = [path for folder in folders for path in folder.rglob("*") if path.is_file() and path not in kept]
        assert not added, added
        before = self.snapshots / stage / self.run.measurements.name
        if before.exists():
            assert self.run.measurements.read_bytes().startswith(before.read_bytes())

    def stages_up_to(self, stage: str) -> tuple[str, ...]:
        """Names of the stages from the first to `stage`."""
        return self.kind.stages[: self.kind.stages.index(stage) + 1]


def _facts(path: Path) -> tuple[int, ...]:
    """What changes if a file is written to or replaced."""
    status = path.stat()
    return status.st_ino, status.st_size, status.st_mtime_ns


@cache
def _server(preloaded: str) -> socket.socket:
    """Start the process that forks commands, and return the socket to ask it."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path)), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "crash.server", str(theirs.fileno()), *filter(None, [preloaded])]
    process = subprocess.Popen(command, env=environment, pass_fds=[theirs.fileno()])
    theirs.close()
    atexit.register(lambda: (ours.close(), process.wait()))
    return ours


class Command:
    """A running command, in a process that the server has forked."""

    def __init__(self, kind: Kind, arguments: tuple[str, ...], folder: Path, is_watched: bool) -> None:
        self._log = folder.with_suffix(".log")
        self._log.unlink(missing_ok=True)
        request = {
            "arguments": arguments,
            "folder": str(folder),
            "log": str(self._log),
            "stand_ins": kind.stand_ins,
            "environment": {name: os.environ[name] for name in _HANDED_ON if name in os.environ},
        }
        self._server = _server(kind.preloaded)
        self._server.settimeout(_SECONDS)
        ours, theirs = socket.socketpair()
        with ours, theirs:
            socket.send_fds(self._server, [json.dumps(request).encode()], [theirs.fileno()] if is_watched else [])
            self._process_id = int(self._server.recv(100))
            self._filter = socket.recv_fds(ours, 1, 1)[1][0] if is_watched else None
        self.is_killed = False

    def watch(self, root: Path, decide: Decide) -> None:
        """Show every file operation below `root` to `decide`, until the command ends."""
        assert self._filter is not None
        try:
            serve(self._filter, root, lambda call: decide(call, self), lambda: self.is_killed)
        finally:
            os.close(self._filter)

    def kill(self) -> None:
        """kill -9."""
        self.send(signal.SIGKILL)
        self.is_killed = True

    def send(self, number: signal.Signals) -> None:
        """Send a signal, unless the command has ended."""
        with suppress(ProcessLookupError):
            os.kill(self._process_id, number)

    def text(self) -> str:
        """What it has printed until now."""
        return self._log.read_text(errors="replace") if self._log.exists() else ""

    def wait(self) -> Ended:
        """Wait until it ends."""
        return Ended(int(self._server.recv(100)), self.text())


@dataclass(frozen=True, slots=True)
class Result:
    """A stage's files and numbers, without what no two runs have in common: time and memory."""

    files: dict[str, object]
    """Path -> hash, or what is the same in every run of a file that also has times."""
    numbers: list[tuple[str, float]]


_UNITS_OF_TIME_AND_MEMORY = ("seconds", "tokens/s")
_TIMED_NUMBERS = ("train.peak_memory_bytes", "train.planned_memory_bytes")
_TIMED_KEYS = frozenset(
    {
        "seconds",
        "elapsed_seconds",
        "step_seconds",
        "energy",
        "memory",
        "quantization",
        "resumed",
        "peak_memory_bytes",
        "planned_memory_bytes",
    }
)
_TIMED_FILES = {"train": ("train.json",), "export": ("export.json", "recipes.json")}
_TIMED_LINES = {"train": ("log.jsonl",)}
"""Files of a stage that also have times. In all others every byte counts."""


def result(run: RunDir, stage: str) -> Result:
    """What a stage left in the run folder."""
    folder = run.stage(stage)
    files: dict[str, object] = dict(tree_sha256s(folder))
    for name in _TIMED_FILES.get(stage, ()):
        files[name] = _without_times(read_json(folder / name))
    for name in _TIMED_LINES.get(stage, ()):
        files[name] = re.sub(r'"seconds": [0-9.e-]+', "", (folder / name).read_text())
    numbers = [
        (m.id, m.value)
        for m in current_measurements(run)
        if m.stage == stage and m.unit not in _UNITS_OF_TIME_AND_MEMORY and m.id not in _TIMED_NUMBERS
    ]
    return Result(files, numbers)


def _without_times(value: object) -> object:
    if isinstance(value, dict):
        return {key: _without_times(part) for key, part in value.items() if key not in _TIMED_KEYS}
    return [_without_times(part) for part in value] if isinstance(value, list) else value
