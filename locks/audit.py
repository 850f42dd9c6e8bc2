"""Look for known weaknesses of the locked packages: pip-audit for Python's, npm for the browser runtime's.

Both ask services on the network. One that gives no answer is named loudly and fails nothing: it says nothing about the
packages. A weakness fails.
"""

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]


def python_weaknesses() -> list[str] | None:
    """A line for each weakness; None without an answer."""
    program = str(Path(sys.executable).with_name("pip-audit"))
    locks = [part for name in ("torch", "run", "dev") for part in ("--requirement", f"locks/{name}.txt")]
    options = ["--require-hashes", "--disable-pip", "--format=json", "--progress-spinner=off"]
    done = subprocess.run([program, *options, *locks], cwd=ROOT, check=False, capture_output=True, text=True)
    try:
        packages = json.loads(done.stdout)["dependencies"]
    except (ValueError, KeyError):
        print(done.stderr[-1000:], file=sys.stderr)
        return None
    return [
        f"{package['name']} {package.get('version', '')}: {weakness['id']}"
        for package in packages
        for weakness in package.get("vulns", ())
    ]


def npm_weaknesses() -> list[str] | None:
    """A line for each package with a weakness; None without an answer."""
    command = ["npm", "audit", "--package-lock-only", "--json"]
    done = subprocess.run(command, cwd=ROOT / "src/tinsmith/web", check=False, capture_output=True, text=True)
    try:
        packages = json.loads(done.stdout)["vulnerabilities"]
    except (ValueError, KeyError):
        print(done.stdout[-500:], done.stderr[-500:], file=sys.stderr)
        return None
    return [f"{name} {package['range']}: {package['severity']}" for name, package in packages.items()]


def main() -> int:
    """Ask both, and print what they say."""
    failed = False
    for name, ask in {"Python packages": python_weaknesses, "npm packages": npm_weaknesses}.items():
        weaknesses = ask()
        if weaknesses is None:
            print(f"WARNING: {name} WERE NOT AUDITED: the service gave no answer")
        else:
            print(f"{name}: {len(weaknesses)} known weaknesses", *weaknesses, sep="\n  ")
            failed = failed or bool(weaknesses)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
