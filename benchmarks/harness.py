"""What every benchmark does alike: public data by default, a process of its own for each side, results with their environment."""

import importlib.resources
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent


def chosen_data() -> Path:
    """What `DATA` names in the environment, or the public question-answer set."""
    return Path(os.environ.get("DATA") or faq("en"))


def faq(language: str) -> Path:
    """The English (`en`) or Swedish (`sv`) half of the public question-answer set."""
    return Path(str(importlib.resources.files("zaragoza_construction_faq"))) / "data" / f"faq-{language}.jsonl"


def run_measured(command: list[str], log: Path) -> tuple[float, int]:
    """Run a command with its output in `log`; returns its seconds and its process's peak resident memory in bytes."""
    started = time.monotonic()
    with log.open("w") as output:
        process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT)
        _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        sys.exit(f"{' '.join(map(str, command))}: exit code {process.returncode}\n{log.read_text()[-3000:]}")
    return time.monotonic() - started, usage.ru_maxrss * 1024


def environment(data: Path, packages: tuple[str, ...]) -> dict[str, Any]:
    """Machine, system, data set and package versions that results belong to."""
    from importlib.metadata import version

    from tinsmith.device import hardware, os_name

    return {
        "hardware": hardware(), "os": os_name(), "python": sys.version.split()[0], "data": data.name,
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
    """What `results/<name>.json` holds; empty if there is none."""
    path = HERE / "results" / f"{name}.json"
    return json.loads(path.read_text()) if path.exists() else {}
