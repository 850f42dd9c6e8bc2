"""The whole model in blocks, calibrated on training conversations: every matrix against what the loss feels of it.

1. The full-precision model runs forward and backward over the conversations. The gradient at a matrix's output says
   how much each row matters there: attention reads some tokens again and again, and an error in those costs most.
2. The full-precision model and the quantized one go through the layers side by side, all conversations in one pack. A
   matrix is quantized when both its inputs are known: the quantized model's, which has come through everything
   quantized so far, and the full-precision one, towards whose outputs it is moved.

The head goes first, on the full-precision model's final states, because the embedding shares its storage and every
layer should see the embedding that ships.

Source: gradients as weights of GPTQ's rows, GuidedQuant (arXiv 2505.07004).
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

from tinsmith.core.device import return_freed_memory
from tinsmith.export.blocks import BLOCK_SIZE, Blocks, Refinement, round_to_nearest, step_sizes, stored_bits, unpack
from tinsmith.export.gptq import moved, prepare, quantize_matrix
from tinsmith.model.packed.decoder import Frozen, PackedDecoder, Take
from tinsmith.model.packed.loss import head_loss_sum
from tinsmith.model.packed.packing import Pack, make_pack, pack_groups
from tinsmith.model.tokens import Tokens

EMBEDDING = "model.embed_tokens.weight"
HEAD = "lm_head.weight"

_KEPT_BYTES = 2_000_000_000
_FEWEST_ROWS = 1024
"""What one pass with gradients may keep, unless so few rows need more."""

_BEFORE_ATTENTION = ("q_proj.weight", "k_proj.weight", "v_proj.weight")

_REFINED_ROWS = 1023
"""Tokens with a refined row in the head; with a row of zeros for all others, a round number for GPU kernels.

