"""Shared parts of the benchmarks: public data by default, one process per side, results with their environment."""

import importlib.resources
import json
import math
import os
import subprocess
import sys
import threading
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
SEED = 17


def data_path() -> Path:
    """Path in the environment variable `DATA`, or the public question-answer set."""
    return Path(os.environ.get("DATA") or faq("en"))


def faq(language: str) -> Path:
    """The English (`en`) or Swedish (`sv`) half of the public question-answer set."""
    name = {"en": "faq-en.jsonl", "sv": "faq.jsonl"}[language]
    return Path(str(importlib.resources.files("zaragoza_construction_faq"))) / "data" / name


def fine_tuned(model: str, data: Path, epochs: int) -> tuple[Path, list[str]]:
    """A run folder with the merged model, and the command that continues it.

    Any benchmark with the same settings reuses it.
    """
    work = HERE / ".work" / "tuned" / f"{model}-{data.stem}"
    work.mkdir(parents=True, exist_ok=True)
    config = work / "tinsmith.toml"
    config.write_text(
        f'name = "run"\nseed = {SEED}\n[base]\nmodel = "{model}"\n[data]\npath = "{data.resolve()}"\n'
        f"[train]\nepochs = {epochs}\nlearning_rate = 1e-3\n"
    )
    command = [sys.executable, "-m", "tinsmith", "run", str(config), "--runs", str(work)]
    run_measured([*command, "--to", "merge"], work / "run.log")
    return work / "run", command


_deadlines = [math.inf]


@contextmanager
def time_limit(seconds: float) -> Generator[None]:
    """End what `run_measured` runs in this block once `seconds` have passed."""
    _deadlines.append(min(_deadlines[-1], time.monotonic() + seconds))
    try:
        yield
    finally:
        _deadlines.pop()


def seconds_left() -> float:
    """Seconds until the innermost `time_limit` ends, at least 0; infinite outside of any."""
    return max(0.0, _deadlines[-1] - time.monotonic())


def run_measured(command: list[str], log: Path) -> tuple[float, int]:
    """Run a command with its output in `log`. Returns its seconds and its peak resident memory in bytes."""
    started, limit = time.monotonic(), seconds_left()
    with log.open("w") as output:
        process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT)
        timer = threading.Timer(min(limit, threading.TIMEOUT_MAX), process.kill)
        timer.start()
        _, status, usage = os.wait4(process.pid, 0)
        timer.cancel()
    process.returncode = os.waitstatus_to_exitcode(status)
    if time.monotonic() - started >= limit:
        sys.exit(f"its time was over after {limit:.0f} s")
    if process.returncode:
        sys.exit(f"{' '.join(map(str, command))}: exit code {process.returncode}\n{log.read_text()[-3000:]}")
    return time.monotonic() - started, usage.ru_maxrss * 1024


def environment(data: Path, packages: tuple[str, ...]) -> dict[str, Any]:
    """Machine, system, data set and package versions of a result."""
    from importlib.metadata import version

    from tinsmith.core.device import hardware, os_name

    return {
        "hardware": hardware(),
        "os": os_name(),
        "python": sys.version.split()[0],
        "data": data.name,
        "packages": {name: version(name) for name in packages},
    }


def publish(name: str, report: dict[str, Any], last_line: dict[str, Any]) -> None:
    """Write `results/<name>.json` and print the summary as the last line."""
    path = HERE / "results" / f"{name}.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(report, indent=1) + "\n")
    print(f"written: {path}", file=sys.stderr)
    print(json.dumps(last_line))


def published(name: str) -> dict[str, Any]:
    """Content of `results/<name>.json`, empty if there is none."""
    path = HERE / "results" / f"{name}.json"
    return json.loads(path.read_text()) if path.exists() else {}
