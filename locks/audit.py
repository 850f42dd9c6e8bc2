"""Look for known weaknesses of the locked packages: pip-audit for Python's, npm for the browser runtime's.

Both ask services on the network. One sentence for each says how many packages were audited and how many were not. A
known weakness fails; a service without an answer does not, because it says nothing about the packages.
"""

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]


@dataclass(frozen=True)
class Audit:
    """What a service said about a group of packages."""

    name: str
    audited: int
    unaudited: int
    """Packages that the service did not answer for."""
    weaknesses: tuple[str, ...]

    def __str__(self) -> str:
        if not self.audited:
            return f"WARNING: {self.name} WERE NOT AUDITED: the service gave no answer"
        head = f"{self.name}: {len(self.weaknesses)} known weaknesses in {self.audited} packages"
        if self.unaudited:
            head += f"; WARNING: {self.unaudited} WERE NOT AUDITED: the service does not know them"
        return "\n  ".join((head, *self.weaknesses))


def python_audit(answer: dict[str, Any]) -> Audit:
    """The answer of pip-audit. It skips packages that the service does not know, and still exits with 0."""
    packages = answer.get("dependencies", [])
    audited = [package for package in packages if "skip_reason" not in package]
    weaknesses = tuple(
        f"{package['name']} {package['version']}: {weakness['id']}"
        for package in audited
        for weakness in package["vulns"]
    )
    return Audit("Python packages", len(audited), len(packages) - len(audited), weaknesses)


def npm_audit(answer: dict[str, Any]) -> Audit:
    """The answer of npm; an error has no `vulnerabilities`."""
    if "vulnerabilities" not in answer:
        return Audit("npm packages", 0, 0, ())
    weaknesses = tuple(
        f"{name} {package['range']}: {package['severity']}" for name, package in answer["vulnerabilities"].items()
    )
    return Audit("npm packages", answer["metadata"]["dependencies"]["total"], 0, weaknesses)


def answer_of(command: list[str], folder: Path) -> dict[str, Any]:
    """The JSON object that a command prints; empty if it prints none."""
    done = subprocess.run(command, cwd=folder, check=False, capture_output=True, text=True)
    try:
        return json.loads(done.stdout)
    except ValueError:
        print(done.stderr.strip().rsplit("\n", 1)[-1], file=sys.stderr)
        return {}


def main() -> int:
    """Ask both services, and print what they say."""
    locks = [part for name in ("torch", "run", "dev") for part in ("--requirement", f"locks/{name}.txt")]
    pip_audit = str(Path(sys.executable).with_name("pip-audit"))
    options = ["--require-hashes", "--disable-pip", "--format=json", "--progress-spinner=off"]
    audits = (
        python_audit(answer_of([pip_audit, *options, *locks], ROOT)),
        npm_audit(answer_of(["npm", "audit", "--package-lock-only", "--json"], ROOT / "src/tinsmith/web")),
    )
    print(*audits, sep="\n")
    return int(any(audit.weaknesses for audit in audits))


if __name__ == "__main__":
    sys.exit(main())
