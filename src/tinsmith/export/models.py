"""Loads the tuned model, and measures how well a model predicts conversations, to compare INT4 recipes."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import safe_open
from tqdm import tqdm

from tinsmith.core.device import Device, return_freed_memory
from tinsmith.core.run_dir import entries
from tinsmith.export.calibrate import Quantized
from tinsmith.export.decoder_nodes import Weights
from tinsmith.model.families import decoder_of
from tinsmith.model.load import load_model
from tinsmith.model.memory import working_bytes
from tinsmith.model.packed.decoder import PackedDecoder
from tinsmith.model.packed.loss import head_loss_sum
from tinsmith.model.packed.operations import Frozen
from tinsmith.model.packed.packing import make_pack
from tinsmith.model.packed.passes import Passes, passes_on
from tinsmith.model.tokens import Tokens

_ON_CPU = Passes(conversations=4, rows=4096)


class StoredWeights:
    """The tuned model's own weights, read from its files on demand."""

    def __init__(self, model_dir: Path) -> None:
        files = [safe_open(path, "pt") for path in entries(model_dir, "*.safetensors")]
        self._files = {name: file for file in files for name in file.keys()}

    def __call__(self, name: str) -> torch.Tensor:
        """The stored tensor of a parameter."""
        return self._files[name].get_tensor(name)

    @property
    def names(self) -> list[str]:
        """Names of all parameters."""
        return list(self._files)

    @property
    def count(self) -> int:
        """Number of parameters."""
        return sum(math.prod(file.get_slice(name).get_shape()) for name, file in self._files.items())


def full_precision_weights(model_dir: Path) -> Weights:
    """The weights in `model_dir` in float32."""
    stored = StoredWeights(model_dir)

    def array(name: str) -> np.ndarray:
        return stored(name).float().numpy()

    return Weights(matrix=array, vector=array)


def quantized_weights(model_dir: Path, quantized: Quantized) -> Weights:
    """The matrices of `quantized`, and everything else from `model_dir` in float32."""
    full_precision = full_precision_weights(model_dir)
    return Weights(quantized.matrices.__getitem__, full_precision.vector, quantized.refinement)


def frozen_model(model_dir: Path, device: Device) -> Any:
    """The causal language model in `model_dir`, frozen, on `device` and in its format."""
    return load_model(model_dir, device.dtype, device.device).requires_grad_(False)


@torch.no_grad()
def conversation_losses(model: Any, conversations: Sequence[Tokens]) -> list[float]:
    """Summed negative log-likelihood of each conversation's supervised tokens, in nats."""
    decoder = PackedDecoder(model, Frozen.of)
    row_bytes = working_bytes(decoder_of(model.config), decoder.head.dtype.itemsize)
    passes = passes_on(decoder.head.device, _ON_CPU, row_bytes)
    losses: dict[int, float] = {}
    for group in tqdm(passes.groups(conversations), desc="validation", unit="pass", dynamic_ncols=True):
        pack = make_pack([conversations[index] for index in group], decoder.head.device)
        states = decoder.hidden(passes.filled(pack))[: len(pack.targets)].split(pack.supervised)
        for index, own, targets in zip(group, states, pack.targets.split(pack.supervised), strict=True):
            losses[index] = head_loss_sum(own, decoder.head, targets).item()
        if decoder.head.device.type == "cpu":
            return_freed_memory()
    return [losses[index] for index in range(len(conversations))]
