"""Mutants are tried by forks of one process, and what they do is told by pytest's exit code."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
TESTS = """
import os

def price():
    return 5 if os.environ["MUTANT_UNDER_TEST"] == "dear" else 4

def test_price():
    open("log.txt", "a").write("price ")
    assert price() == 4

def test_cups():
    open("log.txt", "a").write("cups ")
    assert os.environ["MUTANT_UNDER_TEST"] != "crash" or os._exit(3)

def test_left_out():
    assert os.environ["MUTANT_UNDER_TEST"] == ""
"""


def ask(folder, lines):
    """Exit code of the tests as they are, then of each mutant."""
    command = [sys.executable, BENCHMARKS / "mutation_tests.py", "not long", "not left_out", "tests"]
    asked = "".join(json.dumps(line) + "\n" for line in lines)
    done = subprocess.run(command, input=asked, cwd=folder, stdout=subprocess.PIPE, text=True, check=True)
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_a_mutant_is_noticed_if_a_test_fails_or_ends_the_process(tmp_path):
    (tmp_path / "tests").mkdir()
    (tmp_path / "tests/test_tea.py").write_text(TESTS)
    (tmp_path / "tests/test_quick.py").write_text("def test_quick():\n    open('log.txt', 'a').write('quick ')\n")
    mutants = [["same", []], ["dear", ["tests/test_tea.py::test_cups"]], ["crash", ["tests/test_tea.py"]]]
    assert ask(tmp_path, mutants) == [0, 0, 1, 3]
    runs = (tmp_path / "log.txt").read_text().split()
    assert runs[:3] == ["quick", "price", "cups"] and sorted(runs[3:6]) == ["cups", "price", "quick"]
    # What a line names comes first, then the files that were quicker as they are.
    assert runs[6:] in (["cups", "quick", "price", "price", "cups"], ["cups", "price", "price", "cups"])


def test_tests_that_fail_without_a_mutant_end_it(tmp_path):
    (tmp_path / "tests").mkdir()
    (tmp_path / "tests/test_tea.py").write_text("def test_tea():\n    assert False\n")
    assert ask(tmp_path, [["same", []]]) == [1]


def test_a_mutant_that_waits_for_ever_is_ended(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import mutation_tests

    pid = os.fork()
    if pid == 0:
        time.sleep(60)
        os._exit(0)
    assert mutation_tests._wait(pid, 0.2) == -signal.SIGKILL
    with pytest.raises(ChildProcessError):
        os.waitpid(pid, 0)
