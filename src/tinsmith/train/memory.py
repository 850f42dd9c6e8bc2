"""Estimates the memory that training needs, and chooses layers for gradient checkpointing if it does not fit."""

from dataclasses import dataclass

from tinsmith.core.config import TrainConfig
from tinsmith.core.device import Device, free_memory_bytes, used_memory_bytes
from tinsmith.model.families import Decoder
from tinsmith.model.memory import rows_in_memory, working_bytes

_OPTIMIZER_BYTES = 20
"""Per adapter weight: master copy, gradient and two moments in float32, the model's copy, and its gradient."""

_RUNTIME_BYTES = {"cpu": 250_000_000, "cuda": 700_000_000}
"""On a CPU: code and compiled kernels that the first pass loads, and fragmentation. On a GPU: workspaces of libraries
and of compiled attention (without them the estimate was 0.36 GB short for SmolLM2-135M on an H100), and 0.3 GB
for a block of logits, by its size."""

_FREE_SHARE = 0.8
"""Share of free memory to plan for. The rest covers errors of the estimate."""


@dataclass(frozen=True, slots=True)
class MemoryPlan:
    """How training fits into memory."""

    recomputed_layers: int
    """Layers under gradient checkpointing: they keep only their input and are computed again in the backward pass."""
    layers: int
    needed_bytes: int
    """Estimated peak memory of the process, or of the GPU."""
    free_bytes: int
    """Free memory plus what this process already uses."""

    @property
    def reason(self) -> str:
        """The plan as a sentence."""
        needs = f"needs about {self.needed_bytes / 1e9:.1f} GB, {self.free_bytes / 1e9:.1f} GB free"
        if not self.recomputed_layers:
            return f"{needs}: no gradient checkpointing"
        which = "all" if self.recomputed_layers == self.layers else f"{self.recomputed_layers} of {self.layers}"
        return f"{needs}: gradient checkpointing in {which} layers"


def rows_per_pass(shape: Decoder, lora_rank: int, compute: Device) -> int:
    """Maximum rows of one forward pass that fit in a quarter of memory with every layer checkpointed.

    The limit comes from total memory, not from free memory, so that a resumed run splits its steps the same way.
    """
    per_row = working_bytes(shape, compute.dtype.itemsize) + _kept_bytes(shape, lora_rank, compute, shape.layers)
    return rows_in_memory(compute.device, per_row)


def plan_memory(shape: Decoder, rows: int, adapter_weights: int, config: TrainConfig, compute: Device) -> MemoryPlan:
    """Plan passes of `rows` rows with as few checkpointed layers as fit, unless the configuration decides.

    Call it after loading the model: memory in use is measured, only the rest is estimated.
    """
    used, free = used_memory_bytes(compute.device), free_memory_bytes(compute.device)
    fixed = (
        used
        + adapter_weights * _OPTIMIZER_BYTES
        + _head_bytes(shape, compute)
        + rows * working_bytes(shape, compute.dtype.itemsize)
    )
    fixed += _RUNTIME_BYTES[compute.device.type]
    choices = {"auto": range(shape.layers + 1), "always": [shape.layers], "never": [0]}
    for recomputed in choices[config.gradient_checkpointing]:
        needed = fixed + rows * _kept_bytes(shape, config.lora_rank, compute, recomputed)
        if needed - used <= _FREE_SHARE * free:
            break
    return MemoryPlan(recomputed, shape.layers, needed, used + free)


def _kept_bytes(shape: Decoder, lora_rank: int, compute: Device, recomputed_layers: int) -> int:
    """Bytes that one row keeps until the backward pass."""
    whole = _layer_values(shape, lora_rank)
    values = recomputed_layers * shape.hidden_size + (shape.layers - recomputed_layers) * whole
    if recomputed_layers:
        values += whole  # the layer that is being computed again
    return values * compute.dtype.itemsize


def _layer_values(shape: Decoder, lora_rank: int) -> int:
    """Values that one row keeps in one layer: outputs of projections, attention and residual sums in the arena."""
    heads = shape.heads * shape.head_dim
    keys_values = 2 * shape.kv_heads * shape.head_dim
    streams = 2 + 2 * shape.has_post_norms
    return streams * shape.hidden_size + 2 * heads + keys_values + 2 * shape.intermediate_size + 7 * lora_rank


def _head_bytes(shape: Decoder, compute: Device) -> int:
    """Bytes of the vocabulary's weights, which stay in the file until first used."""
    return shape.vocab_size * shape.hidden_size * compute.dtype.itemsize
