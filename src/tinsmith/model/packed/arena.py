"""Memory for tensors that a forward pass saves for its backward pass: a few large blocks that all passes reuse.

A general allocator mixes these tensors with short-lived ones. The next pass has other sizes and cannot fill the gaps,
so a pass that saves 1.0 GB needs 1.5 GB. Here every pass places its tensors end to end.
"""

import math

import torch

_BLOCK_BYTES = 512 * 2**20
_ALIGNMENT_BYTES = 64


class Arena:
    """Allocates tensors. They must not be used after the next `reset`."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._blocks: list[torch.Tensor] = []
        self.reset()

    def reset(self) -> None:
        """Free all tensors, but keep the memory."""
        self._block, self._offset = 0, 0

    def allocate(self, shape: tuple[int, ...], dtype: torch.dtype) -> torch.Tensor:
        """A contiguous tensor with undefined content, aligned to 64 bytes."""
        size_bytes = math.prod(shape) * dtype.itemsize
        while self._block < len(self._blocks) and self._offset + size_bytes > len(self._blocks[self._block]):
            self._block, self._offset = self._block + 1, 0
        if self._block == len(self._blocks):
            self._blocks.append(torch.empty(max(_BLOCK_BYTES, size_bytes), dtype=torch.uint8, device=self._device))
        storage = self._blocks[self._block].untyped_storage()
        # Not a view of the block: autograd would tie all views of a block together.
        tensor = torch.empty(0, dtype=dtype, device=self._device)
        tensor.set_(storage, self._offset // dtype.itemsize, shape)  # ty: ignore[no-matching-overload]  (strides follow)
        self._offset += math.ceil(size_bytes / _ALIGNMENT_BYTES) * _ALIGNMENT_BYTES
        return tensor

    @property
    def size_bytes(self) -> int:
        """Size of all blocks."""
        return sum(len(block) for block in self._blocks)
