"""The model that is trained: a frozen base rounded to NF4, with LoRA adapters on every linear layer of the decoder."""

import logging
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from tinsmith.config import TrainConfig
from tinsmith.device import Device, device_memory_bytes
from tinsmith.families import decoder_of

TARGET_MODULES = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")

_CACHE_SHARE = 0.25
"""De-quantized weights may take this share of memory; the rest is for activations and the optimizer."""


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
    if config.quantization == "none":
        base = load_base(model_dir, chosen)
        method, sentence = "LoRA", f"none; the frozen base is kept in {_dtype_name(chosen)}"
    else:
        base, sentence = _load_nf4(model_dir, chosen)
        method, framework = "QLoRA", f"{framework} + bitsandbytes {bitsandbytes.__version__}"
    base.requires_grad_(False)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = peft.get_peft_model(base, _lora_config(config))
    model.train()
    return Trainable(model, "peft", method, sentence, framework)


def load_base(model_dir: Path, chosen: Device) -> Any:
    """The causal language model in `model_dir` in the chosen format on the chosen device."""
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(model_dir, dtype=chosen.dtype, **_load_options())
    decoder_of(model.config)
    return model.to(chosen.device)


def _load_options() -> dict[str, Any]:
    return {
        "local_files_only": True, "trust_remote_code": False, "use_safetensors": True, "attn_implementation": "sdpa",
    }


def _lora_config(config: TrainConfig) -> Any:
    from peft import LoraConfig

    return LoraConfig(
        r=config.lora_rank, lora_alpha=config.lora_alpha, lora_dropout=0.0, bias="none", task_type="CAUSAL_LM",
        target_modules=list(TARGET_MODULES),
    )


def _load_nf4(model_dir: Path, chosen: Device) -> tuple[Any, str]:
    """The base with NF4 numerics and a sentence on how its weights are stored."""
    weights_bytes = sum(path.stat().st_size for path in model_dir.glob("*.safetensors"))
    # The files are bfloat16; a float32 copy takes twice their size.
    cache_bytes = weights_bytes * torch.finfo(chosen.dtype).bits // 16
    if cache_bytes <= _CACHE_SHARE * device_memory_bytes(chosen.device):
        base = load_base(model_dir, chosen)
        round_to_nf4(base)
        return base, (
            f"NF4 with double quantization (bitsandbytes), de-quantized once to {_dtype_name(chosen)}: "
            "the weights have 4-bit values, their copy in memory is not packed, which is quicker"
        )
    return load_packed_nf4(model_dir, chosen), (
        f"NF4 with double quantization (bitsandbytes), packed in memory and de-quantized to {_dtype_name(chosen)} "
        "in every product, because unpacked weights would take more than a quarter of memory"
    )


def round_to_nf4(model: Any) -> None:
    """Replace the weights of all linear layers in the decoder by their NF4 values, in place.

    NF4 here is what bitsandbytes stores: blocks of 64 weights, scales quantized again. Products with these weights
    equal those of a packed 4-bit layer, without unpacking it forward and backward in every step.
    """
    _quiet_bitsandbytes()
    from bitsandbytes import functional

    for module in model.get_decoder().modules():
        if isinstance(module, torch.nn.Linear):
            packed, state = functional.quantize_4bit(module.weight.data, quant_type="nf4", compress_statistics=True)
            module.weight.data.copy_(functional.dequantize_4bit(packed, state))


def load_packed_nf4(model_dir: Path, chosen: Device) -> Any:
    """The base with packed 4-bit linear layers, as bitsandbytes and Transformers make them."""
    _quiet_bitsandbytes()
    from transformers import AutoModelForCausalLM, BitsAndBytesConfig

    quantization = BitsAndBytesConfig(
        load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=chosen.dtype,
    )
    model = AutoModelForCausalLM.from_pretrained(
        model_dir, dtype=chosen.dtype, quantization_config=quantization, device_map={"": chosen.device},
        **_load_options(),
    )
    decoder_of(model.config)
    return model


def save_adapter(model: Any, weights: dict[str, torch.Tensor], base_id: str, folder: Path) -> None:
    """Write `adapter_config.json` and `adapter_model.safetensors` as PEFT loads them.

    Args:
        weights: Adapter weights under the model's parameter names.
        base_id: Name of the base for people; the path it was loaded from says nothing elsewhere.
    """
    from peft import get_peft_model_state_dict
    from safetensors.torch import save_file

    from tinsmith.run_dir import write_json

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
