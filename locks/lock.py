"""Write the locks: every package with its version and the SHA-256 of each of its files; `make lock` runs this.

`constraints.txt` has the versions that people choose. uv finds what they need on Linux and macOS with each Python from
3.11 on, and asks the package index for the files' hashes.

- `torch-cpu.txt`: PyTorch's build for CPUs, where its hash is known; it is not on PyPI.
- `torch.txt`: PyPI's builds of PyTorch.
- `cuda.txt`: what PyPI's builds for Linux need besides.
- `run.txt`: everything else that tinsmith and its demo need.
- `dev.txt`: what tests and checks need besides.
"""

import re
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
ROOT = HERE.parent
CPU_BUILDS = {
    "torch==2.13.0": "6746dbcbeb526eb61330b76b41ff1b4eb848951103a892eeb080dfa2b264667b",  # Python 3.11, x86-64 Linux
}
"""PyTorch -> SHA-256 of its build for CPUs, which is not on PyPI."""
CUDA = re.compile(r"nvidia-|cuda-|triton\b")
EVERYWHERE = " ; sys_platform == 'darwin' or sys_platform == 'linux'"
"""What uv adds to every package because of `tool.uv.environments`."""
ENTRY = re.compile(r"^(\S+?)(\[.*?\])?==\S+.*?(?=^\S|\Z)", re.MULTILINE | re.DOTALL)


def resolved(*extras: str) -> dict[str, str]:
    """Name -> lines of its lock, for tinsmith with these extras."""
    command = [
        str(Path(sys.executable).with_name("uv")),
        "pip",
        "compile",
        "--universal",
        "--generate-hashes",
        "--quiet",
    ]
    command += [
        "--python-version",
        "3.11",
        "--no-header",
        "--no-annotate",
        "--no-emit-index-url",
        "--no-emit-find-links",
    ]
    command += ["--constraints", "constraints.txt", *(f"--extra={extra}" for extra in extras), "pyproject.toml"]
    lines = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    return {match[1]: match[0].replace(EVERYWHERE, "") for match in ENTRY.finditer(lines)}


def main() -> None:
    """Resolve, and write the four files."""
    run, every = resolved("demo"), resolved("demo", "dev")
    torch = run.pop("torch")
    pin = torch.split()[0]
    torch_cpu = f"{pin} \\\n    --hash=sha256:{CPU_BUILDS[pin]}\n"
    cuda = {name: lines for name, lines in run.items() if CUDA.match(name)}
    run = {name: lines for name, lines in run.items() if name not in cuda}
    dev = {name: lines for name, lines in every.items() if name not in run | cuda | {"torch": torch}}
    different = [package for package in run if every[package] != run[package]]
    assert not different, f"the versions of {different} depend on the extras"
    files = {"torch-cpu": {"torch": torch_cpu}, "torch": {"torch": torch}, "cuda": cuda, "run": run, "dev": dev}
    for name, entries in files.items():
        text = "# Written by `make lock`; do not edit.\n" + "".join(entries[package] for package in sorted(entries))
        (HERE / f"{name}.txt").write_text(text)
        print(f"locks/{name}.txt: {len(entries)} packages")


if __name__ == "__main__":
    main()
