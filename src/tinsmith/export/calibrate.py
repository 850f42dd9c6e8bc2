"""The whole model in blocks, calibrated on training conversations: every matrix against what the loss feels of it.

1. One pass forward and backward of the full-precision model over a pack of conversations. The squared gradient at a
   matrix's output says how much each row matters there: attention reads some tokens again and again, and an error in
   those costs most.
2. A second pass, in which the full-precision model and the quantized one go through the layers side by side. A matrix
   is quantized when both its inputs are known: the quantized model's, which has come through everything quantized so
   far, and the full-precision one, towards whose outputs it is moved.

The head goes first, on the full-precision model's final states, because the embedding shares its storage and every
layer should see the embedding that ships.

Source: gradients as weights of GPTQ's rows, GuidedQuant (arXiv 2505.07004).
"""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

from tinsmith.export.blocks import Blocks, Refinement, round_to_nearest, unpack
from tinsmith.export.gptq import moved, prepare, quantize_matrix
from tinsmith.packed.decoder import Frozen, PackedDecoder, Take
from tinsmith.packed.loss import head_loss_sum
from tinsmith.packed.packing import Pack

EMBEDDING = "model.embed_tokens.weight"
HEAD = "lm_head.weight"

_REFINED_ROWS = 1023
"""Tokens with a refined row in the head; with a row of zeros for all others, a round number for GPU kernels.

In SmolLM2 tuned on a tea shop the 1,024 likeliest carry 88 % of what is predicted, and 0.3 MB.
"""


@dataclass(frozen=True, slots=True)
class Guide:
    """What the full-precision model says about a pack."""

    row_weights: dict[str, torch.Tensor]
    """For every matrix but embedding and head: the mean squared gradient at each row of its output (T,)."""
    finals: torch.Tensor
    """Final hidden states (N, D) where a supervised token is predicted."""


@dataclass(frozen=True, slots=True)
class Quantized:
    """A model in blocks."""

    matrices: dict[str, Blocks]
    """By parameter name."""
    refinement: Refinement | None = None
    losses: Mapping[str, float] = field(default_factory=dict)
    """For each matrix of the layers in 4 bits: the square errors of its outputs times their squared gradients, summed."""

    @property
    def nbytes(self) -> int:
        """Stored bytes."""
        refined = self.refinement.nbytes if self.refinement else 0
        return sum(blocks.nbytes for blocks in self.matrices.values()) + refined


def make_guide(model: Any, pack: Pack) -> Guide:
    """What the full-precision `model`, a frozen Transformers causal language model, says about `pack`."""
    names, squares = _names(model), {}

    def watch(module: Any) -> _Watched:
        return _Watched(module.weight, module.bias, lambda square: squares.__setitem__(names[module], square))

    embed = model.get_input_embeddings()
    decoder = PackedDecoder(
        model, watch, recomputed_layers=model.config.num_hidden_layers,
        embed=lambda ids: embed(ids).detach().requires_grad_(),
    )
    finals = decoder.hidden(pack)
    head_loss_sum(finals, decoder.head, pack.targets).backward()
    return Guide(squares, finals.detach())


@torch.no_grad()
def calibrate(model: Any, pack: Pack, guide: Guide, in_8_bits: Collection[str] = ()) -> Quantized:
    """Every matrix of `model` in 4 bits, and those of its layers that are named `in_8_bits` in 8.

    Args:
        model: The model that `guide` is from; its weights are replaced by what the blocks stand for.
    """
    matrices, refinement = _quantize_head(model, pack, guide.finals)
    calibration = _Calibration(model, guide.row_weights, in_8_bits)
    full = PackedDecoder(model, calibration.recording).layer_outputs(pack)
    drifted = PackedDecoder(model, calibration.quantizing).layer_outputs(pack)
    next(full)  # the embedding's rows, before its weights are replaced
    for name, blocks in matrices.items():
        replace(model.get_parameter(name), blocks)
    next(drifted)
    with tqdm(total=len(guide.row_weights), desc="GPTQ", unit="matrix", dynamic_ncols=True) as calibration.progress:
        for _ in zip(full, drifted, strict=True):
            pass
    quantized = Quantized(matrices | calibration.matrices, refinement, calibration.losses)
    _refine_head(model, quantized)
    return quantized


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
    values += unpack(refinement.blocks)[refinement.places]
    head.weight = torch.nn.Parameter(torch.from_numpy(values).to(head.weight), requires_grad=False)


def replace(weight: torch.Tensor, blocks: Blocks) -> None:
    """Put what `blocks` stand for in the place of `weight` (N, K)."""
    weight.data.copy_(torch.from_numpy(unpack(blocks)))


@dataclass(frozen=True, slots=True)
class _Watched(Frozen):
    """A linear layer that hands on the mean squared gradient at each row of its output (T,)."""

    see: Callable[[torch.Tensor], None]

    def backward(self, grad, x, kept, grad_x, needs_grad_x):
        self.see(torch.linalg.vector_norm(grad, dim=-1, dtype=torch.float32).square_().div_(grad.shape[1]))
        return Frozen.backward(self, grad, x, kept, grad_x, needs_grad_x)


class _Calibration:
    """Quantizes each linear layer of a model when both its inputs are known."""

    progress: tqdm

    def __init__(self, model: Any, row_weights: dict[str, torch.Tensor], in_8_bits: Collection[str]):
        self.matrices: dict[str, Blocks] = {}
        self.losses: dict[str, float] = {}
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
        unit = squares.mean()  # taken out and put back: as they come, they vanish beside GPTQ's damping
        inputs = prepare(x, squares / unit, self._full_inputs.pop(name))
        if name in self._in_8_bits:
            self.matrices[name] = round_to_nearest(moved(module.weight, inputs), bits=8)
        else:
            self.matrices[name], error = quantize_matrix(module.weight, inputs)
            self.losses[name] = error * unit.item()
        replace(module.weight, self.matrices[name])
        self.progress.update()


class _Seen:
    """A linear layer that shows its input before it computes; see `tinsmith.packed.decoder.Linear`."""

    trained = ()

    def __init__(self, module: Any, see: Callable[[torch.Tensor], None]):
        self._module, self._see = module, see

    def forward(self, take: Take, x: torch.Tensor) -> tuple[torch.Tensor, tuple[torch.Tensor, ...]]:
        self._see(x)
        return Frozen.of(self._module).forward(take, x)


def _quantize_head(model: Any, pack: Pack, finals: torch.Tensor) -> tuple[dict[str, Blocks], Refinement]:
    embedding, head = model.get_input_embeddings().weight, model.get_output_embeddings().weight
    is_tied = embedding.data_ptr() == head.data_ptr()
    inputs = prepare(finals)
    blocks, _ = quantize_matrix(head, inputs)
    counts = pack.targets.bincount(minlength=len(head))
    rows = counts.argsort(descending=True, stable=True)[: min(_REFINED_ROWS, len(head) // 16)]
    missing = head[rows].float() - torch.from_numpy(unpack(blocks)).to(head.device)[rows]
    nothing = torch.zeros_like(missing[:1])
    places = np.full(len(head), len(rows), np.int32)
    places[rows.cpu().numpy()] = np.arange(len(rows))
    refinement = Refinement(places, quantize_matrix(torch.cat([missing, nothing]), inputs)[0])
    return {EMBEDDING: blocks} if is_tied else {HEAD: blocks, EMBEDDING: round_to_nearest(embedding)}, refinement


def _names(model: Any) -> dict[Any, str]:
    return {module: f"{name}.weight" for name, module in model.named_modules()}
