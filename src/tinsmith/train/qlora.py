"""Builds the model to train: a frozen base in NF4, with LoRA adapters on every linear layer of the decoder."""

import gc
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from tinsmith.core.config import TrainConfig
from tinsmith.core.device import Device, device_memory_bytes, return_freed_memory
from tinsmith.core.run_dir import entries, write_json
from tinsmith.model.families import decoder_of
from tinsmith.model.load import load_model
from tinsmith.model.save import save_weights

TARGET_MODULES = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")

_UNPACKING_SHARE = 0.05
"""If unpacking a weight takes a larger share of its product's time than this, weights stay unpacked in memory."""

_TRIAL_ROWS = 1024

_CACHE_SHARE = 0.25
"""Maximum share of memory for unpacked weights. Activations and the optimizer need the rest."""


@dataclass(frozen=True, slots=True)
class Trainable:
    """A model ready to train, with its description."""

    model: Any
    """A PEFT model. Only its adapters require gradients."""
    backend: str
    method: str
    """`QLoRA` if the base's weights have 4-bit values, else `LoRA`."""
    quantization: str
    """How the frozen base is stored, as a sentence."""
    framework: str
    """The packages in use, with versions."""


def load_qlora(model_dir: Path, config: TrainConfig, compute: Device, seed: int) -> Trainable:
    """Load the base in `model_dir` with fresh adapters drawn from `seed`, on the device of `compute`."""
    _quiet_bitsandbytes()
    import bitsandbytes
    import peft
    import transformers

    framework = f"Transformers {transformers.__version__} + PEFT {peft.__version__}"
    base = load_base(model_dir, compute)
    if config.quantization == "none":
        method, sentence = "LoRA", f"none; the frozen base is kept in {_dtype_name(compute)}"
    else:
        sentence = _quantize(base, model_dir, config, compute)
        method, framework = "QLoRA", f"{framework} + bitsandbytes {bitsandbytes.__version__}"
    base.requires_grad_(False)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = peft.get_peft_model(base, _lora_config(config))
    model.train()
    gc.collect()
    return_freed_memory()
    return Trainable(model, "peft", method, sentence, framework)


def load_base(model_dir: Path, compute: Device) -> Any:
    """The causal language model in `model_dir` in the number format and on the device of `compute`."""
    model = load_model(model_dir, compute.dtype, compute.device)
    decoder_of(model.config)
    return model


def _lora_config(config: TrainConfig) -> Any:
    from peft import LoraConfig

    return LoraConfig(
        r=config.lora_rank,
        lora_alpha=config.lora_alpha,
        lora_dropout=0.0,
        bias="none",
        task_type="CAUSAL_LM",
        target_modules=list(TARGET_MODULES),
    )


def _quantize(base: Any, model_dir: Path, config: TrainConfig, compute: Device) -> str:
    """Quantize the decoder's linear layers to NF4, and return a sentence on how they are stored and why."""
    storage, reason = config.nf4_storage, f"train.nf4_storage is {config.nf4_storage}"
    if storage == "auto":
        storage, reason = _choose_storage(base, compute)
    if storage == "unpacked":
        round_to_nf4(base)
        return (
            f"NF4 with double quantization (bitsandbytes), unpacked once to {_dtype_name(compute)}: the weights have "
            f"4-bit values, but their copy in memory is not packed, because {reason}"
        )
    pack_nf4(base)
    _share_files(base, model_dir)
    return (
        "NF4 with double quantization (bitsandbytes), packed in memory and unpacked to "
        f"{_dtype_name(compute)} for each product, because {reason}"
    )


def _choose_storage(base: Any, compute: Device) -> tuple[str, str]:
    """`packed` or `unpacked`, and why. Both have the same values, but whole runs have differed by rounding."""
    share = _unpacking_share(base, compute)
    if share <= _UNPACKING_SHARE:
        return "packed", f"unpacking takes {share:.1%} of the time of the products"
    size_bytes = sum(linear.weight.nbytes for linear in _linear_layers(base))
    if size_bytes > _CACHE_SHARE * device_memory_bytes(compute.device):
        return "packed", f"unpacked weights would take {size_bytes / 1e9:.1f} GB, more than a quarter of memory"
    return "unpacked", f"unpacking would take {share:.0%} of the time of the products"


