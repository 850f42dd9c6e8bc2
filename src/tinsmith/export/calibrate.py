"""Quantizes a whole model, calibrated on training conversations and guided by their loss.

1. The full-precision model runs forward and backward over the conversations. The gradient at a matrix's output shows
   how much each row matters: later tokens attend to some rows again and again, and errors in those cost most.
2. The full-precision and the quantized model run side by side, layer by layer, over all conversations in one pack. A
   matrix is quantized once its inputs in both models are known. Its input in the quantized model contains the error of
   everything quantized so far; its input in the full-precision model gives the outputs to reproduce.

The head is quantized first, on the full-precision model's final states, because the embedding shares its storage and
every layer should see the embedding that ships.

Source: gradients as weights of GPTQ's rows are from GuidedQuant (arXiv 2505.07004).
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

from tinsmith.core.device import return_freed_memory
from tinsmith.export.blocks import BLOCK_SIZE, Blocks, Refinement, round_to_nearest, step_sizes, stored_bits, unpack
from tinsmith.export.gptq import corrected, prepare, quantize_matrix
from tinsmith.model.packed.attention import Allocate
from tinsmith.model.packed.decoder import PackedDecoder
from tinsmith.model.packed.loss import head_loss_sum
from tinsmith.model.packed.operations import Frozen
from tinsmith.model.packed.packing import Pack, make_pack
from tinsmith.model.packed.passes import Passes, passes_on
from tinsmith.model.tokens import Tokens

EMBEDDING = "model.embed_tokens.weight"
HEAD = "lm_head.weight"

_MAX_BACKWARD_BYTES = 2_000_000_000
"""Bytes that a forward pass may store for its backward pass on a processor, unless `_MIN_ROWS` rows need more."""
_MIN_ROWS = 1024

_BEFORE_ATTENTION = ("q_proj.weight", "k_proj.weight", "v_proj.weight")

_REFINED_ROWS = 1023
"""Tokens with a refined row in the head. With the row of zeros for all others there are 1,024, which suits GPU kernels.

In SmolLM2 tuned on a tea shop's conversations, the 1,024 most frequent tokens are 88 % of all targets. Their rows need
0.3 MB.
"""
_ROWS_AT_ONCE = 8192


@dataclass(frozen=True, slots=True)
class Guide:
    """What gradients of the full-precision model's loss show about its matrices."""

    pack: Pack
    """All conversations."""
    row_weights: dict[str, torch.Tensor]
    """Mean squared gradient at each row of a matrix's output in `pack` (T,), for every matrix but embedding and head.

    After the last layer's attention, only rows that predict a target are computed: one weight per target (N,).
    """
    losses: dict[str, float]
    """Estimated loss from rounding each of these matrices to 4 bits: squared errors of its outputs times `row_weights`.

    Assumes that rounding errors are uniform over a step.
    """
    finals: torch.Tensor
    """Final hidden states (N, D) that predict supervised tokens."""


@dataclass(frozen=True, slots=True)
class Quantized:
    """The matrices of a quantized model."""

    matrices: dict[str, Blocks]
    """Parameter name -> matrix."""
    refinement: Refinement | None = None

    @property
    def nbytes(self) -> int:
        """Stored bytes."""
        refined = self.refinement.nbytes if self.refinement else 0
        return sum(blocks.nbytes for blocks in self.matrices.values()) + refined


def make_guide(model: Any, conversations: Sequence[Tokens]) -> Guide:
    """Run the full-precision `model`, a frozen Transformers causal language model, forward and backward."""
    names, embed, sums_by_name = _names(model), model.get_input_embeddings(), {}

    def watch(module: Any) -> _Watched:
        return _Watched(module.weight, module.bias, lambda *sums: sums_by_name.__setitem__(names[module], sums))

    last, device = f"model.layers.{model.config.num_hidden_layers - 1}.", embed.weight.device
    decoder = PackedDecoder(model, watch, embed=lambda ids: embed(ids).detach().requires_grad_())
    whole = make_pack(conversations, device)
    row_weights: dict[str, torch.Tensor] = {}
    energies: dict[str, torch.Tensor] = {}
    finals, done = [], 0
    passes = _passes(model.config, device, len(conversations))
    for group in tqdm(passes.groups(conversations), desc="gradients", unit="pass", dynamic_ncols=True):
        pack = make_pack([conversations[index] for index in group], device)
        computed = passes.filled(pack)
        states = decoder.hidden(computed)
        head_loss_sum(states, decoder.head, computed.targets).backward()
        # Groups and packs order conversations alike, so these are the next ones in the whole pack.
        rows = torch.empty(pack.rows, dtype=torch.long)
        targets = torch.arange(len(pack.targets)) + sum(map(len, finals))
        for index in range(len(pack.paths)):
            rows[pack.rows_of(index)] = torch.tensor(whole.rows_of(done + index))
        done += len(pack.paths)
        finals.append(states.detach()[: len(targets)])
        for name, (square, energy) in sums_by_name.items():
            has_target_rows = name.startswith(last) and not name.endswith(_BEFORE_ATTENTION)
            indices, size = (targets, len(whole.targets)) if has_target_rows else (rows, whole.rows)
            weights = row_weights.setdefault(name, torch.zeros(size, device=device))
            weights.index_add_(0, indices.to(device), square[: len(indices)])
            energies[name] = energies.get(name, 0) + energy
        if device.type == "cpu":
            return_freed_memory()
    losses = {name: _rounding_loss(model.get_parameter(name), energy) for name, energy in energies.items()}
    return Guide(whole, row_weights, losses, torch.cat(finals))


