"""Checkpoints that are either complete or absent: written to a temporary folder, hashed, then renamed.

They contain only JSON and safetensors, so loading one runs no code from it.
"""

import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save

from tinsmith.core.errors import ArtifactError
from tinsmith.core.run_dir import entries, file_sha256
from tinsmith.core.stage_context import Say

_SUMS = "sha256.json"
_STATE = "state.json"
_MAX_CHECKPOINTS = 2
"""With an older one in reserve, a damaged checkpoint costs seconds of training, not all of it."""

Tensors = Mapping[str, torch.Tensor]


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A JSON object and named groups of tensors."""

    state: dict[str, Any]
    tensors: dict[str, dict[str, torch.Tensor]]


def save_checkpoint(root: Path, step: int, state: Mapping[str, Any], tensors: Mapping[str, Tensors]) -> Path:
    """Write a checkpoint below `root`, remove all but the two newest, and return its folder.

    Raises:
        ArtifactError: the disk is full or not writable. Earlier checkpoints stay as they were.
    """
    target = root / f"step-{step:08d}"
    temporary = root / f".writing-{step:08d}"
    try:
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir(parents=True)
        for name, group in tensors.items():
            _write(temporary / f"{name}.safetensors", save({key: value.contiguous() for key, value in group.items()}))
        _write(temporary / _STATE, json.dumps(dict(state), allow_nan=False).encode())
        sums = {path.name: file_sha256(path) for path in sorted(temporary.iterdir())}
        _write(temporary / _SUMS, json.dumps(sums, indent=1).encode())
        _sync_folder(temporary)
        if target.exists():
            shutil.rmtree(target)
        os.rename(temporary, target)
        _sync_folder(root)
    except OSError as error:
        shutil.rmtree(temporary, ignore_errors=True)
        raise ArtifactError(
            f"{target}: cannot write the training checkpoint: {error.strerror or error}",
            "Free some disk space and run the same command again; training continues from the previous checkpoint.",
        ) from error
    for old in _newest_first(root)[_MAX_CHECKPOINTS:]:
        shutil.rmtree(old)
    return target


def newest_checkpoint(root: Path, key: str, say: Say) -> Checkpoint | None:
    """The newest checkpoint below `root` whose hashes verify and whose state has `key`, or None.

    Args:
        key: Identifies the training that a checkpoint belongs to: `state["key"]`.
        say: Prints which checkpoints are skipped, and why.
    """
    for folder in _newest_first(root):
        problem = _problem(folder)
        if problem is None:
            state = json.loads((folder / _STATE).read_text(encoding="utf-8"))
            if state.get("key") == key:
                tensors = {path.stem: load_file(path) for path in entries(folder, "*.safetensors")}
                return Checkpoint(state, tensors)
            problem = "it belongs to other settings or data"
        say(f"skipping checkpoint {folder.name}: {problem}")
    return None


def remove_checkpoints(root: Path) -> None:
    """Remove every checkpoint below `root`, complete or not."""
    if root.exists():
        shutil.rmtree(root)


def _problem(folder: Path) -> str | None:
    sums_path = folder / _SUMS
    try:
        sums = json.loads(sums_path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        return f"its list of hashes cannot be read ({type(error).__name__})"
    if not isinstance(sums, dict) or _STATE not in sums:
        return "its list of hashes is incomplete"
    for name, expected in sums.items():
        path = folder / name
        if not path.is_file():
            return f"{name} is missing"
        if file_sha256(path) != expected:
            return f"{name} does not match its sha256"
    return None


def _newest_first(root: Path) -> list[Path]:
    return entries(root, "step-*")[::-1]


def _write(path: Path, content: bytes) -> None:
    with path.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _sync_folder(folder: Path) -> None:
    if os.name == "nt":  # Windows cannot open a folder to flush it
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
