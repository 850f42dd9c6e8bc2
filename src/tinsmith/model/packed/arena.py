"""Memory for what a forward pass keeps until its backward pass: a few large blocks that every pass fills anew.

A general allocator puts these tensors between short-lived ones, and the next pass, whose sizes differ, cannot fill the
gaps: a pass that keeps 1.0 GB then takes 1.5. Here every pass places them end to end.
"""

import math

import torch

_BLOCK_BYTES = 512 * 2**20
_ALIGNMENT_BYTES = 64


class Arena:
    """Allocator of tensors that live until `reset` and must not be used after it."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._blocks: list[torch.Tensor] = []
        self.reset()

    def reset(self) -> None:
        """Free all tensors, but keep the memory."""
        self._block, self._offset = 0, 0

    def take(self, shape: tuple[int, ...], dtype: torch.dtype) -> torch.Tensor:
        """A tensor with undefined content."""
        size_bytes = math.prod(shape) * dtype.itemsize
        while self._block < len(self._blocks) and self._offset + size_bytes > len(self._blocks[self._block]):
            self._block, self._offset = self._block + 1, 0
        if self._block == len(self._blocks):
            self._blocks.append(torch.empty(max(_BLOCK_BYTES, size_bytes), dtype=torch.uint8, device=self._device))
        storage = self._blocks[self._block].untyped_storage()
        # Not a view of the block, which autograd would tie to it.
        tensor = torch.empty(0, dtype=dtype, device=self._device)
        tensor.set_(storage, self._offset // dtype.itemsize, shape)  # ty: ignore[no-matching-overload]  (strides follow)
        self._offset += math.ceil(size_bytes / _ALIGNMENT_BYTES) * _ALIGNMENT_BYTES
        return tensor

    @property
    def size_bytes(self) -> int:
        """Memory held."""
        return sum(len(block) for block in self._blocks)
