"""Describes in `export.json` how a package was made."""

from collections import Counter
from pathlib import Path
from typing import Any

import onnx_ir as ir

from tinsmith.core.config import ExportConfig
from tinsmith.core.run_dir import tree_sha256s
from tinsmith.export.blocks import BLOCK_SIZE, bits_of
from tinsmith.export.graphs.sources import Source
from tinsmith.export.onnx_nodes import shape_of, tensor_of
from tinsmith.export.search import RECIPES, Choice
from tinsmith.model.package_format import FLOAT32

_MIN_LISTED_BYTES = 1024


def export_record(source: Source, config: ExportConfig, choice: Choice, calibration_tokens: int) -> dict[str, Any]:
    """The content of `export.json` but for the stage's `seconds`."""
    package_dir = source.package_dir
    graph = ir.load(package_dir / FLOAT32.file).graph
    return {
        "recipe": choice.recipe,
        "block_size": BLOCK_SIZE,
        "settings": {"max_bits_per_parameter": config.max_bits_per_parameter},
        "parameters": source.parameters,
        "layers": source.decoder.layers,
        "calibration_tokens": calibration_tokens,
        "calibration_conversations": 0 if choice.recipe == "rtn" else len(source.conversations),
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
