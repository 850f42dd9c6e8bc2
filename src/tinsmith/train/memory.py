"""What training will need, from the model's shape, before the first step; and what to compute twice if it is too much."""

from dataclasses import dataclass

from tinsmith.core.config import TrainConfig
from tinsmith.core.device import Device, device_memory_bytes, free_memory_bytes, used_memory_bytes
from tinsmith.model.families import Decoder

_FEWEST_ROWS = 256

_OPTIMIZER_BYTES = 20
"""For each adapter weight: float32 master, gradient and two moments, the model's own copy and its gradient."""

_RUNTIME_BYTES = {"cpu": 250_000_000, "cuda": 400_000_000}
"""On a CPU: code and compiled kernels that the first pass brings in, and gaps the allocator cannot use. On a GPU: work space of
its libraries and of compiled attention (0.36 GB were missing for SmolLM2-135M on an H100)."""

_FREE_SHARE = 0.8
"""Share of free memory that may be planned for; the rest is for what an estimate cannot know."""


@dataclass(frozen=True, slots=True)
class MemoryPlan:
    """How a model will be trained in the memory there is."""

    recomputed_layers: int
    """Layers that keep only their input and are computed again going backward."""
    layers: int
    needed_bytes: int
    """Estimated peak of the process, or of the GPU's memory."""
    free_bytes: int
    """What was free, what is already in use by this process included."""

    @property
    def reason(self) -> str:
        """The choice as a sentence."""
        needs = f"needs about {self.needed_bytes / 1e9:.1f} GB, {self.free_bytes / 1e9:.1f} GB free"
        if not self.recomputed_layers:
            return f"{needs}: no gradient checkpointing"
        which = "all" if self.recomputed_layers == self.layers else f"{self.recomputed_layers} of {self.layers}"
        return f"{needs}: gradient checkpointing in {which} layers"


def rows_per_pass(shape: Decoder, lora_rank: int, chosen: Device) -> int:
    """Most rows of one forward pass, such that it fits in a quarter of memory with every layer checkpointed.

    It rests on all memory, not on what is free, so that a resumed run splits its steps alike.
    """
    per_row = _working_bytes(shape, chosen) + _kept_bytes(shape, lora_rank, chosen, shape.layers)
    return max(_FEWEST_ROWS, device_memory_bytes(chosen.device) // 4 // per_row)


def plan_memory(shape: Decoder, rows: int, adapter_weights: int, config: TrainConfig, chosen: Device) -> MemoryPlan:
    """The plan for passes of `rows` rows: as few checkpointed layers as fit, unless the configuration decides.

    Called when the model is loaded, whose memory is measured and not estimated.
    """
    used, free = used_memory_bytes(chosen.device), free_memory_bytes(chosen.device)
    fixed = (
        used + adapter_weights * _OPTIMIZER_BYTES + _head_bytes(shape, chosen) + rows * _working_bytes(shape, chosen)
    )
    fixed += _RUNTIME_BYTES[chosen.device.type]
    choices = {"auto": range(shape.layers + 1), "always": [shape.layers], "never": [0]}
    for recomputed in choices[config.gradient_checkpointing]:
        needed = fixed + rows * _kept_bytes(shape, config.lora_rank, chosen, recomputed)
        if needed - used <= _FREE_SHARE * free:
            break
    return MemoryPlan(recomputed, shape.layers, needed, used + free)


def _kept_bytes(shape: Decoder, lora_rank: int, chosen: Device, recomputed_layers: int) -> int:
    """What one row keeps until the backward pass."""
    whole = _layer_values(shape, lora_rank)
    values = recomputed_layers * shape.hidden_size + (shape.layers - recomputed_layers) * whole
    if recomputed_layers:
        values += whole  # the layer that is being computed again
    return values * chosen.dtype.itemsize


def _layer_values(shape: Decoder, lora_rank: int) -> int:
    """Numbers that one row keeps in one layer: what `project`, attention and the residual sums put in the arena."""
    heads = shape.heads * shape.head_dim
    keys_values = 2 * shape.kv_heads * shape.head_dim
    streams = 2 + 2 * shape.has_post_norms
    return streams * shape.hidden_size + 2 * heads + keys_values + 2 * shape.intermediate_size + 7 * lora_rank


def _working_bytes(shape: Decoder, chosen: Device) -> int:
    """What one row takes for a moment inside a layer, at its most: an MLP's backward pass, or attention's."""
    mlp = 5 * shape.intermediate_size * chosen.dtype.itemsize + 3 * shape.hidden_size * 4
    attention = 4 * (shape.heads + 2 * shape.kv_heads) * shape.head_dim * 4
    return mlp + attention


def _head_bytes(shape: Decoder, chosen: Device) -> int:
    """The vocabulary's weights, which loading leaves in the file until they are used."""
    return shape.vocab_size * shape.hidden_size * chosen.dtype.itemsize
