"""Inputs for building graphs, and references for checking them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import onnx_ir as ir

from tinsmith.export.decoder_nodes import Weights
from tinsmith.export.parity import Gates, Logits, Probe
from tinsmith.model.families import Decoder
from tinsmith.model.package_format import FLOAT32
from tinsmith.model.tokens import Tokens


@dataclass(frozen=True, slots=True)
class Source:
    """What graphs are built from."""

    package_dir: Path
    decoder: Decoder
    weights: Weights
    """In the package's block format."""
    parameters: int
    conversations: Sequence[Tokens]
    """Training conversations to measure activations on."""
    gates: Gates


@dataclass(frozen=True, slots=True)
class Checked:
    """A complete package, and the logits that its graphs should compute."""

    package_dir: Path
    gates: Gates
    probe: Probe
    expected: Logits
    """Logits of the model with the package's weights."""
    float32: Logits
    """Logits of the float32 graph."""

    def gate_attention(self, kind: str, rewrite: Callable[[ir.Model], ir.Model]) -> None:
        """Require that the float32 graph with its attention replaced by `rewrite` computes the model's logits.

        A whole INT8 graph differs too much from the model for this comparison.
        """
        path = (self.package_dir / FLOAT32.file).with_name("attention.onnx")  # beside its weights
        ir.save(rewrite(ir.load(self.package_dir / FLOAT32.file)), path)
        try:
            logits = self.probe.graph_logits(path)
        finally:
            path.unlink()
        self.gates.require_same(kind, self.expected, logits)
