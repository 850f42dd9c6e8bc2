"""A Transformers folder from anywhere -> the clean one every later stage reads."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tinsmith.base.tokenizer import PlacedTokenizer, place_tokenizer
from tinsmith.base.weights import PlacedWeights, place_weights
from tinsmith.core.errors import BaseModelError
from tinsmith.core.run_dir import read_json, write_json
from tinsmith.model.families import decoder_of
from tinsmith.model.load import load_model_config

_CODE_KEYS = ("auto_map", "custom_pipelines")
_LOCAL_KEYS = ("quantization_config", "transformers_version", "torch_dtype", *_CODE_KEYS)
"""Keys of `config.json` that describe files or software elsewhere; dropped, as are those that start with `_`."""


@dataclass(frozen=True, slots=True)
class CleanModel:
    """What is in the clean folder."""

    config: Any
    """The Transformers configuration."""
    weights: PlacedWeights
    tokenizer: PlacedTokenizer


def place_model(folder: Path, model_dir: Path, may_link: bool) -> CleanModel:
    """Write the clean form of `folder` into `model_dir`; only safetensors and JSON of it are read.

    Args:
        folder: A Transformers folder.
        model_dir: Created here.
        may_link: Whether untouched weights may share disk with the original.

    Raises:
        BaseModelError: not a model folder, one that brings code, or a model that is not supported.
    """
    if not (folder / "config.json").is_file():
        raise BaseModelError(
            f"{folder.name}: not a model folder: no config.json",
            "Expected config.json, tokenizer.json and .safetensors weights, as written by save_pretrained.",
        )
    _refuse_code(folder)
    config = _load_config(folder)
    decoder_of(config)
    model_dir.mkdir()
    tree = {key: value for key, value in config.to_dict().items() if not key.startswith("_") and key not in _LOCAL_KEYS}
    write_json(model_dir / "config.json", tree | {"dtype": "bfloat16"})
    tokenizer = place_tokenizer(folder, config, model_dir)
    weights = place_weights(folder, config, model_dir, may_link)
    _write_generation_config(tokenizer, model_dir)
    return CleanModel(config, weights, tokenizer)


def _refuse_code(folder: Path) -> None:
    """Python files that merely lie there are never opened; a configuration that names them is refused."""
    for name in ("config.json", "tokenizer_config.json"):
        path = folder / name
        found = [key for key in _CODE_KEYS if path.is_file() and read_json(path).get(key)]
        if found:
            raise BaseModelError(
                f"{folder.name}/{name}: {found[0]} asks to run Python code that comes with the model",
                "tinsmith never runs a model's own code. Choose a model of a supported architecture without it.",
            )


def _load_config(folder: Path) -> Any:
    try:
        return load_model_config(folder)
    except (ValueError, KeyError, TypeError, OSError) as error:
        model_type = read_json(folder / "config.json").get("model_type")
        raise BaseModelError(
            f"{folder.name}/config.json: unsupported architecture {model_type!r} ({str(error).splitlines()[0]})",
            "Supported: 'llama' and 'gemma3_text'.",
        ) from error


def _write_generation_config(tokenizer: PlacedTokenizer, model_dir: Path) -> None:
    """Every end token, so that no runtime runs past the end of a turn; sampling is left to whoever generates."""
    inner = tokenizer.chat.tokenizer
    ids = {
        "bos_token_id": inner.bos_token_id,
        "eos_token_id": list(tokenizer.chat.end_ids),
        "pad_token_id": inner.pad_token_id,
    }
    write_json(model_dir / "generation_config.json", {key: value for key, value in ids.items() if value is not None})
