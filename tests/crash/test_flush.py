"""What counts as done has been flushed: a power failure after a rename finds what the rename promised.

A kill cannot show this, because the system keeps what a killed process wrote. The order of calls can.
"""

from pathlib import Path

import pytest

from crash.conftest import SHORT, WHOLE
from crash.line import Command, Line
from crash.system_calls import Call

_WRITES = {"write", "pwrite64", "writev", "pwritev", "sendfile", "copy_file_range", "fallocate", "ftruncate"}
_ENTERS = {"open", "openat", "creat", "mkdir", "mkdirat"}
_MOVES = {"rename", "renameat", "renameat2"}


class Unflushed:
    """Files with content, and folders with names, that a power failure would lose."""

    def __init__(self) -> None:
        self.paths: set[Path] = set()

    def note(self, call: Call) -> None:
        """Take a call into account."""
        if not call.changes or call.path.name.endswith(" (deleted)"):  # a temporary file without a name
            return
        if call.name in _WRITES:
            self.paths.add(call.path)
        elif call.name in ("fsync", "fdatasync"):
            self.paths.discard(call.path)
        elif call.name in _ENTERS and not call.path.exists():
            self.paths.add(call.path.parent)
        elif call.name in ("link", "linkat", "symlink", "symlinkat"):
            self.paths.add((call.target or call.path).parent)
        elif call.name in ("unlink", "unlinkat", "rmdir"):
            self.paths -= set(self.below(call.path))
        elif call.name in _MOVES:
            moved = set(self.below(call.path))
            self.paths -= moved
            self.paths |= {call.target / path.relative_to(call.path) for path in moved} | {call.target.parent}

    def below(self, place: Path) -> list[Path]:
        """Of a file itself; of a folder and everything in it."""
        return sorted(path for path in self.paths if path.is_relative_to(place))


def _promises(line: Line, target: Path) -> bool:
    """Whether a file or folder counts once it has this name: all in the run, and checkpoints of unfinished work."""
    if target.is_relative_to(line.run.work):
        return target.parent.name == "checkpoints"
    return target.is_relative_to(line.run.root)


def _check_flushed(line: Line, stage: str) -> None:
    """Require that nothing is renamed into the run, and no stamp written, before it is flushed."""
    line.go_back_to(stage)
    unflushed, problems, moved = Unflushed(), [], []

    def decide(call: Call, command: Command) -> int:
        unflushed.note(call)
        if call.name in _MOVES and _promises(line, call.target):
            moved.append(call.target)
            lost = unflushed.below(call.target)
            if call.target == line.run.stamp(stage):
                lost += [path for path in unflushed.below(line.run.work) if path != line.run.work]
                lost += unflushed.below(line.run.measurements)
            if lost:
                problems.append(f"{call.target}: {lost}")
        return 0

    ended = line.bring_up_to(stage, decide=decide)
    assert ended.code == 0, ended.text
    assert not problems, problems
    assert moved.index(line.run.measurements) < moved.index(line.run.stamp(stage)) < moved.index(line.run.stage(stage))
    # The folder from which the result was moved is not synced: its name there is no promise.
    assert [
        path for path in unflushed.below(line.run.root) if path not in (line.run.work, line.run.root / ".lock")
    ] == []


@pytest.mark.parametrize("stage", SHORT.stages)
def test_the_pipeline_flushes_before_it_promises(short_line, stage):
    _check_flushed(short_line, stage)


@pytest.mark.long
@pytest.mark.parametrize("stage", WHOLE.stages)
def test_every_stage_is_flushed_before_it_counts(whole_line, stage):
    _check_flushed(whole_line, stage)
