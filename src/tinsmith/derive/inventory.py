"""Sizes of the files in a folder, and shapes of the tensors in its safetensors files: the raw file of sizes."""

import json
import math
from pathlib import Path
from typing import Any

from tinsmith.core.run_dir import files_below, write_json
from tinsmith.derive.files import Files

INVENTORY_FILE = "inventory.json"
_HEADER_LENGTH_BYTES = 8


def inventory(folder: Path) -> dict[str, Any]:
    """`files` (relative POSIX path -> bytes) and `tensors` (name -> shape, of all safetensors files)."""
    files = files_below(folder)
    tensors: dict[str, list[int]] = {}
    for path in files:
        if path.suffix == ".safetensors":
            tensors |= _shapes(path)
    sizes = {path.relative_to(folder).as_posix(): path.stat().st_size for path in files}
    return {"files": sizes, "tensors": dict(sorted(tensors.items()))}


def write_inventory(folder: Path, out_dir: Path) -> None:
    """Write the inventory of `folder` to `out_dir/inventory.json`."""
    write_json(out_dir / INVENTORY_FILE, inventory(folder))


def file_sizes(files: Files, stage: str) -> dict[str, int]:
    """Bytes of each file in the stage's inventory."""
    return files.json(f"{stage}/{INVENTORY_FILE}")["files"]


def tensor_sizes(files: Files, stage: str) -> list[int]:
    """Number of elements of each tensor in the stage's inventory."""
    return [math.prod(shape) for shape in files.json(f"{stage}/{INVENTORY_FILE}")["tensors"].values()]


def _shapes(path: Path) -> dict[str, list[int]]:
    """Shapes in the header of a safetensors file: its length in 8 bytes, little-endian, then JSON."""
    with path.open("rb") as file:
        header = json.loads(file.read(int.from_bytes(file.read(_HEADER_LENGTH_BYTES), "little")))
    return {name: entry["shape"] for name, entry in header.items() if name != "__metadata__"}
