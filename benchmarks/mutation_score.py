"""Change the code in one place at a time with mutmut, and count how many changes the tests notice.

Usage: python mutation_score.py [--group NAME ...] [--sample N]. Each group is a part of the code with its own tests. Of
a group's mutants at most `--sample` are tried, drawn by a hash of their names; 0 tries all. A mutant is noticed if a
test fails or runs too long. The tests run in a copy of the code, in an environment of their own.

`benchmarks/results/mutation_score.json` has, for each group, the mutants, those tried and noticed, a 95 % interval, and
every change that no test noticed. The last line is the short form.
"""

import argparse
import hashlib
import json
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from harness import HERE, publish, published

from tinsmith.core.intervals import wilson

ROOT = HERE.parent
MUTMUT = HERE / ".venv-mutmut/bin/mutmut"
GROUPS = {
    "measure": (["core/measure.py"], ["core/test_measure.py"]),
    "run_dir": (["core/run_dir.py"], ["core/test_run_dir.py"]),
    "data": (["data/*"], ["data"]),
    "evaluate": (["evaluate/*"], ["evaluate"]),
    "card": (["card/*"], ["card"]),
}
"""Name -> files below `src/tinsmith/` that are changed, and tests below `tests/` that should notice."""
_NOTICED = frozenset({1, 3, 24, 36, 152, 255, -24})
"""Exit codes of a mutant whose tests failed (1, 3) or ran too long."""
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
    not browser and not long
"""


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--group", action="append", choices=GROUPS, help="Only these groups.")
    parser.add_argument("--sample", type=int, default=200, help="Mutants to try in each group; 0 means all.")
    arguments = parser.parse_args(argv)
    report = published("mutation_score")
    for group in arguments.group or GROUPS:
        report[group] = score(group, arguments.sample)
        publish("mutation_score", report, {name: [r["noticed"], r["tried"]] for name, r in report.items()})


def score(group: str, sample: int) -> dict[str, Any]:
    """Try the mutants of one group.

    Raises:
        SystemExit: the tests fail without any change.
    """
    folder = HERE / ".work/mutation" / group
    _copy(folder, group)
    _mutmut(folder, "run", "nothing")  # writes every mutant, and which tests reach it
    mutants = sorted(_results(folder))
    if not mutants:
        sys.exit(f"{group}: mutmut wrote no mutant")
    tried = sorted(mutants, key=lambda name: hashlib.sha256(name.encode()).digest())[: sample or None]
    _mutmut(folder, "run", *tried)
    results = _results(folder)
    outcomes = {name: results[name] for name in tried}
    missed = [name for name, code in outcomes.items() if code not in _NOTICED]
    noticed = len(tried) - len(missed)
    return {
        "mutants": len(mutants),
        "tried": len(tried),
        "noticed": noticed,
        "share": noticed / len(tried),
        **wilson(noticed, len(tried)),
        "exit_codes": dict(Counter(str(code) for code in outcomes.values())),
        "missed": {name: _change(folder, name) for name in sorted(missed)},
    }


def _copy(folder: Path, group: str) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    skip = shutil.ignore_patterns("node_modules", "__pycache__")
    for name in ("src", "tests", "benchmarks/results", "docs"):
        if (ROOT / name).exists():
            shutil.copytree(ROOT / name, folder / name, ignore=skip)
    for name in ("pyproject.toml", "README.md", "CHANGELOG.md", "LICENSE"):
        shutil.copy(ROOT / name, folder / name)
    files, tests = GROUPS[group]
    (folder / "setup.cfg").write_text(
        _SETTINGS.format(
            files="\n    ".join(f"src/tinsmith/{name}" for name in files),
            tests="\n    ".join(f"tests/{name}" for name in tests),
        )
    )


def _mutmut(folder: Path, *arguments: str) -> None:
    log = folder / "mutmut.log"
    with log.open("a") as file:
        done = subprocess.run(
            [MUTMUT, *arguments, "--max-children", "1"], check=False, cwd=folder, stdout=file, stderr=file
        )
    if "failed to collect stats" in log.read_text() or (done.returncode and not _results(folder)):
        sys.exit(f"mutmut could not run the tests; see {log}")


def _results(folder: Path) -> dict[str, int | None]:
    """Name of a mutant -> exit code of its tests, None if they have not run."""
    results: dict[str, int | None] = {}
    for path in (folder / "mutants/src").rglob("*.meta"):
        results |= json.loads(path.read_text())["exit_code_by_key"]
    return results


def _change(folder: Path, name: str) -> str:
    """The changed lines of a mutant."""
    shown = subprocess.run([MUTMUT, "show", name], check=False, cwd=folder, capture_output=True, text=True).stdout
    lines = [line for line in shown.splitlines() if line[:1] in "+-" and line[:3] not in ("+++", "---")]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
