"""The command after an interruption: it must end where an uninterrupted run ends."""

import hashlib
import re
from collections.abc import Callable

from crash.line import Line

_RANDOM_NAME = re.compile(r"\.[0-9a-f]{16}\.tmp")


class NextCommand:
    """Repeats the command that was interrupted, once for each state of the run folder.

    The command reads nothing but the project and the run folder. So an interruption that leaves the same bytes under
    the same names as an earlier one needs no second look.
    """

    def __init__(self, line: Line, stage: str) -> None:
        self._line, self._stage = line, stage
        self._seen: set[str] = set()
        self.states = 0
        """Different states of the run folder."""

    def check(self, about: str) -> None:
        """Require that the next command works, keeps earlier results and ends as the uninterrupted run did.

        Args:
            about: What was done before, for the message of a failure.
        """
        self._line.check_kept(self._stage)
        state = _state(self._line)
        if state in self._seen:
            return
        self._seen.add(state)
        self.states += 1
        ended = self._line.bring_up_to(self._stage)
        assert ended.code == 0, f"after {about}: {ended.text[-3000:]}"
        for number, name in enumerate(self._line.stages_up_to(self._stage)[:-1]):
            assert ended.text.count("up to date") > number, f"after {about}, {name} ran again: {ended.text[-3000:]}"
        self._line.check_finished(self._stage)


def _state(line: Line) -> str:
    """Hash of every name and every byte in the run folder."""
    state = hashlib.sha256()
    root = line.run.root
    for path in sorted(root.rglob("*")) if root.exists() else []:
        name = _RANDOM_NAME.sub(".tmp", path.relative_to(root).as_posix())
        state.update(f"{name}\0".encode() + (path.read_bytes() if path.is_file() else b"\0"))
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
