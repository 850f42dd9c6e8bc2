"""What a measurement was taken on: hardware, operating system and package versions, without names of people or hosts."""

import importlib.metadata
import os
import platform
import subprocess
from pathlib import Path
from typing import Any

from tinsmith import __version__
from tinsmith.run_dir import combined_sha256, write_json

_PACKAGES = ("torch", "transformers", "peft", "bitsandbytes", "onnxruntime", "onnx-ir", "numpy", "tokenizers",
             "safetensors", "huggingface_hub", "gguf", "unsloth")


def environment() -> dict[str, Any]:
    """The machine and software this process runs on, as plain values."""
    return {
        "tinsmith": __version__,
        "tinsmith_commit": _commit(),
        "python": platform.python_version(),
        "os": f"{platform.system()} {platform.release()}",
        "machine": platform.machine(),
        "cpu": cpu_name(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "memory_bytes": _memory_bytes(),
        "gpu": gpu_name(),
        "packages": {name: version for name in _PACKAGES if (version := _version(name))},
    }


def record_environment(folder: Path) -> str:
    """Write `environments/<id>.json` below `folder` if it is new, and return the id."""
    found = environment()
    identifier = combined_sha256(found)[:12]
    path = folder / f"{identifier}.json"
    if not path.exists():
        write_json(path, found)
    return identifier


def cpu_name() -> str:
    """The processor's model name as the operating system gives it."""
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text(errors="replace").splitlines():
            if line.startswith(("model name", "Model")):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def gpu_name() -> str | None:
    """Name of the first CUDA device, or None without one."""
    import torch

    return torch.cuda.get_device_name(0) if torch.cuda.is_available() else None


def _memory_bytes() -> int:
    import psutil

    return psutil.virtual_memory().total


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def _commit() -> str | None:
    """Commit of the source checkout, with `+changes` if files differ from it; None for an installed package."""
    root = Path(__file__).resolve().parents[2]
    if not (root / ".git").exists():
        return None
    try:
        commit = subprocess.run(["git", "-C", root, "rev-parse", "HEAD"], capture_output=True, text=True, check=True)
        changed = subprocess.run(["git", "-C", root, "status", "--porcelain", "--untracked-files=no"],
                                 capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return commit.stdout.strip() + ("+changes" if changed.stdout.strip() else "")
