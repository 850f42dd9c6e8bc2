"""What pure functions have returned, shared by a server and the processes that it forks."""

import os
import pickle
from collections.abc import Callable
from io import BytesIO
from typing import Any

_REMEMBERED: "list[Remembered]" = []


class Remembered:
    """A function of one text whose results outlive the forked process that computed them.

    A process writes each new result to a nameless file in memory, from which the server takes it in. The function must
    not touch files.
    """

    def __init__(self, function: Callable[[str], Any]) -> None:
        self._function = function
        self._results: dict[str, Any] = {}
        self._new = os.memfd_create("results")
        _REMEMBERED.append(self)

    def __call__(self, text: str) -> Any:
        """Result of the function, which runs only for a text that is new here."""
        if text not in self._results:
            self._results[text] = self._function(text)
            os.write(self._new, pickle.dumps((text, self._results[text])))
        return self._results[text]

    def take_in(self) -> None:
        """Add the results of a process that has ended. A kill may have cut the last."""
        size = os.lseek(self._new, 0, os.SEEK_END)
        results = BytesIO(os.pread(self._new, size, 0))
        os.ftruncate(self._new, 0)
        os.lseek(self._new, 0, os.SEEK_SET)
        while results.tell() < size:
            try:
                text, result = pickle.load(results)
            except (EOFError, pickle.UnpicklingError):
                return
            self._results[text] = result


def take_in_results() -> None:
    """Add what a process that has ended has computed, to all functions."""
    for function in _REMEMBERED:
        function.take_in()
