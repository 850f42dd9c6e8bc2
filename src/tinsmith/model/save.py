"""Write files of weights. A failed write leaves no partial file."""

from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tinsmith.core.errors import ArtifactError
from tinsmith.core.run_dir import copy_file


def save_weights(weights: dict[str, Any], path: Path) -> None:
    """Write named tensors to the safetensors file `path`, readable for everyone.

    Raises:
        ArtifactError: the file cannot be written, for example on a full disk.
    """
    from safetensors.torch import save_file

    size_bytes = sum(weight.numel() * weight.element_size() for weight in weights.values())
    with _whole_file(path, size_bytes):
        save_file(weights, path, metadata={"format": "pt"})
        path.chmod(0o644)  # safetensors writes 0600, which a web server of another user could not read


def copy_weights(source: Path, target: Path) -> None:
    """Copy a file of weights.

    Raises:
        ArtifactError: the file cannot be written.
    """
    with _whole_file(target, source.stat().st_size):
        copy_file(source, target)


@contextmanager
def _whole_file(path: Path, size_bytes: int) -> Generator[None]:
    from safetensors import SafetensorError

    try:
        yield
    # safetensors raises its own error on a full disk.
    except (SafetensorError, OSError) as error:
        path.unlink(missing_ok=True)
        raise ArtifactError(
            f"{path}: cannot be written ({error})",
            f"It needs {size_bytes / 1e6:,.1f} MB. Free some space, or choose another --runs folder, and run the same "
            "command again.",
        ) from error
