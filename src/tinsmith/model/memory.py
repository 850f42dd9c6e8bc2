"""How many rows of a model's arithmetic fit into a device's memory."""

from typing import Any

from tinsmith.core.device import device_memory_bytes
from tinsmith.model.families import Decoder

_MIN_ROWS = 256


def rows_in_memory(device: Any, row_bytes: int) -> int:
    """Rows that fit into a quarter of a device's memory; at least 256.

    The limit comes from total memory, not from free memory, so that a resumed run splits its passes the same way.

    Args:
        device: A `torch.device`.
        row_bytes: Memory that each row takes.
    """
    return max(_MIN_ROWS, device_memory_bytes(device) // 4 // row_bytes)


def working_bytes(shape: Decoder, itemsize: int) -> int:
    """Peak temporary bytes per row inside a layer: the backward pass of an MLP plus that of attention.

    Args:
        shape: Sizes of the model.
        itemsize: Bytes of a number in the format that the model computes in.
    """
    mlp = 5 * shape.intermediate_size * itemsize + 3 * shape.hidden_size * 4
    attention = 4 * (shape.heads + 2 * shape.kv_heads) * shape.head_dim * 4
    return mlp + attention
