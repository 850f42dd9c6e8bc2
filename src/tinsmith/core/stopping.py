"""Stop a process on SIGINT (Ctrl-C) or SIGTERM: at once, or after work that would otherwise be lost.

The first signal raises `Stopped`. Inside `finishing_step` it waits for the block to ask for it. A second signal ends
the process at once, as if nothing had been set up.
"""

import signal
import threading
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType

from tinsmith.core.stage_context import Say

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Stopped(BaseException):
    """The user or the system wants this process to end. Like `KeyboardInterrupt`, it is no `Exception`.

    Args:
        number: The signal.
        saved: What was saved on the way, as the end of a sentence; empty if nothing.
    """

    def __init__(self, number: int, saved: str = "") -> None:
        super().__init__(number, saved)
        self.saved = saved
        self.exit_code = 128 + number


@dataclass
class _State:
    """Signals are the whole process's, so this is too."""

    say: Say | None = None
    is_finishing: bool = False
    pending: int = 0
    """The signal that waits for the end of a step; 0 if there is none."""


_state = _State()


@contextmanager
def stoppable(say: Say) -> Generator[None]:
    """Raise `Stopped` on the first signal inside the block.

    Does nothing outside the main thread, where Python handles no signals, and for signals that the process was
    started to ignore, as by `nohup`.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    previous = {number: signal.getsignal(number) for number in _SIGNALS}
    heeded = [number for number in _SIGNALS if previous[number] != signal.SIG_IGN]
    _state.say = say
    for number in heeded:
        signal.signal(number, _on_signal)
    try:
        yield
    finally:
        _state.pending = 0
        for number in heeded:
            signal.signal(number, previous[number])


def _on_signal(number: int, frame: FrameType | None) -> None:
    for each in _SIGNALS:
        if signal.getsignal(each) is _on_signal:
            signal.signal(each, signal.SIG_DFL)
    if not _state.is_finishing:
        raise Stopped(number)
    _state.pending = number
    if _state.say:
        _state.say("stopping after this step; the same signal again (Ctrl-C) stops at once")


@contextmanager
def finishing_step() -> Generator[None]:
    """Let a signal inside the block wait until the block asks for `stop_requested`, or ends.

    Raises:
        Stopped: the block has ended without asking.
    """
    _state.is_finishing = True
    try:
        yield
    finally:
        _state.is_finishing = False
    if _state.pending:
        raise Stopped(_state.pending)


def stop_requested() -> int:
    """Number of the signal that waits for the end of a step; 0 if there is none."""
    return _state.pending