def _unpacking_share(base: Any, compute: Device) -> float:
    """Time to unpack the largest layer, divided by the time of its product with 1,024 rows; medians of five."""
    from bitsandbytes import functional

    weight = max((linear.weight.data for linear in _linear_layers(base)), key=torch.Tensor.numel)
    packed, state = functional.quantize_4bit(weight, quant_type="nf4", compress_statistics=True)
    rows = torch.ones(_TRIAL_ROWS, weight.shape[1], dtype=weight.dtype, device=weight.device)

    def seconds(run: Callable[[], torch.Tensor]) -> float:
        durations = []
        for _ in range(6):
            started = time.perf_counter()
            run()
            if compute.device.type == "cuda":
                torch.cuda.synchronize()
            durations.append(time.perf_counter() - started)
        return sorted(durations[1:])[2]

    return seconds(lambda: functional.dequantize_4bit(packed, state)) / seconds(lambda: rows @ weight.T)


def _linear_layers(model: Any) -> list[torch.nn.Linear]:
    return [module for module in model.get_decoder().modules() if isinstance(module, torch.nn.Linear)]


def round_to_nf4(model: Any) -> None:
    """Replace the weights of all linear layers in the decoder with their NF4 values, in place.

    The values are those that bitsandbytes stores: blocks of 64 weights, with quantized scales. Products with these
    weights equal those of a packed 4-bit layer.
    """
    _quiet_bitsandbytes()
    from bitsandbytes import functional

    for linear in _linear_layers(model):
        packed, state = functional.quantize_4bit(linear.weight.data, quant_type="nf4", compress_statistics=True)
        linear.weight.data.copy_(functional.dequantize_4bit(packed, state))


def pack_nf4(model: Any) -> None:
    """Replace the weights of all linear layers in the decoder with packed NF4, each with its `quant_state`.

    They take half a byte a weight. Only `PackedDecoder` computes with such layers.
    """
    _quiet_bitsandbytes()
    from bitsandbytes import functional

    for linear in _linear_layers(model):
        packed, state = functional.quantize_4bit(linear.weight.data, quant_type="nf4", compress_statistics=True)
        weight: Any = torch.nn.Parameter(packed, requires_grad=False)
        weight.quant_state = state
        linear.weight = weight


def _share_files(model: Any, model_dir: Path) -> None:
    """Remap unpacked weights from their files, to free the pages that packing read.

    Unpacked weights stay in the file, as pages that the system can drop. But while any tensor refers to the first
    mapping of a file, the pages of the packed weights stay in memory too.
    """
    from safetensors import safe_open

    unpacked = {name: weight for name, weight in model.named_parameters() if weight.dtype != torch.uint8}
    for path in entries(model_dir, "*.safetensors"):
        with safe_open(path, "pt") as file:
            for name in unpacked.keys() & set(file.keys()):
                weight = unpacked[name]
                if weight.device.type == "cpu":
                    weight.data = file.get_tensor(name).to(weight.dtype)


def save_adapter(model: Any, weights: dict[str, torch.Tensor], base_id: str, folder: Path) -> None:
    """Write `adapter_config.json` and `adapter_model.safetensors` as PEFT loads them.

    Args:
        weights: Adapter weights under the model's parameter names.
        base_id: Public name of the base. Its local path means nothing on another machine.

    Raises:
        ArtifactError: the disk is full or not writable.
    """
    from peft import get_peft_model_state_dict

    folder.mkdir(parents=True, exist_ok=True)
    settings = model.peft_config["default"].to_dict()
    settings.update(base_model_name_or_path=base_id, inference_mode=True)
    write_json(folder / "adapter_config.json", {key: _jsonable(value) for key, value in settings.items()})
    tensors = get_peft_model_state_dict(model, state_dict=weights)
    save_weights({name: tensor.contiguous() for name, tensor in tensors.items()}, folder / "adapter_model.safetensors")


def _jsonable(value: Any) -> Any:
    return sorted(value) if isinstance(value, set) else value


def _dtype_name(compute: Device) -> str:
    return str(compute.dtype).removeprefix("torch.")


def _quiet_bitsandbytes() -> None:
    # On CPUs with bfloat16 instructions, bitsandbytes 0.50 warns on import that an optional inference kernel is not
    # installed. Training does not use it.
    logging.getLogger("bitsandbytes.backends.cpu.ops").setLevel(logging.ERROR)
