"""Check the safetensors of a model folder against its architecture, tensor by tensor, and place them as bf16."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tinsmith.base.model_json import INVALID, read_object
from tinsmith.core.errors import BaseModelError, listing
from tinsmith.core.file_kinds import is_pickle
from tinsmith.core.run_dir import link_or_copy, write_json
from tinsmith.model.save import copy_weights, save_weights

_FLOATS = ("BF16", "F16", "F32")
_BY_CONTENT = " (a pickle by its content)"
_PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".pkl", _BY_CONTENT)
_MAX_HEADER_BYTES = 1 << 22
"""Longest header; it has 100 bytes for each tensor, of which models have at most a few thousand."""


@dataclass(frozen=True, slots=True)
class Tensor:
    """One entry of a safetensors header."""

    shape: tuple[int, ...]
    dtype: str
    file: str


@dataclass(frozen=True, slots=True)
class PlacedWeights:
    """The weights as written."""

    parameters: int
    """Unique parameters; a tied head is counted once."""
    tensors: int
    stored_as: str
    """Data types in the original files, such as `BF16` or `F32`."""


def only_pickles(where: str, names: Sequence[str]) -> BaseModelError:
    """The error for a model without safetensors. Its message lists the other weight files."""
    pickles = [name for name in names if name.endswith(_PICKLES)]
    if pickles:
        return BaseModelError(
            f"{where}: weights only as {', '.join(pickles[:3])}; such files can run code when opened",
            "Use a revision with .safetensors, or convert it where you trust it: model.save_pretrained(folder)",
        )
    if any(Path(name).name == "adapter_model.safetensors" for name in names):
        return BaseModelError(f"{where}: holds an adapter, not a model", "Merge it into its base first.")
    return BaseModelError(f"{where}: not a model folder: no .safetensors weights", "Expected model.safetensors.")


def weight_files(folder: Path, where: str) -> list[str]:
    """Names of the model's safetensors: those in its index, else `model.safetensors`.

    Raises:
        BaseModelError: there are none, or one named by the index is missing.
    """
    index = folder / "model.safetensors.index.json"
    if index.is_file():
        weight_map = read_object(index, where).get("weight_map")
        values: list[Any] = list(weight_map.values()) if isinstance(weight_map, dict) else []
        unusual = [name for name in values if not _is_weights_name(name)][:5]
        names: list[str] = [] if unusual else sorted(set(values))
        if unusual or not names:
            raise BaseModelError(
                f"{where}/{index.name}: expected names of .safetensors files, found {unusual or 'none'}",
                "Download the model again.",
            )
    elif (folder / "model.safetensors").is_file():
        names = ["model.safetensors"]
    else:
        raise only_pickles(where, [path.name for path in sorted(folder.iterdir())])
    missing = [name for name in names if not (folder / name).is_file()]
    if missing:
        raise BaseModelError(f"{where}: missing {', '.join(missing)}", "Download the model completely.")
    return names


def _is_weights_name(name: Any) -> bool:
    return isinstance(name, str) and Path(name).name == name and name.endswith(".safetensors")


def place_weights(folder: Path, where: str, config: Any, model_dir: Path, may_link: bool) -> PlacedWeights:
    """Write the weights of `folder` to `model_dir` as bf16. Files that are already bf16 stay unchanged.

    Args:
        folder: A Transformers folder.
        where: Name of the model, for messages.
        config: Its Transformers configuration.
        model_dir: Where to write.
        may_link: Whether an unchanged file may be a hard link to the original.

    Raises:
        ArtifactError: the disk is full.
        BaseModelError: no safetensors, a damaged or quantized file, or tensors that do not fit the architecture.
    """
    names = weight_files(folder, where)
    headers = {name: _header(folder / name, where) for name in names}
    tensors = {key: tensor for header in headers.values() for key, tensor in header.items()}
    _check_dtypes(where, tensors)
    _check_architecture(where, config, tensors)
    for name in names:
        target = model_dir / name
        if all(tensor.dtype == "BF16" for tensor in headers[name].values()):
            _place(folder / name, target, may_link)
        else:
            _cast(folder / name, target)
    if names != ["model.safetensors"]:
        _write_index(headers, model_dir)
    return PlacedWeights(
        parameters=_unique_parameters(config, tensors),
        tensors=len(tensors),
        stored_as=", ".join(sorted({tensor.dtype for tensor in tensors.values()})),
    )


def _header(path: Path, where: str) -> dict[str, Tensor]:
    from safetensors import SafetensorError, safe_open

    _check_header_size(path, where)
    try:
        with safe_open(path, framework="pt") as file:
            slices = {key: file.get_slice(key) for key in file.keys()}
            return {key: Tensor(tuple(part.get_shape()), part.get_dtype(), path.name) for key, part in slices.items()}
    except SafetensorError as error:
        raise BaseModelError(
            f"{where}/{path.name}: not a complete safetensors file ({error})", "Download it again."
        ) from error


def _check_header_size(path: Path, where: str) -> None:
    """Refuse a header for which the library would take much memory, and files of another kind by their first bytes."""
    with path.open("rb") as file:
        start = file.read(9)
    if start[8:] != b"{":
        if is_pickle(path):
            raise only_pickles(where, [f"{path.name}{_BY_CONTENT}"])
        raise BaseModelError(f"{where}/{path.name}: not a complete safetensors file (no header)", "Download it again.")
    header_bytes = int.from_bytes(start[:8], "little")
    if header_bytes > _MAX_HEADER_BYTES:
        raise BaseModelError(
            f"{where}/{path.name}: its header has {header_bytes} bytes, more than {_MAX_HEADER_BYTES}",
            "Download it again, or choose another model.",
        )


def _check_dtypes(where: str, tensors: dict[str, Tensor]) -> None:
    other = sorted({tensor.dtype for tensor in tensors.values()} - set(_FLOATS))
    if other:
        raise BaseModelError(
            f"{where}: weights stored as {', '.join(other)}; expected {', '.join(_FLOATS)}",
            "Start from the model before it was quantized: tinsmith quantizes after fine-tuning.",
        )


def _check_architecture(where: str, config: Any, tensors: dict[str, Tensor]) -> None:
    """Refuse missing, unknown or misshapen weights. Transformers would replace them with random ones."""
    try:
        expected = _expected_shapes(config)
    except INVALID as error:
        raise BaseModelError(
            f"{where}/config.json: no model can have these sizes ({' '.join(str(error).split())[:300]})",
            "Weights and config.json must come from the same model.",
        ) from error
    tied = {"lm_head.weight"} if config.tie_word_embeddings else set()
    problems = []
    for name, shape in expected.items():
        if name not in tensors:
            if name not in tied:
                problems.append(f"{name}: missing")
        elif tensors[name].shape != shape:
            problems.append(f"{name}: shape {list(tensors[name].shape)}, config.json says {list(shape)}")
    for name in tensors:
        # Older Llama files also contain RoPE frequencies, which the model computes from its configuration.
        if name not in expected and not name.endswith("rotary_emb.inv_freq"):
            problems.append(f"{name}: not part of a {config.model_type} model")
    if problems:
        raise BaseModelError(
            f"{where}: {len(problems)} tensor(s) do not fit config.json\n{listing(problems, shown=5)}",
            "Weights and config.json must come from the same model.",
        )


def _expected_shapes(config: Any) -> dict[str, tuple[int, ...]]:
    import torch
    from transformers import AutoModelForCausalLM

    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config, trust_remote_code=False)
    return {name: tuple(weight.shape) for name, weight in model.state_dict().items()}


def _unique_parameters(config: Any, tensors: dict[str, Tensor]) -> int:
    skipped = {"lm_head.weight"} if config.tie_word_embeddings else set()
    return sum(
        math.prod(tensor.shape)
        for name, tensor in tensors.items()
        if name not in skipped and not name.endswith("rotary_emb.inv_freq")
    )


def _place(source: Path, target: Path, may_link: bool) -> None:
    if may_link:
        link_or_copy(source.resolve(), target)  # the Hub's cache holds symbolic links
    else:
        copy_weights(source, target)


def _cast(source: Path, target: Path) -> None:
    import torch
    from safetensors.torch import load_file

    save_weights({key: weight.to(torch.bfloat16) for key, weight in load_file(source).items()}, target)


def _write_index(headers: dict[str, dict[str, Tensor]], model_dir: Path) -> None:
    tensors = {key: tensor for header in headers.values() for key, tensor in header.items()}
    total = sum(2 * math.prod(tensor.shape) for tensor in tensors.values())
    write_json(
        model_dir / "model.safetensors.index.json",
        {
            "metadata": {"total_size": total},
            "weight_map": {key: tensor.file for key, tensor in sorted(tensors.items())},
        },
    )