In SmolLM2 tuned on a tea shop the 1,024 likeliest carry 88 % of what is predicted, and 0.3 MB.
"""
_ROWS_AT_ONCE = 8192


@dataclass(frozen=True, slots=True)
class Guide:
    """What the full-precision model says about the conversations it is calibrated on."""

    pack: Pack
    """All of them."""
    row_weights: dict[str, torch.Tensor]
    """For every matrix but embedding and head: the mean squared gradient at each row of its output in `pack` (T,).

    Past the last layer's attention only rows that predict a target are computed, once for each target (N,).
    """
    losses: dict[str, float]
    """For each of them: what rounding to 4 bits would cost, the square errors of its outputs times `row_weights`, summed.

    Estimated for errors that are spread evenly over a step.
    """
    finals: torch.Tensor
    """Final hidden states (N, D) where a supervised token is predicted."""


@dataclass(frozen=True, slots=True)
class Quantized:
    """A model in blocks."""

    matrices: dict[str, Blocks]
    """By parameter name."""
    refinement: Refinement | None = None

    @property
    def nbytes(self) -> int:
        """Stored bytes."""
        refined = self.refinement.nbytes if self.refinement else 0
        return sum(blocks.nbytes for blocks in self.matrices.values()) + refined


def make_guide(model: Any, conversations: Sequence[Tokens]) -> Guide:
    """What the full-precision `model`, a frozen Transformers causal language model, says about `conversations`."""
    names, embed, seen = _names(model), model.get_input_embeddings(), {}

    def watch(module: Any) -> _Watched:
        return _Watched(module.weight, module.bias, lambda *found: seen.__setitem__(names[module], found))

    last, device = f"model.layers.{model.config.num_hidden_layers - 1}.", embed.weight.device
    decoder = PackedDecoder(model, watch, embed=lambda ids: embed(ids).detach().requires_grad_())
    whole = make_pack(conversations, device)
    row_weights: dict[str, torch.Tensor] = {}
    energies: dict[str, torch.Tensor] = {}
    finals, done = [], 0
    groups = pack_groups(conversations, range(len(conversations)), len(conversations), _rows_at_once(model.config))
    for group in tqdm(groups, desc="gradients", unit="pass", dynamic_ncols=True):
        pack = make_pack([conversations[index] for index in group], device)
        states = decoder.hidden(pack)
        head_loss_sum(states, decoder.head, pack.targets).backward()
        # Groups and packs keep conversations in one order, so these are the next ones of the whole pack.
        rows, targets = torch.empty(pack.rows, dtype=torch.long), torch.arange(len(states)) + sum(map(len, finals))
        for index in range(len(pack.paths)):
            rows[pack.rows_of(index)] = torch.tensor(whole.rows_of(done + index))
        done += len(pack.paths)
        finals.append(states.detach())
        for name, (square, energy) in seen.items():
            is_of_targets = name.startswith(last) and not name.endswith(_BEFORE_ATTENTION)
            at, size = (targets, len(whole.targets)) if is_of_targets else (rows, whole.rows)
            row_weights.setdefault(name, torch.zeros(size, device=device)).index_add_(0, at.to(device), square)
            energies[name] = energies.get(name, 0) + energy
        if device.type == "cpu":
            return_freed_memory()
    losses = {name: _rounding_loss(model.get_parameter(name), energy) for name, energy in energies.items()}
    return Guide(whole, row_weights, losses, torch.cat(finals))


def _rounding_loss(weight: torch.Tensor, energy: torch.Tensor) -> float:
    """Weighted square error of the outputs if `weight` (N, K) were rounded to nearest and errors spread evenly.

    Args:
        energy: Weighted sum of squares of each input (K,).
    """
    return (step_sizes(weight).square().sum(0) @ energy.reshape(-1, BLOCK_SIZE).sum(-1) / 12).item()


def _rows_at_once(config: Any) -> int:
    """Rows of one pass with gradients, so that what a pass keeps stays small."""
    kept_bytes = 2 * config.num_hidden_layers * (5 * config.hidden_size + 2 * config.intermediate_size)
    return max(_FEWEST_ROWS, _KEPT_BYTES // kept_bytes)


@torch.no_grad()
def calibrate(model: Any, guide: Guide, most_bits: float = 0.0) -> Quantized:
    """Every matrix of `model` in 4 bits, and of its layers' those in 8 that lose most, as long as there is room.

    Args:
        model: The model that `guide` is from; its weights are replaced by what the blocks stand for.
        most_bits: Bits for each of its parameters, on average; what 4 bits leave of them is the room.
    """
    matrices, refinement = _quantize_head(model, guide)
    sizes = {name: model.get_parameter(name).numel() for name in guide.losses}
    head_bytes = Quantized(matrices, refinement).nbytes
    room = (
        most_bits * sum(p.numel() for p in model.parameters()) - 8 * head_bytes - stored_bits(4) * sum(sizes.values())
    )
    calibration = _Calibration(model, guide.row_weights, dearest(guide.losses, sizes, room))
    full = PackedDecoder(model, calibration.recording).layer_outputs(guide.pack)
    drifted = PackedDecoder(model, calibration.quantizing).layer_outputs(guide.pack)
    next(full)  # the embedding's rows, before its weights are replaced
    for name, blocks in matrices.items():
        replace(model.get_parameter(name), blocks)
    next(drifted)
    with tqdm(total=len(guide.row_weights), desc="GPTQ", unit="matrix", dynamic_ncols=True) as calibration.progress:
        for _ in zip(full, drifted, strict=True):
            pass
    quantized = Quantized(matrices | calibration.matrices, refinement)
    _refine_head(model, quantized)
    return quantized


def dearest(losses: Mapping[str, float], sizes: Mapping[str, int], room: float) -> set[str]:
    """The matrices to have in 8 bits: those that lose most for their size, as many as the `room` in bits allows."""
    found = set()
    for name in sorted(losses, key=lambda name: -losses[name] / sizes[name]):
        more = (stored_bits(8) - stored_bits(4)) * sizes[name]
        if more <= room:
            room -= more
            found.add(name)
    return found


@torch.no_grad()
def round_all(model: Any) -> Quantized:
    """Every matrix of `model` in 4 bits by rounding to nearest; like `calibrate`, without looking at data."""
    quantized = Quantized({name: round_to_nearest(w) for name, w in model.named_parameters() if w.dim() == 2})
    hold(model, quantized)
    return quantized


@torch.no_grad()
def hold(model: Any, quantized: Quantized) -> None:
    """Put what `quantized` stands for in the place of the weights of `model`; a refined head stops being tied."""
    for name, blocks in quantized.matrices.items():
        replace(model.get_parameter(name), blocks)
    if quantized.refinement:
        _refine_head(model, quantized)


def _refine_head(model: Any, quantized: Quantized) -> None:
    head, refinement = model.get_output_embeddings(), quantized.refinement
    values = unpack(quantized.matrices.get(HEAD, quantized.matrices[EMBEDDING]))
    added = unpack(refinement.blocks)
    for start in range(0, len(values), _ROWS_AT_ONCE):  # all at once would take another head's memory
        rows = slice(start, start + _ROWS_AT_ONCE)
        values[rows] += added[refinement.places[rows]]
    head.weight = torch.nn.Parameter(torch.from_numpy(values).to(head.weight), requires_grad=False)


def replace(weight: torch.Tensor, blocks: Blocks) -> None:
    """Put what `blocks` stand for in the place of `weight` (N, K)."""
    weight.data.copy_(torch.from_numpy(unpack(blocks)))


@dataclass(frozen=True, slots=True)
class _Watched(Frozen):
    """A linear layer that hands on the mean squared gradient at each row of its output (T,).

    And the squares of its inputs, summed over rows that count as often as that says (K,).
    """

    see: Callable[[torch.Tensor, torch.Tensor], None]

    def backward(
        self,
        grad: torch.Tensor,
        x: torch.Tensor,
        kept: Sequence[torch.Tensor],
        grad_x: torch.Tensor | None,
        needs_grad_x: bool,
    ) -> tuple[torch.Tensor | None, tuple[torch.Tensor | None, ...]]:
        square = torch.linalg.vector_norm(grad, dim=-1, dtype=torch.float32).square_().div_(grad.shape[1])
        self.see(square, (square.to(x.dtype) @ x.square()).float())
        return Frozen.backward(self, grad, x, kept, grad_x, needs_grad_x)


class _Calibration:
    """Quantizes each linear layer of a model when both its inputs are known."""

    progress: tqdm

    def __init__(self, model: Any, row_weights: dict[str, torch.Tensor], in_8_bits: Collection[str]) -> None:
        self.matrices: dict[str, Blocks] = {}
        self._names, self._row_weights, self._in_8_bits = _names(model), row_weights, in_8_bits
        self._full_inputs: dict[str, torch.Tensor] = {}

    def recording(self, module: Any) -> "_Seen":
        """The layer in the full-precision model."""
        return _Seen(module, lambda x: self._full_inputs.__setitem__(self._names[module], x))

    def quantizing(self, module: Any) -> "_Seen":
        """The layer in the quantized model, full-precision until its input arrives."""
        return _Seen(module, lambda x: self._quantize(module, x))

    def _quantize(self, module: Any, x: torch.Tensor) -> None:
        name = self._names[module]
        squares = self._row_weights[name]
        # By the squares themselves, noise would rule: in value projections three rows would outweigh all others.
        weights = squares.sqrt()
        inputs = prepare(x, weights / weights.mean(), self._full_inputs.pop(name))
        if name in self._in_8_bits:
            self.matrices[name] = round_to_nearest(moved(module.weight, inputs), bits=8)
        else:
            self.matrices[name] = quantize_matrix(module.weight, inputs)
        replace(module.weight, self.matrices[name])
        self.progress.update()


class _Seen:
    """A linear layer that shows its input before it computes; see `tinsmith.model.packed.decoder.Linear`."""

    trained = ()

    def __init__(self, module: Any, see: Callable[[torch.Tensor], None]) -> None:
        self._module, self._see = module, see

    def forward(self, take: Take, x: torch.Tensor) -> tuple[torch.Tensor, tuple[torch.Tensor, ...]]:
        self._see(x)
        return Frozen.of(self._module).forward(take, x)


def _quantize_head(model: Any, guide: Guide) -> tuple[dict[str, Blocks], Refinement]:
    embedding, head = model.get_input_embeddings().weight, model.get_output_embeddings().weight
    is_tied = embedding.data_ptr() == head.data_ptr()
    inputs = prepare(guide.finals)
    blocks = quantize_matrix(head, inputs)
    counts = guide.pack.targets.bincount(minlength=len(head))
    rows = counts.argsort(descending=True, stable=True)[: min(_REFINED_ROWS, len(head) // 16)]
    missing = head[rows].float() - torch.from_numpy(unpack(blocks)).to(head.device)[rows]
    nothing = torch.zeros_like(missing[:1])
    places = np.full(len(head), len(rows), np.int32)
    places[rows.cpu().numpy()] = np.arange(len(rows))
    refinement = Refinement(places, quantize_matrix(torch.cat([missing, nothing]), inputs))
    return {EMBEDDING: blocks} if is_tied else {HEAD: blocks, EMBEDDING: round_to_nearest(embedding)}, refinement


def _names(model: Any) -> dict[Any, str]:
    return {module: f"{name}.weight" for name, module in model.named_modules()}
