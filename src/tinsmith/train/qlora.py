"""The model that is trained: a frozen base rounded to NF4, with LoRA adapters on every linear layer of the decoder."""

import gc
import logging
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from tinsmith.core.config import TrainConfig
from tinsmith.core.device import Device, device_memory_bytes, return_freed_memory
from tinsmith.model.families import decoder_of
from tinsmith.model.load import load_model

TARGET_MODULES = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")

_UNPACKING_SHARE = 0.05
"""Where unpacking a weight takes a larger share of its product's time than this, weights are kept unpacked."""

_TRIAL_ROWS = 1024

_CACHE_SHARE = 0.25
"""Unpacked weights may take this share of memory; the rest is for activations and the optimizer."""


@dataclass(frozen=True, slots=True)
class Trainable:
    """A model ready to train, and the words that say what it is."""

    model: Any
    """PEFT model; only adapters require gradients."""
    backend: str
    method: str
    """`QLoRA` if the base has 4-bit numerics, else `LoRA`."""
    quantization: str
    """How the frozen base is stored, as a sentence."""
    framework: str
    """Packages that ran, with versions."""


def load_qlora(model_dir: Path, config: TrainConfig, chosen: Device, seed: int) -> Trainable:
    """The base in `model_dir` with fresh adapters, drawn from `seed`, on the chosen device."""
    _quiet_bitsandbytes()
    import bitsandbytes
    import peft
    import transformers

    framework = f"Transformers {transformers.__version__} + PEFT {peft.__version__}"
    base = load_base(model_dir, chosen)
    if config.quantization == "none":
        method, sentence = "LoRA", f"none; the frozen base is kept in {_dtype_name(chosen)}"
    else:
        sentence = _quantize(base, model_dir, config, chosen)
        method, framework = "QLoRA", f"{framework} + bitsandbytes {bitsandbytes.__version__}"
    base.requires_grad_(False)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = peft.get_peft_model(base, _lora_config(config))
    model.train()
    gc.collect()
    return_freed_memory()
    return Trainable(model, "peft", method, sentence, framework)


def load_base(model_dir: Path, chosen: Device) -> Any:
    """The causal language model in `model_dir` in the chosen format on the chosen device."""
    model = load_model(model_dir, chosen.dtype, chosen.device)
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


def _quantize(base: Any, model_dir: Path, config: TrainConfig, chosen: Device) -> str:
    """Give the decoder's linear layers NF4 weights, and say in a sentence how they are kept and why."""
    storage, reason = config.nf4_storage, f"train.nf4_storage is {config.nf4_storage}"
    if storage == "auto":
        storage, reason = _choose_storage(base, chosen)
    if storage == "unpacked":
        round_to_nf4(base)
        return (
            f"NF4 with double quantization (bitsandbytes), unpacked once to {_dtype_name(chosen)}: the weights have "
            f"4-bit values, their copy in memory is not packed, because {reason}"
        )
    pack_nf4(base)
    _share_files(base, model_dir)
    return (
        f"NF4 with double quantization (bitsandbytes), packed in memory and unpacked to {_dtype_name(chosen)} for each "
        f"product, because {reason}"
    )


def _choose_storage(base: Any, chosen: Device) -> tuple[str, str]:
    """`packed` or `unpacked`, and why; both have the same values, so the choice changes no result."""
    share = _unpacking_share(base, chosen)
    if share <= _UNPACKING_SHARE:
        return "packed", f"unpacking takes {share:.1%} of the time of the products"
    size_bytes = sum(linear.weight.nbytes for linear in _linear_layers(base))
    if size_bytes > _CACHE_SHARE * device_memory_bytes(chosen.device):
        return "packed", f"unpacked weights would take {size_bytes / 1e9:.1f} GB, more than a quarter of memory"
    return "unpacked", f"unpacking would take {share:.0%} of the time of the products"


