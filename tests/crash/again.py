"""The command after an interruption: it must end where an uninterrupted run ends."""

import hashlib
import re
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache

from crash.line import Command, Line
from crash.system_calls import Call

_RANDOM_NAME = re.compile(r"\.[0-9a-f]{16}\.tmp")


@cache
def next_command(line: Line, stage: str) -> "NextCommand":
    """The one that knows every state that a test of this stage has left in the line."""
    return NextCommand(line, stage)


class NextCommand:
    """Repeats the command that was interrupted, and compares what it leaves with the run that nobody interrupted.

    A command depends on the bytes and names in the run folder alone, and so does a stage from the moment it starts. So
    a command that meets the same folder as an earlier one, at its own start or at the stage's, is not followed further.
    """

    def __init__(self, line: Line, stage: str) -> None:
        self._line, self._stage = line, stage
        self._interrupted: set[str] = set()
        """States in which an interrupted command left the run folder, and from which the next one finished."""
        self._finished: set[str] = set()
        """States of the run folder in which the stage started, and from which it finished."""

    @property
    def beginnings(self) -> int:
        """Number of different states of the run folder at the start of the stage, each followed to the end."""
        return len(self._finished)

    def check(self, about: str) -> None:
        """Require that earlier results are kept and that the next command ends as the uninterrupted run did.

        Args:
            about: What was done before, for the message of a failure.
        """
        line, stage = self._line, self._stage
        line.check_kept(stage)
        interrupted = _state(line)
        if interrupted not in self._interrupted:
            self._follow(about)
            self._interrupted.add(interrupted)

    def _follow(self, about: str) -> None:
        line, stage = self._line, self._stage
        begins_with = ""

        def decide(call: Call, command: Command) -> int:
            nonlocal begins_with
            is_start = call.path.parent == line.run.work and call.path.name.startswith(f"{stage}-")
            if call.name in ("mkdir", "mkdirat") and is_start and not begins_with:
                begins_with = _state(line)
                if begins_with in self._finished:
                    command.kill()
            return 0

        ended = line.repeat(stage, decide)
        if ended.code == -signal.SIGKILL:
            return
        assert ended.code == 0, f"after {about}: {ended.text[-3000:]}"
        line.check_finished(stage)
        if not begins_with:
            assert "up to date" in ended.text, f"after {about}: {ended.text[-3000:]}"
            return
        ended = line.bring_up_to(stage)
        is_all = ended.code == 0 and ended.text.count("up to date") == len(line.stages_up_to(stage))
        assert is_all, f"after {about}, not all was up to date: {ended.text[-3000:]}"
        self._finished.add(begins_with)


class Problems:
    """What went wrong at some of the operations, so that one does not hide the others."""

    def __init__(self) -> None:
        self.texts: list[str] = []

    @contextmanager
    def noted(self) -> Iterator[None]:
        """Note a failed check, and go on. Prints a dot for each check that passed."""
        try:
            yield
            print(".", end="", flush=True)
        except AssertionError as error:
            self.texts.append(str(error))
            print(f"\nPROBLEM {error}", flush=True)

    def require_none(self) -> None:
        """Fail if there was one."""
        assert not self.texts, f"{len(self.texts)} failed, the first: {self.texts[0]}"


def _state(line: Line) -> str:
    """Hash of every name in the run folder, and of every byte that is not as it was before the command."""
    state = hashlib.sha256()
    root = line.run.root
    for path in sorted(root.rglob("*")) if root.exists() else []:
        name = _RANDOM_NAME.sub(".tmp", path.relative_to(root).as_posix())
        content = b"\0" if path.is_dir() else b"\1" if line.is_restored(path) else path.read_bytes()
        state.update(f"{name}\0".encode() + content)
    return state.hexdigest()


def points(count: int, sample: int | None) -> list[int]:
    """Numbers of the operations to interrupt: 1 to `count`, or `sample` of them, evenly spread, with first and last."""
    if sample is None or sample >= count:
        return list(range(1, count + 1))
    return sorted({1 + round(place * (count - 1) / (sample - 1)) for place in range(sample)})


def counter(matches: Callable[..., bool]) -> Callable[..., int]:
    """A function that counts the calls that match, and returns the number of the one at hand; 0 for others."""
    count = 0

    def number(call: object) -> int:
        nonlocal count
        if not matches(call):
            return 0
        count += 1
        return count

    return number
