"""Load Transformers models and configurations from local folders, without running code from them."""

from pathlib import Path
from typing import Any

LOCAL_ONLY: dict[str, Any] = {"local_files_only": True, "trust_remote_code": False}
"""Options of every `from_pretrained` call."""


def load_model_config(model_dir: Path) -> Any:
    """The Transformers configuration in `model_dir`."""
    from transformers import AutoConfig

    return AutoConfig.from_pretrained(model_dir, **LOCAL_ONLY)


def load_model(model_dir: Path, dtype: Any, device: Any = "cpu") -> Any:
    """The causal language model in `model_dir`, in inference mode, from safetensors files only.

    Args:
        dtype: `torch.dtype` of its weights and arithmetic.
        device: Device to load it to.
    """
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(model_dir, dtype=dtype, use_safetensors=True, **LOCAL_ONLY)
    return model.to(device).eval()
