"""How many tokens one forward and backward pass may hold, from the model's shape and the machine's memory."""

from typing import Any

from tinsmith.device import Device, device_memory_bytes

_CPU_BUDGET_BYTES = 3_000_000_000
"""Activations on a CPU: larger passes are no quicker there, since its products are already saturated."""

_FEWEST_TOKENS = 256


def tokens_per_pass(model_config: Any, chosen: Device) -> int:
    """Most tokens, padding included, in one forward pass, such that activations take about a quarter of memory."""
    total = device_memory_bytes(chosen.device)
    budget = total // 3 if chosen.device.type == "cuda" else min(total // 4, _CPU_BUDGET_BYTES)
    return max(_FEWEST_TOKENS, budget // activation_bytes_per_token(model_config, chosen.dtype.itemsize))


def activation_bytes_per_token(model_config: Any, itemsize: int) -> int:
    """Rough size of what autograd keeps for one token: inputs of norms, products and activations, in every layer."""
    per_layer = 12 * model_config.hidden_size + 5 * model_config.intermediate_size
    return model_config.num_hidden_layers * per_layer * itemsize
