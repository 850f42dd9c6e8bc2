"""Change the code in one place at a time with mutmut, and count how many changes the tests notice.

Usage: python mutation_score.py [--group NAME ...] [--sample N] [--seed TEXT]. Each group is a part of the code with its
own tests. Of a group's mutants at most `--sample` are tried, drawn by a hash of `--seed` and their names; 0 tries all.
Write tests for what one sample shows, and publish the score of another one.

A mutant is first tried with the tests that call its function. If none fails, the group's other tests try it in a
process of their own, because mutmut does not see what fixtures of the session and other processes call. It is noticed
if a test fails or runs too long. The tests run in a copy of the code, in an environment of their own.

`benchmarks/results/mutation_score.json` has, for each group, the mutants, those tried and noticed, a 95 % interval, and
every change that no test noticed. The last line is the short form.
"""

import argparse
import hashlib
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Sequence, Set
from pathlib import Path
from typing import Any

from harness import HERE, publish, published

from tinsmith.core.intervals import wilson

ROOT = HERE.parent
BIN = HERE / ".venv-mutmut/bin"
GROUPS = {
    "measure": (["core/measure.py"], ["core/test_measure.py"]),
    "run_dir": (["core/run_dir.py"], ["core/test_run_dir.py"]),
    "data": (["data/*"], ["data"]),
    "evaluate": (["evaluate/*"], ["evaluate"]),
    "card": (["card/*"], ["card"]),
}
"""Name -> files below `src/tinsmith/` that are changed, and tests below `tests/` that should notice."""
_BUILT_BY_OTHERS = {"evaluate": ("line-*", "tiny-*")}
"""Group -> folders that its tests build once a session without the group's code, so that all mutants can share them."""
_LEFT_OUT = {"card": "digit or measurement_is_watched or partial_run_is_marked or short_whatever_has_finished"}
"""Group -> tests that take most of its time, because they render a card again and again, as for pytest's `-k`. They can
only notice more."""
_FAILED = frozenset({1, 2, 3})
"""Exit codes of pytest: tests failed, were not collected, or broke pytest."""
_TOO_LONG = frozenset({-signal.SIGXCPU, -signal.SIGKILL})
_NOTHING_TO_RUN = 5
_MARKERS = "not browser and not long"
_SETTINGS = """[mutmut]
source_paths=
    src
only_mutate=
    {files}
pytest_add_cli_args_test_selection=
    {tests}
pytest_add_cli_args=
    -p
    no:cacheprovider
    -m
    {markers}
    -k
    {names}
timeout_constant=20
"""


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--group", action="append", choices=GROUPS, help="Only these groups.")
    parser.add_argument("--sample", type=int, default=200, help="Mutants to try in each group; 0 means all.")
    parser.add_argument("--seed", default="", help="Draws the sample.")
    arguments = parser.parse_args(argv)
    for group in arguments.group or GROUPS:
        result = score(group, arguments.sample, arguments.seed)
        report = published("mutation_score") | {group: result}
        publish("mutation_score", report, {name: [r["noticed"], r["tried"]] for name, r in report.items()})


def score(group: str, sample: int, seed: str) -> dict[str, Any]:
    """Try the mutants of one group.

    Raises:
        SystemExit: the tests fail without any change.
    """
    folder = HERE / ".work/mutation" / group
    _copy(folder, group)
    _mutmut(folder, "run", "nothing")  # writes every mutant, and which tests reach it
    for pattern in _BUILT_BY_OTHERS.get(group, ()):
        for built in (folder / "tmp").glob(f"*/pytest-[0-9]*/shared/{pattern}/"):
            built.rename(folder / "built" / built.name)
    mutants = sorted(_results(folder))
    if not mutants:
        sys.exit(f"{group}: mutmut wrote no mutant")
    tried = sorted(mutants, key=lambda name: hashlib.sha256(f"{seed}{name}".encode()).digest())[: sample or None]
    _mutmut(folder, "run", *tried)
    results = _results(folder)
    outcomes = {name: results[name] for name in tried}
    tests_of = json.loads((folder / "mutants/mutmut-stats.json").read_text())["tests_by_mangled_function_name"]
    passed = {
        name: set(tests_of.get(name.rpartition("__mutmut_")[0], ())) if code == 0 else set()
        for name, code in outcomes.items()
        if code not in _FAILED
    }
    if passed and _other_tests(folder, group, "", set.intersection(*passed.values())):
        sys.exit(f"{group}: the tests fail without any change")
    outcomes |= {name: _other_tests(folder, group, name, tests) for name, tests in passed.items()}
    missed = [name for name, code in outcomes.items() if code == 0]
    noticed = len(tried) - len(missed)
    return {
        "mutants": len(mutants),
        "seed": seed,
        "tried": len(tried),
        "noticed": noticed,
        "share": noticed / len(tried),
        **wilson(noticed, len(tried)),
        "exit_codes": dict(Counter(str(code) for code in outcomes.values())),
        "missed": {name: _change(folder, name) for name in sorted(missed)},
    }


