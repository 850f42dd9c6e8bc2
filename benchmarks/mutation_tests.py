"""Try mutants one by one, each in a fork of a process that has run the tests already.

Usage: python mutation_tests.py MARKERS NAMES TEST ... < lines. The tests run once as they are, to import everything,
and pytest's exit code is the first line of the output. Then each line, `["mutant", ["first test", ...]]`, is answered
by a line with the exit code of all tests with that mutant, or with a negative signal if they take more than five times
as long as without it. The tests and files that the line names run first, and those of quick files before those of slow
ones.

It runs in mutmut's folder `mutants`, whose code asks the environment which mutant it is.
"""

import contextlib
import json
import os
import resource
import signal
import sys
import time
from collections import defaultdict
from collections.abc import Mapping

import pytest


def main(markers: str, names: str, tests: list[str]) -> None:
    arguments = ["-xq", "--rootdir=.", "--tb=short", "-p", "no:cacheprovider", "-m", markers, "-k", names, *tests]
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # pytest and what the tests start write to the log
    signal.signal(signal.SIGINT, lambda *_: None)  # the caller stops asking
    os.environ["MUTANT_UNDER_TEST"] = ""
    started = time.process_time()
    durations = Durations()
    code = int(pytest.main(arguments, plugins=[durations]))
    seconds = time.process_time() - started
    print(json.dumps(code), file=answers)
    for line in sys.stdin if code == 0 else ():
        mutant, first = json.loads(line)
        pid = os.fork()
        if pid == 0:
            _try(mutant, arguments, Order(set(first), durations.seconds), int(5 * seconds) + 60)
        print(json.dumps(_wait(pid, 60 * seconds + 600)), file=answers)


class Durations:
    """Time that each file's tests and fixtures take."""

    def __init__(self) -> None:
        self.seconds: defaultdict[str, float] = defaultdict(float)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Called for each part of each test."""
        self.seconds[report.nodeid.partition("::")[0]] += report.duration


class Order:
    """Tests and files that come first, then all others; files stay whole, the quickest first."""

    def __init__(self, first: set[str], seconds: Mapping[str, float]) -> None:
        self._first, self._seconds = first, seconds

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        """Called when all tests are known."""
        items.sort(key=self._key)

    def _key(self, item: pytest.Item) -> tuple[bool, bool, float, str]:
        file = item.nodeid.partition("::")[0]
        return file not in self._first, item.nodeid not in self._first, self._seconds.get(file, 0.0), file


def _try(mutant: str, arguments: list[str], order: "Order", seconds: int) -> None:
    """Run the tests with a mutant, and exit with their result."""
    os.environ["MUTANT_UNDER_TEST"] = mutant
    limit = int(time.process_time()) + seconds
    resource.setrlimit(resource.RLIMIT_CPU, (limit, limit))
    os._exit(int(pytest.main(arguments, plugins=[order])))


def _wait(pid: int, seconds: float) -> int:
    """Exit code of a child that has to end after this time by the clock, even if it waits for something."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        ended, status = os.waitpid(pid, os.WNOHANG)
        if ended:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.05)
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    return -signal.SIGKILL


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.argv[3:])
