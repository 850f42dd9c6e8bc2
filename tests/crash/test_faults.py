"""A file operation that fails costs nothing but time: a message says what to do, and the next command works."""

import errno
import os
import re
from collections.abc import Callable

import pytest

from crash.again import Problems, counter, next_command, points
from crash.conftest import SHORT, WHOLE
from crash.line import Command, Ended, Line
from crash.system_calls import Call

_GROWING = {"write", "pwrite64", "writev", "pwritev", "sendfile", "copy_file_range", "fallocate", "ftruncate", "fsync"}
_CREATING = {"mkdir", "mkdirat", "rename", "renameat", "renameat2", "link", "linkat", "symlink", "symlinkat"}
_NAMING = _CREATING | {"unlink", "unlinkat", "rmdir"}
_OPENING = {"open", "openat", "creat"}


def _can_fail(call: Call, code: int) -> bool:
    """Whether the system can answer the call with this error."""
    if code == errno.ENOSPC:
        return call.name in _GROWING | _CREATING or (call.name in _OPENING and call.changes)
    if code == errno.EACCES:
        return call.name in _NAMING | _OPENING
    if code == errno.EMFILE:
        return call.name in _OPENING
    return True


FAULTS = [errno.ENOSPC, errno.EIO, errno.EACCES, errno.EMFILE]


def _operations(line: Line, stage: str, code: int) -> list[Call]:
    """The operations of the stage that can fail with this error."""
    line.go_back_to(stage)
    calls: list[Call] = []

    def decide(call: Call, command: Command) -> int:
        calls.extend([call] if _can_fail(call, code) else [])
        return 0

    assert line.repeat(stage, decide).code == 0
    return calls


def _fail(line: Line, stage: str, code: int, number: int) -> tuple[Ended, Call | None]:
    """Let one operation of the command fail; on a full disk all that need space after it fail too."""
    line.go_back_to(stage)
    count = counter(lambda call: _can_fail(call, code))
    failed: list[Call] = []

    def decide(call: Call, command: Command) -> int:
        at = count(call)
        if at != number and not (code == errno.ENOSPC and at > number):
            return 0
        failed.append(call)
        return code

    return line.repeat(stage, decide), failed[0] if failed else None


def _fail_every_operation(line: Line, stage: str, code: int, numbers: list[int]) -> int:
    """Let each operation fail in turn, and check message and next command; returns how many stopped the command."""
    again, problems, stopped = next_command(line, stage), Problems(), 0
    for number in numbers:
        ended, call = _fail(line, stage, code, number)
        about = f"{errno.errorcode[code]} at operation {number} ({call})"
        with problems.noted():
            if ended.code == 0:  # such as the removal of a temporary folder
                line.check_finished(stage)
                continue
            stopped += 1
            assert ended.code == 2, f"{about}: exit code {ended.code}\n{ended.text[-3000:]}"
            _check_message(line, ended.text, code, about)
            again.check(about)
    problems.require_none()
    return stopped


def _check_message(line: Line, text: str, code: int, about: str) -> None:
    assert "Traceback" not in text, f"{about}\n{text}"
    (said,) = re.findall(r"^error: (.*)\n  -> (.*)$", text, re.MULTILINE | re.DOTALL)
    message, hint = said
    reasons = (os.strerror(code), "cannot be opened", "cannot be written")  # some libraries do not say why
    assert any(reason in message for reason in reasons), f"{about}\n{text}"
    assert "runs/tea" in message or str(line.folder) in message or "tinsmith.toml" in message, f"{about}\n{text}"
    assert "run the same command again" in hint, f"{about}\n{text}"


def _different(calls: list[Call]) -> list[int]:
    """Numbers of the first, the middle and the last of the operations of a kind in a folder.

    The app stage copies hundreds of files by the same few functions.
    """
    kinds: dict[tuple, list[int]] = {}
    for number, call in enumerate(calls, start=1):
        kinds.setdefault((call.name, call.changes, call.path.parent), []).append(number)
    return sorted({number for same in kinds.values() for number in (same[0], same[len(same) // 2], same[-1])})


@pytest.mark.parametrize("code", FAULTS, ids=errno.errorcode.get)
def test_any_operation_of_the_pipeline_itself_may_fail(short_line, code):
    stage = SHORT.stages[-1]
    numbers = points(len(_operations(short_line, stage, code)), 10)
    assert len(numbers) == 10 and _fail_every_operation(short_line, stage, code, numbers) >= 5


def _fail_in_turn(line: Line, stage: str, code: int, choose: Callable[[list[Call]], list[int]]) -> None:
    calls = _operations(line, stage, code)
    numbers = choose(calls)
    stopped = _fail_every_operation(line, stage, code, numbers)
    print(f"\n{stage}: {errno.errorcode[code]} at {len(numbers)} of {len(calls)} operations, {stopped} stopped the run")
    assert stopped > len(numbers) / 2


@pytest.mark.long
@pytest.mark.parametrize("code", FAULTS, ids=errno.errorcode.get)
@pytest.mark.parametrize("stage", WHOLE.stages)
def test_every_kind_of_operation_may_fail(whole_line, stage, code):
    _fail_in_turn(whole_line, stage, code, _different)


@pytest.mark.long
@pytest.mark.parametrize("code", FAULTS, ids=errno.errorcode.get)
@pytest.mark.parametrize("stage", [stage for stage in WHOLE.stages if stage != "app"])
def test_every_operation_may_fail(whole_line, stage, code):
    _fail_in_turn(whole_line, stage, code, lambda calls: points(len(calls), None))
