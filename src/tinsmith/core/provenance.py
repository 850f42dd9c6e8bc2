"""Hardware, operating system and package versions behind a measurement, without names of people or hosts."""

import importlib.metadata
import platform
import subprocess
from pathlib import Path
from typing import Any

from tinsmith import __version__
from tinsmith.core.device import hardware, os_name
from tinsmith.core.run_dir import combined_sha256, write_json

_PACKAGES = (
    "torch",
    "transformers",
    "peft",
    "bitsandbytes",
    "onnxruntime",
    "onnx-ir",
    "numpy",
    "tokenizers",
    "safetensors",
    "huggingface_hub",
    "gguf",
    "unsloth",
)


def environment() -> dict[str, Any]:
    """The machine and software this process runs on, as plain values."""
    return {
        "tinsmith": __version__,
        "tinsmith_commit": _commit(),
        "python": platform.python_version(),
        "os": os_name(),
        "machine": platform.machine(),
        **hardware(),
        "packages": {name: version for name in _PACKAGES if (version := _version(name))},
    }


def record_environment(folder: Path) -> str:
    """Write the environment to `<id>.json` in `folder`, unless that file exists, and return the id."""
    description = environment()
    identifier = combined_sha256(description)[:12]
    path = folder / f"{identifier}.json"
    if not path.exists():
        write_json(path, description)
    return identifier


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def _commit() -> str | None:
    """Commit of the source checkout, with `+changes` if files differ from it; None for an installed package."""
    root = Path(__file__).resolve().parents[3]
    if not (root / ".git").exists():
        return None
    try:
        commit = subprocess.run(["git", "-C", root, "rev-parse", "HEAD"], capture_output=True, text=True, check=True)
        changed = subprocess.run(
            ["git", "-C", root, "status", "--porcelain", "--untracked-files=no"],
            capture_output=True,
            text=True,
            check=True,
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    return commit.stdout.strip() + ("+changes" if changed.stdout.strip() else "")
