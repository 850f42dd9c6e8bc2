"""`tinsmith doctor`: what this machine can do for tinsmith, and how to install what is missing."""

import importlib.metadata
import importlib.util
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass

from tinsmith.commands.demo import DATA_PACKAGE, INSTALL_HINT
from tinsmith.commands.terminal import say, show
from tinsmith.core.errors import UserError

_DEMO_DISK_BYTES = 5e9


@dataclass(frozen=True, slots=True)
class Finding:
    """Whether this machine has one thing that tinsmith uses."""

    what: str
    is_ok: bool
    state: str
    remedy: str = ""
    """What to do if it is missing."""


def doctor() -> None:
    """Print every finding, and how to install what is missing."""
    missing = 0
    for finding in findings():
        show(f"{'ok     ' if finding.is_ok else 'missing'} {finding.what}: {finding.state}")
        if not finding.is_ok:
            missing += 1
            show(f"        -> {finding.remedy}")
    say("Next: tinsmith demo" if not missing else f"{missing} thing(s) missing, see above")


def findings() -> Iterator[Finding]:
    """The findings in the order in which they are printed: Python and hardware first, then what is installed."""
    yield Finding("Python", sys.version_info >= (3, 11), sys.version.split()[0], "Install Python 3.11 or newer.")
    yield _memory()
    yield _disk()
    yield _device()
    yield _unsloth()
    yield _browser()
    yield _runtime()
    yield _demo_data()


def _memory() -> Finding:
    from tinsmith.core.device import memory_limit_bytes

    total = memory_limit_bytes()
    return Finding("memory", total > 7e9, f"{total / 1e9:.0f} GB", "The demo needs 8 GB.")


def _disk() -> Finding:
    free = shutil.disk_usage(".").free
    return Finding("free disk here", free > _DEMO_DISK_BYTES, f"{free / 1e9:.0f} GB", "The demo needs 5 GB.")


def _device() -> Finding:
    from tinsmith.core.device import choose_device

    device = choose_device()
    return Finding("training device", True, f"{device.device}, {device.reason}")


def _unsloth() -> Finding:
    import torch

    if not torch.cuda.is_available():
        return Finding("Unsloth", True, "not needed: no CUDA device; Transformers + PEFT train on the CPU")
    if importlib.util.find_spec("unsloth") is None:
        return Finding("Unsloth", True, "not installed; Transformers + PEFT train on the GPU")
    return Finding("Unsloth", True, "installed; tested before it is used")


def _browser() -> Finding:
    """Start Chromium instead of only looking for it: an installed program may lack a library or a permission."""
    from tinsmith.browser.chromium import Browser

    try:
        with Browser() as browser:
            return Finding("Chromium", True, browser.version)
    except UserError as error:
        return Finding("Chromium", False, error.message, error.hint)


def _runtime() -> Finding:
    from tinsmith.browser.download import is_reachable, registry_address, without_credentials
    from tinsmith.browser.runtime import missing_packages, runtime_packages

    try:
        missing = missing_packages()
        if not missing:
            pins = ", ".join(package.pin for package in runtime_packages())
            return Finding("browser runtime", True, pins)
        registry = without_credentials(registry_address(missing[0].name))
        if all(is_reachable(package.url) for package in missing):
            return Finding(
                "browser runtime",
                True,
                f"not fetched yet; tinsmith setup, or the first use, fetches it from {registry}",
            )
    except UserError as error:
        return Finding("browser runtime", False, error.message, error.hint)
    state = f"not fetched yet, and {registry} does not answer or does not have it"
    remedy = "Check the network, or copy the archives to this machine: tinsmith setup --help"
    return Finding("browser runtime", False, state, remedy)


def _demo_data() -> Finding:
    if importlib.util.find_spec(DATA_PACKAGE) is None:
        return Finding("demo data", False, "not installed; only the demo needs it", INSTALL_HINT)
    return Finding("demo data", True, f"{DATA_PACKAGE} {importlib.metadata.version(DATA_PACKAGE)}")
