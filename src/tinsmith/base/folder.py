"""Convert any Transformers folder to the clean form that every later stage reads."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tinsmith.base.model_json import INVALID, check_config, read_object
from tinsmith.base.tokenizer import PlacedTokenizer, place_tokenizer
from tinsmith.base.weights import PlacedWeights, place_weights
from tinsmith.core.errors import BaseModelError
from tinsmith.core.run_dir import write_json
from tinsmith.model.families import ARCHITECTURES, decoder_of
from tinsmith.model.load import load_model_config

_CODE_KEYS = ("auto_map", "custom_pipelines")
_LOCAL_KEYS = ("quantization_config", "transformers_version", "torch_dtype", *_CODE_KEYS)
"""Keys of `config.json` that refer to other files or software. Dropped, like keys that start with `_`."""


@dataclass(frozen=True, slots=True)
class CleanModel:
    """Contents of the clean folder."""

    config: Any
    """The Transformers configuration."""
    weights: PlacedWeights
    tokenizer: PlacedTokenizer


def place_model(folder: Path, where: str, model_dir: Path, may_link: bool) -> CleanModel:
    """Write the clean form of `folder` into `model_dir`. Pickles and Python files are never read.

    Args:
        folder: A Transformers folder.
        where: Name of the model, for messages.
        model_dir: Created here.
        may_link: Whether unchanged weights may be hard links to the original.

    Raises:
        ArtifactError: the disk is full.
        BaseModelError: not a model folder, a model with its own code, or an unsupported model.
    """
    if not (folder / "config.json").is_file():
        raise BaseModelError(
            f"{where}: not a model folder: no config.json",
            "Expected config.json, tokenizer.json and .safetensors weights, as written by save_pretrained.",
        )
    tree = read_object(folder / "config.json", where)
    _refuse_code(folder, where)
    check_config(tree, where)
    config = _load_config(folder, where, tree.get("model_type"))
    model_dir.mkdir()
    tree = {key: value for key, value in config.to_dict().items() if not key.startswith("_") and key not in _LOCAL_KEYS}
    write_json(model_dir / "config.json", tree | {"dtype": "bfloat16"})
    tokenizer = place_tokenizer(folder, where, config, model_dir)
    weights = place_weights(folder, where, config, model_dir, may_link)
    _write_generation_config(tokenizer, model_dir)
    return CleanModel(config, weights, tokenizer)


def _refuse_code(folder: Path, where: str) -> None:
    """Refuse a configuration that refers to Python files. The files themselves are never opened."""
    for name in ("config.json", "tokenizer_config.json"):
        path = folder / name
        keys = [key for key in _CODE_KEYS if path.is_file() and read_object(path, where).get(key)]
        if keys:
            raise BaseModelError(
                f"{where}/{name}: {keys[0]} refers to Python code that comes with the model",
                "tinsmith never runs a model's own code. Choose a model of a supported architecture without it.",
            )


def _load_config(folder: Path, where: str, model_type: Any) -> Any:
    from huggingface_hub.errors import StrictDataclassError

    try:
        config = load_model_config(folder)
        decoder_of(config)
        return config
    except BaseModelError as error:
        raise BaseModelError(f"{where}: {error.message}", error.hint) from error
    except (*INVALID, StrictDataclassError) as error:
        problem = "invalid values" if model_type in ARCHITECTURES else f"unsupported architecture {model_type!r}"
        raise BaseModelError(
            f"{where}/config.json: {problem} ({' '.join(str(error).split())[:300]})",
            f"Supported: {', '.join(map(repr, ARCHITECTURES))}, with the model's original config.json.",
        ) from error


def _write_generation_config(tokenizer: PlacedTokenizer, model_dir: Path) -> None:
    """List every end token, so that no runtime generates past the end of a turn. Sampling settings are left out."""
    inner = tokenizer.chat.tokenizer
    ids = {
        "bos_token_id": inner.bos_token_id,
        "eos_token_id": list(tokenizer.chat.end_ids),
        "pad_token_id": inner.pad_token_id,
    }
    write_json(model_dir / "generation_config.json", {key: value for key, value in ids.items() if value is not None})
