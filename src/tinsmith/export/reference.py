"""Computes reference logits with the Transformers model, and proves that the graph builder matches it."""

import shutil
from pathlib import Path

import torch

from tinsmith.core.device import Device
from tinsmith.export.calibrate import Quantized, apply_quantized
from tinsmith.export.decoder_graph import build_decoder
from tinsmith.export.models import frozen_model, full_precision_weights
from tinsmith.export.package import save_graph
from tinsmith.export.parity import Gates, Logits, Probe
from tinsmith.model.families import Decoder

_CPU = Device(torch.device("cpu"), torch.float32, "graphs are compared in float32 on the CPU")
_MAX_FILE_BYTES = 2_000_000_000


def check_full_precision(gates: Gates, model_dir: Path, decoder: Decoder, probe: Probe, folder: Path) -> None:
    """Require that the full-precision graph computes the model's logits.

    Args:
        gates: Judge the logits.
        model_dir: The tuned model.
        decoder: Its shape.
        probe: Tokens to compare on.
        folder: Temporary folder for the graph; removed afterwards.

    Raises:
        GateError: the graph computes other logits.
    """
    expected = probe.model_logits(frozen_model(model_dir, _CPU))
    save_graph(build_decoder(decoder, full_precision_weights(model_dir)), folder / "model.onnx", _MAX_FILE_BYTES)
    logits = probe.graph_logits(folder / "model.onnx")
    shutil.rmtree(folder)
    gates.require_same("graph", expected, logits)


def quantized_logits(model_dir: Path, quantized: Quantized, probe: Probe) -> Logits:
    """Logits of the Transformers model with the weights that numpy unpacks; it is freed before any graph is loaded."""
    model = frozen_model(model_dir, _CPU)
    apply_quantized(model, quantized)
    return probe.model_logits(model)
