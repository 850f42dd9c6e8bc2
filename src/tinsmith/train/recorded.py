"""Records the GPU's work for a pass once for each size, and repeats the record.

A pass over short conversations is thousands of small kernels, and a CPU takes longer to launch them than the GPU to
run them. A CUDA graph launches all of them at once. It reads and writes the same memory every time, so packs are filled
up to a few sizes and copied to where the record reads them.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

from tinsmith.core.stage_context import Say
from tinsmith.model.packed.loss import pack_loss_sum
from tinsmith.model.packed.packing import Pack, fill_pack, make_pack
from tinsmith.model.tokens import Tokens
from tinsmith.train.engine import PackedEngine

_WARM_UPS = 2
"""Runs before recording: kernels compile in the first, and the allocator settles in the second."""

_TOLERANCE = 0.02
"""Largest relative difference of the loss, and of all gradients together, between a record and the run before it. It is
not zero, because a GPU does not add up in a fixed order."""

_INPUTS = ("ids", "positions", "subtree_stops", "predictors", "targets")

Record = Callable[[Callable[[], None]], Callable[[], None]]
"""Records the GPU's work of a function, and returns a function that repeats it."""


@dataclass
class RecordedEngine:
    """A `PackedEngine` whose backward passes are recorded. Goes on without records if one fails or is wrong."""

    plain: PackedEngine
    parameters: Sequence[torch.nn.Parameter]
    """What gets gradients."""
    say: Say
    """Prints why there are no records."""
    record: Record
    _passes: dict[tuple[int, int], "_RecordedPass"] | None = field(default_factory=dict)
    """By rows and targets; None once a record has failed."""

    def groups(self, conversations: Sequence[Tokens], indices: Sequence[int]) -> list[list[int]]:
        return self.plain.groups(conversations, indices)

    def loss_sum(self, group: Sequence[Tokens]) -> torch.Tensor:
        return pack_loss_sum(self.plain.decoder, self._filled(group))

    def backward(self, group: Sequence[Tokens], divisor: float) -> torch.Tensor:
        if self._passes is None:
            return self.plain.backward(group, divisor)
        pack = self._filled(group)
        size = (pack.rows, len(pack.targets))
        if size not in self._passes:
            try:
                self._passes[size] = _RecordedPass(self, pack)
            except (RuntimeError, _WrongRecord) as error:
                self._passes = None
                self.say(f"training goes on without CUDA graphs: {str(error).splitlines()[0]}")
                return self.plain.backward(group, divisor)
        loss, gradients = self._passes[size].run(pack)
        for parameter, gradient in zip(self.parameters, torch._foreach_div(gradients, divisor), strict=True):
            parameter.grad = gradient if parameter.grad is None else parameter.grad.add_(gradient)
        return loss

    def _filled(self, group: Sequence[Tokens]) -> Pack:
        return fill_pack(make_pack(group, self.plain.device))


class _WrongRecord(Exception):
    """A record computes something else than the run that it was made from."""


class _RecordedPass:
    """Loss and gradients of packs of one size.

    Raises:
        RuntimeError: an operation cannot be recorded.
        _WrongRecord: the record's loss or gradients are not those of a run.
    """

    def __init__(self, engine: RecordedEngine, pack: Pack) -> None:
        self._decoder, self._parameters = engine.plain.decoder, list(engine.parameters)
        self._pack = pack
        self.loss: torch.Tensor
        self.gradients: tuple[torch.Tensor, ...]
        for _ in range(_WARM_UPS):
            self._compute()
        loss, gradients = self.loss.clone(), [gradient.clone() for gradient in self.gradients]
        self._repeat = engine.record(self._compute)
        self._repeat()
        errors = (_relative_error([self.loss], [loss]), _relative_error(self.gradients, gradients))
        if not all(error <= _TOLERANCE for error in errors):  # NaN is no match either
            raise _WrongRecord(f"a recorded pass differs from the pass itself by {max(errors):.2g}")

    def run(self, pack: Pack) -> tuple[torch.Tensor, tuple[torch.Tensor, ...]]:
        """Loss and gradients of `pack`. The gradients are overwritten by the next run."""
        for name in _INPUTS:
            getattr(self._pack, name).copy_(getattr(pack, name))
        self._repeat()
        return self.loss.clone(), self.gradients

    def _compute(self) -> None:
        loss = pack_loss_sum(self._decoder, self._pack)
        self.gradients = torch.autograd.grad(loss, self._parameters)
        self.loss = loss.detach()


def _relative_error(actual: Sequence[torch.Tensor], expected: Sequence[torch.Tensor]) -> float:
    """Norm of all differences over the norm of all that was expected."""
    return _norm([one - other for one, other in zip(actual, expected, strict=True)]) / _norm(expected)


def _norm(tensors: Sequence[torch.Tensor]) -> float:
    return torch.stack([tensor.float().norm() for tensor in tensors]).norm().item()


def record_cuda_graph() -> Record:
    """Record CUDA graphs that share the memory of their temporary tensors."""
    pool: Any = torch.cuda.graph_pool_handle()

    def record(run: Callable[[], None]) -> Callable[[], None]:
        graph = torch.cuda.CUDAGraph()
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):  # cuBLAS sets up its workspace for this stream before the recording
            run()
        torch.cuda.current_stream().wait_stream(stream)
        with torch.cuda.graph(graph, pool=pool, stream=stream):
            run()
        return graph.replay

    return record
