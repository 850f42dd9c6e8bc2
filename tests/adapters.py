"""Tiny models with LoRA adapters that have a gradient everywhere."""

from pathlib import Path
from typing import Any

import torch
from peft import get_peft_model
from transformers import AutoModelForCausalLM

from tinsmith.core.config import TrainConfig
from tinsmith.train.qlora import _lora_config


def tiny_with_adapters(folder: Path) -> tuple[Any, dict[str, torch.nn.Parameter]]:
    """The float32 model in `folder` with LoRA of rank 4, whose B is not zero, and its trainable parameters by name."""
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).requires_grad_(False)
    torch.manual_seed(1)
    model = get_peft_model(model, _lora_config(TrainConfig(lora_rank=4)))
    parameters = {name: p for name, p in model.named_parameters() if p.requires_grad}
    for name, parameter in parameters.items():
        if "lora_B" in name:
            parameter.data.normal_(0, 0.05)
    return model, parameters
