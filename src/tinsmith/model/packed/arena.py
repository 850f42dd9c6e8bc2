"""Memory for what a forward pass keeps until its backward pass: a few large blocks, used from the start by every pass.

A general allocator puts these tensors between short-lived ones and cannot fill the gaps again with tensors of the next
pass, whose sizes differ: a pass that keeps 1.0 GB then takes 1.5. Here every pass lays them end to end.
"""

import math

import torch

_BLOCK_BYTES = 512 * 2**20
_ALIGNMENT_BYTES = 64


class Arena:
    """Tensors that live until `reset`; nothing taken before it may be used after it."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._blocks: list[torch.Tensor] = []
        self.reset()

    def reset(self) -> None:
        """Give back everything that was taken; the memory itself is kept."""
        self._block, self._offset = 0, 0

    def take(self, shape: tuple[int, ...], dtype: torch.dtype) -> torch.Tensor:
        """A tensor with undefined content."""
        size_bytes = math.prod(shape) * dtype.itemsize
        while self._block < len(self._blocks) and self._offset + size_bytes > len(self._blocks[self._block]):
            self._block, self._offset = self._block + 1, 0
        if self._block == len(self._blocks):
            self._blocks.append(torch.empty(max(_BLOCK_BYTES, size_bytes), dtype=torch.uint8, device=self._device))
        storage = self._blocks[self._block].untyped_storage()
        # A tensor of its own on the block's memory: autograd would treat a view of the block as tied to it.
        taken = torch.empty(0, dtype=dtype, device=self._device)
        taken.set_(storage, self._offset // dtype.itemsize, shape)  # ty: ignore[no-matching-overload]  (strides follow)
        self._offset += math.ceil(size_bytes / _ALIGNMENT_BYTES) * _ALIGNMENT_BYTES
        return taken

    @property
    def size_bytes(self) -> int:
        """Memory held."""
        return sum(len(block) for block in self._blocks)
