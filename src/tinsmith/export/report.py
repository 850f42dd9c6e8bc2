"""Records the sizes of a finished package, and describes in `export.json` how it was made."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import onnx_ir as ir

from tinsmith.core.config import ExportConfig
from tinsmith.core.measure import Recorder
from tinsmith.core.run_dir import tree_sha256s
from tinsmith.export.blocks import BLOCK_SIZE, bits_of
from tinsmith.export.onnx_nodes import shape_of, tensor_of
from tinsmith.export.package import download_bytes, graph_and_weights, weights_bytes
from tinsmith.export.search import RECIPES, Choice
from tinsmith.model.package_format import FLOAT32
from tinsmith.model.tokens import Tokens

_LAYER_BYTES = 50_000
"""Bytes allowed for a layer's nodes, norms and biases, on top of `export.max_bits_per_parameter`."""
_MIN_LISTED_BYTES = 1024


def record_size(recorder: Recorder, config: ExportConfig, package_dir: Path, parameters: int, layers: int) -> None:
    """Record the package's sizes, and gate the size of its weights.

    Raises:
        GateError: the weights are larger than the configuration allows.
    """
    size, files = weights_bytes(package_dir), len(graph_and_weights(package_dir))
    method = "tinsmith.export.package.weights_bytes"
    recorder.add("export.weights_bytes", size, "bytes", files, "files", method)
    recorder.add(
        "export.download_bytes",
        download_bytes(package_dir),
        "bytes",
        files + 4,
        "files",
        "tinsmith.export.package.download_bytes",
    )
    recorder.gate(
        "gate.export.weights_bytes",
        size,
        "<=",
        config.max_bits_per_parameter * parameters / 8 + _LAYER_BYTES * layers,
        "bytes",
        files,
        "files",
        method,
        "A tensor is stored twice or in too many bits. Please report the model.",
    )
    recorder.add("export.bits_per_parameter", 8 * size / parameters, "bits/parameter", parameters, "parameters", method)
    recorder.add("export.block_size", BLOCK_SIZE, "weights", 1, "settings", "tinsmith.export.blocks")


def record_calibration(recorder: Recorder, choice: Choice, calibration: Sequence[Tokens]) -> None:
    """Record how many conversations the recipe was calibrated on."""
    count = 0 if choice.recipe == "rtn" else len(calibration)
    recorder.add("export.calibration_conversations", count, "count", 1, "settings", choice.recipe)


def export_record(package_dir: Path, choice: Choice, calibration_tokens: int) -> dict[str, Any]:
    """The content of `export.json`."""
    graph = ir.load(package_dir / FLOAT32.file).graph
    return {
        "recipe": choice.recipe,
        "block_size": BLOCK_SIZE,
        "calibration_tokens": calibration_tokens,
        "operators": dict(sorted(Counter(node.op_type for node in graph).items())),
        "quantization": describe_quantization(choice),
        "recipes": [{"name": trial.recipe, "made": RECIPES[trial.recipe]} for trial in choice.trials],
        "tensors": _tensor_table(graph),
        "files": _file_table(package_dir),
    }


def describe_quantization(choice: Choice) -> str:
    """The recipe and its format in words, for the card."""
    in_8_bits = sum(blocks.bits == 8 for blocks in choice.model.matrices.values())
    text = f"{RECIPES[choice.recipe]}; blocks of {BLOCK_SIZE} weights with a float16 scale and a zero point of 4 bits"
    if not in_8_bits:
        return text
    return f"{text}; {in_8_bits} of {len(choice.model.matrices)} matrices in 8 bits, without zero points"


def _tensor_table(graph: ir.Graph) -> list[dict]:
    """Every stored tensor of 1 kB or more, largest first."""
    rows = [
        {"name": name, "bits": _bits(name, value), "bytes": tensor_of(value).nbytes}
        for name, value in graph.initializers.items()
        if tensor_of(value).nbytes >= _MIN_LISTED_BYTES
    ]
    return sorted(rows, key=lambda row: (-row["bytes"], row["name"]))


def _bits(name: str, value: ir.Value) -> float:
    """Bits per number of a stored tensor."""
    if name.endswith(".zeros"):
        return 4
    return bits_of(shape_of(value)) if name.endswith(".packed") else 8 * tensor_of(value).dtype.itemsize


def _file_table(package_dir: Path) -> list[dict]:
    return [
        {"path": name, "bytes": (package_dir / name).stat().st_size, "sha256": digest}
        for name, digest in tree_sha256s(package_dir).items()
    ]
