"""Numbers of the base stage."""

from tinsmith.derive.files import Files
from tinsmith.derive.inventory import INVENTORY_FILE, file_sizes, tensor_sizes
from tinsmith.derive.rules import Derived, Rule

_RAW = f"base/{INVENTORY_FILE}"


def parameters(files: Files) -> Derived:
    """Elements of all tensors in the model's safetensors files; a tied head is stored and counted once."""
    sizes = tensor_sizes(files, "base")
    return Derived(sum(sizes), "count", len(sizes), "tensors")


def files_bytes(files: Files) -> Derived:
    """Bytes of all files of the model."""
    sizes = file_sizes(files, "base")
    return Derived(sum(sizes.values()), "bytes", len(sizes), "files")


RULES = (Rule("base.parameters", _RAW, parameters), Rule("base.files_bytes", _RAW, files_bytes))
