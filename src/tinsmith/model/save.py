"""Write safetensors files, whole or not at all."""

from pathlib import Path
from typing import Any

from tinsmith.core.errors import ArtifactError


def save_weights(weights: dict[str, Any], path: Path) -> None:
    """Write named tensors to the safetensors file `path`, readable for everyone.

    Raises:
        ArtifactError: the disk is full, or the file cannot be written for another reason; nothing is left of it.
    """
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    try:
        save_file(weights, path, metadata={"format": "pt"})
        path.chmod(0o644)  # safetensors writes 0600, which a web server of another user could not read
    except (SafetensorError, OSError) as error:
        # The library reports a full disk as an error of its own, as if the tensors were at fault.
        path.unlink(missing_ok=True)
        size_bytes = sum(weight.numel() * weight.element_size() for weight in weights.values())
        raise ArtifactError(
            f"{path}: cannot be written ({error})",
            f"It needs {size_bytes / 1e6:,.0f} MB: free some space, or choose another --runs folder, and run the same "
            "command again.",
        ) from error