def _other_tests(folder: Path, group: str, name: str, passed: Set[str]) -> int:
    """Run the group's tests that have not passed yet, for at most five times their usual processor time.

    Args:
        folder: Where the mutants are.
        group: Names the tests.
        name: The mutant's; empty for the code as it is.
        passed: Tests that are left out.

    Returns:
        pytest's exit code, or the signal that ended it, negated.
    """
    seconds = 5 * int(json.loads((folder / "mutants/mutmut-stats.json").read_text())["stats_time"]) + 60
    tests = [f"tests/{path}" for path in GROUPS[group][1]] + [f"--deselect={test}" for test in sorted(passed)]
    code = subprocess.run(
        [BIN / "python", "-m", "pytest", "-xq", "-p", "no:cacheprovider", "-m", _MARKERS, "-k", _names(group), *tests],
        check=False,
        cwd=folder / "mutants",
        env=_environment(folder) | {"MUTANT_UNDER_TEST": name, "PYTHONPATH": str(folder / "mutants/src")},
        stdout=subprocess.DEVNULL,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds)),
    ).returncode
    if code == _NOTHING_TO_RUN and passed:
        return 0
    if code and code not in _FAILED | _TOO_LONG:
        sys.exit(f"{group}: pytest ended with exit code {code} for {name or 'the code as it is'}")
    print(f"{name or group}: {'noticed by another test' if code else 'passes all tests'}", flush=True)
    return code


def _names(group: str) -> str:
    return f"not ({_LEFT_OUT[group]})" if group in _LEFT_OUT else ""


def _copy(folder: Path, group: str) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    skip = shutil.ignore_patterns("node_modules", "__pycache__")
    for name in ("src", "tests", "benchmarks/results", "docs"):
        if (ROOT / name).exists():
            shutil.copytree(ROOT / name, folder / name, ignore=skip)
    for name in ("pyproject.toml", "README.md", "CHANGELOG.md", "LICENSE"):
        shutil.copy(ROOT / name, folder / name)
    for name in ("built", "tmp"):
        (folder / name).mkdir()
    files, tests = GROUPS[group]
    (folder / "setup.cfg").write_text(
        _SETTINGS.format(
            files="\n    ".join(f"src/tinsmith/{name}" for name in files),
            tests="\n    ".join(f"tests/{name}" for name in tests),
            markers=_MARKERS,
            names=_names(group),
        )
    )


def _mutmut(folder: Path, *arguments: str) -> None:
    log = folder / "mutmut.log"
    command = [BIN / "mutmut", *arguments, "--max-children", "1"]
    with log.open("a") as file:
        done = subprocess.run(
            command, check=False, cwd=folder, env=_environment(folder), stdout=file, stderr=subprocess.STDOUT
        )
    if "failed to collect stats" in log.read_text() or (done.returncode and not _results(folder)):
        sys.exit(f"mutmut could not run the tests; see {log}")


def _environment(folder: Path) -> dict[str, str]:
    """One thread, because a fork has none of OpenMP's others, and temporary folders of their own."""
    own = {"OMP_NUM_THREADS": "1", "PYTEST_DEBUG_TEMPROOT": str(folder / "tmp"), "BUILT_ONCE": str(folder / "built")}
    return os.environ | own


def _results(folder: Path) -> dict[str, int | None]:
    """Name of a mutant -> exit code of its tests, None if they have not run."""
    results: dict[str, int | None] = {}
    for path in (folder / "mutants/src").rglob("*.meta"):
        results |= json.loads(path.read_text())["exit_code_by_key"]
    return results


def _change(folder: Path, name: str) -> str:
    """The changed lines of a mutant."""
    shown = subprocess.run(
        [BIN / "mutmut", "show", name], check=False, cwd=folder, capture_output=True, text=True
    ).stdout
    lines = [line for line in shown.splitlines() if line[:1] in "+-" and line[:3] not in ("+++", "---")]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