def _rounding_loss(weight: torch.Tensor, energy: torch.Tensor) -> float:
    """Weighted squared error of the outputs if `weight` (N, K) were rounded to nearest, with uniform errors.

    Args:
        weight: The matrix.
        energy: Weighted sum of squares of each input (K,).
    """
    return (step_sizes(weight).square().sum(0) @ energy.reshape(-1, BLOCK_SIZE).sum(-1) / 12).item()


def _passes(config: Any, device: torch.device, conversations: int) -> Passes:
    """Passes with gradients, limited by the memory that their backward passes need.

    A row's weight is a square, so a row that several passes share weighs less than in one pass.
    """
    row_bytes = 2 * config.num_hidden_layers * (5 * config.hidden_size + 2 * config.intermediate_size)
    on_cpu = Passes(conversations, max(_MIN_ROWS, _MAX_BACKWARD_BYTES // row_bytes))
    return passes_on(device, on_cpu, row_bytes)


@torch.no_grad()
def calibrate(model: Any, guide: Guide, max_bits: float = 0.0) -> Quantized:
    """Quantize every matrix of `model`: as many of the layers' most sensitive ones as fit to 8 bits, the rest to 4.

    Args:
        model: The model that `guide` was made from; its weights are replaced with the quantized ones.
        guide: Row weights and estimated losses of its matrices.
        max_bits: Limit of average bits per parameter. Bits that 4-bit matrices leave unused go to 8-bit ones.
    """
    matrices, refinement = _quantize_head(model, guide)
    sizes = {name: model.get_parameter(name).numel() for name in guide.losses}
    head_bytes = Quantized(matrices, refinement).nbytes
    available_bits = max_bits * sum(parameter.numel() for parameter in model.parameters())
    room_bits = available_bits - 8 * head_bytes - stored_bits(4) * sum(sizes.values())
    calibration = _Calibration(model, guide.row_weights, most_sensitive(guide.losses, sizes, room_bits))
    full = PackedDecoder(model, calibration.recording).layer_outputs(guide.pack)
    drifted = PackedDecoder(model, calibration.quantizing).layer_outputs(guide.pack)
    next(full)  # the embedding's rows, before its weights are replaced
    for name, blocks in matrices.items():
        _replace(model.get_parameter(name), blocks)
    next(drifted)
    with tqdm(total=len(guide.row_weights), desc="GPTQ", unit="matrix", dynamic_ncols=True) as calibration.progress:
        for _ in zip(full, drifted, strict=True):
            pass
    quantized = Quantized(matrices | calibration.matrices, refinement)
    _refine_head(model, quantized.matrices, refinement)
    return quantized


def most_sensitive(losses: Mapping[str, float], sizes: Mapping[str, int], room_bits: float) -> set[str]:
    """Matrices to keep in 8 bits: those with the largest loss for their size, as many as fit into `room_bits`."""
    names = set()
    for name in sorted(losses, key=lambda name: -losses[name] / sizes[name]):
        extra_bits = (stored_bits(8) - stored_bits(4)) * sizes[name]
        if extra_bits <= room_bits:
            room_bits -= extra_bits
            names.add(name)
    return names


@torch.no_grad()
def round_all(model: Any) -> Quantized:
    """Quantize every matrix of `model` to 4 bits by rounding to nearest; its weights are replaced."""
    quantized = Quantized({name: round_to_nearest(w) for name, w in model.named_parameters() if w.dim() == 2})
    apply_quantized(model, quantized)
    return quantized


@torch.no_grad()
def apply_quantized(model: Any, quantized: Quantized) -> None:
    """Replace the weights of `model` with those of `quantized`; a refined head is no longer tied to the embedding."""
    for name, blocks in quantized.matrices.items():
        _replace(model.get_parameter(name), blocks)
    if quantized.refinement:
        _refine_head(model, quantized.matrices, quantized.refinement)


def _refine_head(model: Any, matrices: Mapping[str, Blocks], refinement: Refinement) -> None:
    head = model.get_output_embeddings()
    values = unpack(matrices.get(HEAD, matrices[EMBEDDING]))
    added = unpack(refinement.blocks)
    for start in range(0, len(values), _ROWS_AT_ONCE):  # all rows at once would need the head's memory a second time
        rows = slice(start, start + _ROWS_AT_ONCE)
        values[rows] += added[refinement.rows[rows]]
    head.weight = torch.nn.Parameter(torch.from_numpy(values).to(head.weight), requires_grad=False)


def _replace(weight: torch.Tensor, blocks: Blocks) -> None:
    """Overwrite `weight` (N, K) with the values of `blocks`."""
    weight.data.copy_(torch.from_numpy(unpack(blocks)))


@dataclass(frozen=True, slots=True)
class _Watched(Frozen):
    """A linear layer that reports its gradients and inputs during the backward pass."""

    report: Callable[[torch.Tensor, torch.Tensor], None]
    """Receives each output row's mean squared gradient (T,), and the sum of squared inputs weighted by it (K,)."""

    def backward(
        self,
        grad: torch.Tensor,
        x: torch.Tensor,
        kept: Sequence[torch.Tensor],
        grad_x: torch.Tensor | None,
        needs_grad_x: bool,
    ) -> tuple[torch.Tensor | None, tuple[torch.Tensor | None, ...]]:
        square = torch.linalg.vector_norm(grad, dim=-1, dtype=torch.float32).square_().div_(grad.shape[1])
        self.report(square, (square.to(x.dtype) @ x.square()).float())
        return Frozen.backward(self, grad, x, kept, grad_x, needs_grad_x)


class _Calibration:
    """Quantizes each linear layer of a model once its inputs in both models are known."""

    progress: tqdm

    def __init__(self, model: Any, row_weights: dict[str, torch.Tensor], in_8_bits: Collection[str]) -> None:
        self.matrices: dict[str, Blocks] = {}
        self._names, self._row_weights, self._in_8_bits = _names(model), row_weights, in_8_bits
        self._full_inputs: dict[str, torch.Tensor] = {}

    def recording(self, module: Any) -> "_Observed":
        """A layer of the full-precision model, which records its input."""
        return _Observed(module, lambda x: self._full_inputs.__setitem__(self._names[module], x))

    def quantizing(self, module: Any) -> "_Observed":
        """A layer of the quantized model, which is quantized when its input arrives."""
        return _Observed(module, lambda x: self._quantize(module, x))

    def _quantize(self, module: Any, x: torch.Tensor) -> None:
        name = self._names[module]
        squares = self._row_weights[name]
        # Square roots, because the squares are too noisy: in value projections three rows would outweigh all others.
        weights = squares.sqrt()
        inputs = prepare(x, weights / weights.mean(), self._full_inputs.pop(name))
        if name in self._in_8_bits:
            self.matrices[name] = round_to_nearest(corrected(module.weight, inputs), bits=8)
        else:
            self.matrices[name] = quantize_matrix(module.weight, inputs)
        _replace(module.weight, self.matrices[name])
        self.progress.update()


class _Observed:
    """A linear layer that passes its input to a function first (a `tinsmith.model.packed.operations.Linear`)."""

    trained: tuple[torch.Tensor, ...] = ()

    def __init__(self, module: Any, observe: Callable[[torch.Tensor], None]) -> None:
        self._module, self._observe = module, observe

    def forward(self, allocate: Allocate, x: torch.Tensor) -> tuple[torch.Tensor, tuple[torch.Tensor, ...]]:
        self._observe(x)
        return Frozen.of(self._module).forward(allocate, x)

    def backward(
        self,
        grad: torch.Tensor,
        x: torch.Tensor,
        kept: Sequence[torch.Tensor],
        grad_x: torch.Tensor | None,
        needs_grad_x: bool,
    ) -> tuple[torch.Tensor | None, tuple[torch.Tensor | None, ...]]:
        return Frozen.of(self._module).backward(grad, x, kept, grad_x, needs_grad_x)


def _quantize_head(model: Any, guide: Guide) -> tuple[dict[str, Blocks], Refinement]:
    """The head, or the embedding it is tied to, and four more bits for the rows of the most frequent targets."""
    embedding, head = model.get_input_embeddings().weight, model.get_output_embeddings().weight
    is_tied = embedding.data_ptr() == head.data_ptr()
    inputs = prepare(guide.finals)
    blocks = quantize_matrix(head, inputs)
    counts = guide.pack.targets.bincount(minlength=len(head))
    rows = counts.argsort(descending=True, stable=True)[: min(_REFINED_ROWS, len(head) // 16)]
    missing = head[rows].float() - torch.from_numpy(unpack(blocks)).to(head.device)[rows]
    zero_row = torch.zeros_like(missing[:1])
    refined_rows = np.full(len(head), len(rows), np.int32)
    refined_rows[rows.cpu().numpy()] = np.arange(len(rows))
    refinement = Refinement(refined_rows, quantize_matrix(torch.cat([missing, zero_row]), inputs))
    return {EMBEDDING: blocks} if is_tied else {HEAD: blocks, EMBEDDING: round_to_nearest(embedding)}, refinement


def _names(model: Any) -> dict[Any, str]:
    return {module: f"{name}.weight" for name, module in model.named_modules()}
