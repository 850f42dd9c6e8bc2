"""Change the code in one place at a time with mutmut, and count how many changes the tests notice.

Usage: python mutation_score.py [--group NAME ...] [--sample N] [--seed TEXT]. Each group is a part of the code with its
own tests. Of a group's mutants at most `--sample` are tried, drawn by a hash of `--seed` and their names; 0 tries all.
Write tests for what one sample shows, and publish the score of another one.

A mutant is noticed if a test of its group fails or runs too long. Those that call its function run first, as far as
mutmut sees it; the others follow, because fixtures of the session and other processes call functions too. The tests run
in a copy of the code, in an environment of their own. Mutants are tried in the order of the draw, so Ctrl-C leaves a
smaller sample, which is published; `--again` goes on with the mutants of the last run.

`benchmarks/results/mutation_score.json` has, for each group, the mutants, those tried and noticed, a 95 % interval, and
every change that no test noticed. The last line is the short form.
"""

import argparse
import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Sequence
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
_FIRST = {"card": ["tests/card/test_card_golden.py"]}
"""Group -> files whose tests run first, because they compare what a fixture of the session makes."""
_NOTICED = frozenset({1, 2, 3, -signal.SIGXCPU, -signal.SIGKILL})
"""Tests failed, were not collected, broke pytest, or ran too long."""
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
"""


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--group", action="append", choices=GROUPS, help="Only these groups.")
    parser.add_argument("--sample", type=int, default=200, help="Mutants to try in each group; 0 means all.")
    parser.add_argument("--seed", default="", help="Draws the sample.")
    parser.add_argument("--again", action="store_true", help="Take the mutants that the last run wrote.")
    arguments = parser.parse_args(argv)
    for group in arguments.group or GROUPS:
        if not arguments.again:
            _copy(HERE / ".work/mutation" / group, group)
            _write_mutants(HERE / ".work/mutation" / group)
        result = score(group, arguments.sample, arguments.seed)
        report = published("mutation_score") | {group: result}
        publish("mutation_score", report, {name: [r["noticed"], r["tried"]] for name, r in report.items()})


def score(group: str, sample: int, seed: str) -> dict[str, Any]:
    """Try the mutants of one group.

    Raises:
        SystemExit: the tests fail without any change.
    """
    folder = HERE / ".work/mutation" / group
    mutants = _mutants(folder)
    drawn = sorted(mutants, key=lambda name: hashlib.sha256(f"{seed}{name}".encode()).digest())[: sample or None]
    outcomes = _try(folder, group, drawn)
    missed = [name for name, code in outcomes.items() if code not in _NOTICED]
    noticed = len(outcomes) - len(missed)
    return {
        "mutants": len(mutants),
        "seed": seed,
        "tried": len(outcomes),
        "noticed": noticed,
        "share": noticed / len(outcomes),
        **wilson(noticed, len(outcomes)),
        "exit_codes": dict(Counter(str(code) for code in outcomes.values())),
        "missed": {name: _change(folder, name) for name in sorted(missed)},
    }


def _try(folder: Path, group: str, drawn: Sequence[str]) -> dict[str, int]:
    """Mutant -> exit code of pytest, or the signal that ended it, negated; those before Ctrl-C."""
    stats = json.loads((folder / "mutants/mutmut-stats.json").read_text())["tests_by_mangled_function_name"]
    tests = [f"tests/{path}" for path in GROUPS[group][1]]
    own = {"MUTANT_UNDER_TEST": "", "PYTHONPATH": str(folder / "mutants/src")}
    outcomes: dict[str, int] = {}
    with subprocess.Popen(
        [BIN / "python", HERE / "mutation_tests.py", _MARKERS, _names(group), *tests],
        cwd=folder / "mutants",
        env=_environment(folder) | own,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=(folder / "tests.log").open("w"),
        text=True,
    ) as process:
        assert process.stdin and process.stdout
        if json.loads(process.stdout.readline() or "1"):
            sys.exit(f"{group}: the tests fail without any change; see {folder / 'tests.log'}")
        try:
            for name in drawn:
                first = [*_FIRST.get(group, ()), *stats.get(name.rpartition("__mutmut_")[0], ())]
                process.stdin.write(json.dumps([name, first]) + "\n")
                process.stdin.flush()
                outcomes[name] = json.loads(process.stdout.readline())
                print(f"{len(outcomes)} of {len(drawn)}: {outcomes[name]} {name}", flush=True)
        except KeyboardInterrupt:
            process.terminate()
    return outcomes


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


def _write_mutants(folder: Path) -> None:
    """Let mutmut write every mutant, and which tests call its function."""
    log = folder / "mutmut.log"
    command = [BIN / "mutmut", "run", "nothing", "--max-children", "1"]
    with log.open("w") as file:
        subprocess.run(command, check=False, cwd=folder, env=_environment(folder), stdout=file, stderr=file)
    if "failed to collect stats" in log.read_text() or not _mutants(folder):
        sys.exit(f"mutmut could not run the tests; see {log}")
    group = folder.name
    for pattern in _BUILT_BY_OTHERS.get(group, ()):
        for built in (folder / "tmp").glob(f"*/pytest-[0-9]*/shared/{pattern}/"):
            built.rename(folder / "built" / built.name)


def _environment(folder: Path) -> dict[str, str]:
    """One thread, because a fork has none of OpenMP's others, and temporary folders of their own."""
    own = {"OMP_NUM_THREADS": "1", "PYTEST_DEBUG_TEMPROOT": str(folder / "tmp"), "BUILT_ONCE": str(folder / "built")}
    return os.environ | own


def _mutants(folder: Path) -> list[str]:
    metas = (folder / "mutants/src").rglob("*.meta")
    return sorted(name for meta in metas for name in json.loads(meta.read_text())["exit_code_by_key"])


def _change(folder: Path, name: str) -> str:
    """The changed lines of a mutant."""
    shown = subprocess.run(
        [BIN / "mutmut", "show", name], check=False, cwd=folder, capture_output=True, text=True
    ).stdout
    lines = [line for line in shown.splitlines() if line[:1] in "+-" and line[:3] not in ("+++", "---")]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