def _unpacking_share(base: Any, chosen: Device) -> float:
    """Time to unpack the largest layer over the time of its product with some rows; medians of five."""
    from bitsandbytes import functional

    weight = max((linear.weight.data for linear in _linear_layers(base)), key=torch.Tensor.numel)
    packed, state = functional.quantize_4bit(weight, quant_type="nf4", compress_statistics=True)
    rows = torch.ones(_TRIAL_ROWS, weight.shape[1], dtype=weight.dtype, device=weight.device)

    def seconds(run: Callable[[], torch.Tensor]) -> float:
        durations = []
        for _ in range(6):
            started = time.perf_counter()
            run()
            if chosen.device.type == "cuda":
                torch.cuda.synchronize()
            durations.append(time.perf_counter() - started)
        return sorted(durations[1:])[2]

    return seconds(lambda: functional.dequantize_4bit(packed, state)) / seconds(lambda: rows @ weight.T)


def _linear_layers(model: Any) -> list[torch.nn.Linear]:
    return [module for module in model.get_decoder().modules() if isinstance(module, torch.nn.Linear)]


def round_to_nf4(model: Any) -> None:
    """Replace the weights of all linear layers in the decoder by their NF4 values, in place.

    NF4 here is what bitsandbytes stores: blocks of 64 weights, scales quantized again. Products with these weights
    equal those of a packed 4-bit layer.
    """
    _quiet_bitsandbytes()
    from bitsandbytes import functional

    for linear in _linear_layers(model):
        packed, state = functional.quantize_4bit(linear.weight.data, quant_type="nf4", compress_statistics=True)
        linear.weight.data.copy_(functional.dequantize_4bit(packed, state))


def pack_nf4(model: Any) -> None:
    """Replace the weights of all linear layers in the decoder by packed NF4, with their `quant_state` beside them.

    Only `PackedDecoder` computes with such layers; they take half a byte for each weight.
    """
    _quiet_bitsandbytes()
    from bitsandbytes import functional

    for linear in _linear_layers(model):
        packed, state = functional.quantize_4bit(linear.weight.data, quant_type="nf4", compress_statistics=True)
        linear.weight = torch.nn.Parameter(packed, requires_grad=False)
        linear.weight.quant_state = state


def _share_files(model: Any, model_dir: Path) -> None:
    """Point the weights that were not packed at the files again, which frees what packing read of them.

    A weight that lies in a file as it is needed stays there, as pages the system can drop; but the first mapping of the
    file holds the packed weights' pages too, as long as any tensor refers to it.
    """
    from safetensors import safe_open

    unpacked = {name: weight for name, weight in model.named_parameters() if weight.dtype != torch.uint8}
    for path in sorted(model_dir.glob("*.safetensors")):
        with safe_open(path, "pt") as file:
            for name in unpacked.keys() & set(file.keys()):
                weight = unpacked[name]
                if weight.device.type == "cpu":
                    weight.data = file.get_tensor(name).to(weight.dtype)


def save_adapter(model: Any, weights: dict[str, torch.Tensor], base_id: str, folder: Path) -> None:
    """Write `adapter_config.json` and `adapter_model.safetensors` as PEFT loads them.

    Args:
        weights: Adapter weights under the model's parameter names.
        base_id: Name of the base for people; the path it was loaded from says nothing elsewhere.
    """
    from peft import get_peft_model_state_dict
    from safetensors.torch import save_file

    from tinsmith.core.run_dir import write_json

    folder.mkdir(parents=True, exist_ok=True)
    settings = model.peft_config["default"].to_dict()
    settings.update(base_model_name_or_path=base_id, inference_mode=True)
    write_json(folder / "adapter_config.json", {key: _jsonable(value) for key, value in settings.items()})
    tensors = get_peft_model_state_dict(model, state_dict=weights)
    temporary = folder / "adapter_model.safetensors.tmp"
    save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, temporary, metadata={"format": "pt"})
    os.replace(temporary, folder / "adapter_model.safetensors")


def _jsonable(value: Any) -> Any:
    return sorted(value) if isinstance(value, set) else value


def _dtype_name(chosen: Device) -> str:
    return str(chosen.dtype).removeprefix("torch.")


def _quiet_bitsandbytes() -> None:
    # On CPUs with bfloat16 instructions bitsandbytes 0.50 warns, on import, that an optional inference kernel from a
    # hub is not installed. Training does not use it.
    logging.getLogger("bitsandbytes.backends.cpu.ops").setLevel(logging.ERROR)
