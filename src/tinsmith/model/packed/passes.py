"""How much one pass computes: on a processor what suits its caches, on a GPU what fits into its memory.

A GPU waits for its next kernel most of the time in a small pass. How conversations are split changes losses and
gradients by rounding alone.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tinsmith.model.memory import rows_in_memory
from tinsmith.model.packed.packing import Pack, fill_pack, pack_groups
from tinsmith.model.tokens import Tokens

_MAX_ROWS_ON_GPU = 16384
"""The mask of a pack's attention grows with the square of its rows, and larger passes are not faster."""


@dataclass(frozen=True, slots=True)
class Passes:
    """How conversations are split into passes."""

    conversations: int
    """Most conversations of a pass."""
    rows: int
    """Most rows of a pass; a single longer conversation still gets one."""
    is_filled: bool = False
    """Whether packs are filled up to a few sizes, for which a GPU compiles its kernels once."""

    def groups(self, conversations: Sequence[Tokens]) -> list[list[int]]:
        """Indices of the conversations of each pass."""
        return pack_groups(conversations, range(len(conversations)), self.conversations, self.rows)

    def filled(self, pack: Pack) -> Pack:
        """The pack as it is computed: the rows and targets of `pack` come first."""
        return fill_pack(pack) if self.is_filled else pack


def passes_on(device: Any, on_cpu: Passes, row_bytes: int) -> Passes:
    """`on_cpu` on a processor; on a GPU as many conversations as fit into its memory."""
    if device.type == "cpu":
        return on_cpu
    return Passes(_MAX_ROWS_ON_GPU, min(_MAX_ROWS_ON_GPU, rows_in_memory(device, row_bytes)), is_filled=True)
