"""`tinsmith doctor`: what this machine can do for tinsmith, and how to install what is missing."""

import importlib.util
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass

import click

from tinsmith.core.errors import MissingDependency


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing looked for."""

    what: str
    ok: bool
    found: str
    install: str = ""
    """What to type if it is missing."""


def doctor() -> None:
    """Print every finding, and how to install what is missing."""
    missing = 0
    for finding in findings():
        click.echo(f"{'ok     ' if finding.ok else 'missing'} {finding.what}: {finding.found}")
        if not finding.ok:
            missing += 1
            click.echo(f"        -> {finding.install}")
    click.echo("Next: tinsmith demo" if not missing else f"{missing} thing(s) missing, see above", err=True)


def findings() -> Iterator[Finding]:
    """Python, memory, training device, browser, browser runtime, Unsloth, and free disk, in that order."""
    yield Finding("Python", sys.version_info >= (3, 11), sys.version.split()[0], "install Python 3.11 or newer")
    yield _memory()
    yield _device()
    yield _browser()
    yield _runtime()
    yield _unsloth()
    free = shutil.disk_usage(".").free
    yield Finding("free disk here", free > 5e9, f"{free / 1e9:.0f} GB", "free at least 5 GB")


def _memory() -> Finding:
    from tinsmith.core.device import memory_limit_bytes

    total = memory_limit_bytes()
    return Finding("memory", total > 7e9, f"{total / 1e9:.0f} GB", "the demo needs 8 GB")


def _device() -> Finding:
    from tinsmith.core.device import choose_device

    chosen = choose_device()
    return Finding("training device", True, f"{chosen.device}, {chosen.reason}")


def _browser() -> Finding:
    from tinsmith.browser.chromium import find_browser

    try:
        path = find_browser()
    except MissingDependency as error:
        return Finding("Chromium", False, error.message, error.hint)
    version = subprocess.run([path, "--version"], capture_output=True, text=True, check=False).stdout.strip()
    return Finding("Chromium", True, version or str(path))


def _runtime() -> Finding:
    from tinsmith.browser.runtime import runtime_files

    try:
        found = runtime_files()
    except MissingDependency as error:
        return Finding("browser runtime", False, error.message, error.hint)
    return Finding("browser runtime", True, f"{len(found)} files of Transformers.js")


def _unsloth() -> Finding:
    import torch

    if not torch.cuda.is_available():
        return Finding("Unsloth", True, "not needed: no CUDA device; Transformers + PEFT train on the CPU")
    if importlib.util.find_spec("unsloth") is None:
        return Finding("Unsloth", True, "not installed; Transformers + PEFT train on the GPU")
    return Finding("Unsloth", True, "installed; probed before it is used")
