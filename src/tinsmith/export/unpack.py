"""Where each matrix of the INT8 graph comes from and goes to, so that a page unpacks them itself in a tenth of the time.

ONNX Runtime can unpack a package's weights when it loads the INT8 graph, one constant after the other, with a copy of
everything at each. `web/unpack.js` does it in one pass over the bytes and hands the runtime what would have come out, to the
last bit: the same arithmetic, in halves and floats, is here in numpy, and its digest is in the package.
"""

import hashlib
import json
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir

from tinsmith.export.blocks import BLOCK_SIZE, Blocks, bits_of, integers_of

PLAN = "model_int8.json"
DATA = "model_int8.onnx_data"
"""What the page makes; no file of the package."""
LARGEST_LEVEL = 127
"""Of a level in 8 bits; -128 is left out, so that every level has its negative."""
MIDDLE = 128
"""What stands for zero in 8 bits. Both sides of a product are unsigned: of unsigned activations and signed weights, x86
processors without VNNI add two products in 16 bits, which overflow silently (`vpmaddubsw`); of unsigned ones none does."""
SMALLEST_STEP = 2.0**-24
"""The smallest half that is not zero."""
_ALIGNMENT = 64


@dataclass(slots=True)
class Plan:
    """What lies where in `DATA`."""

    products: list[dict[str, Any]] = field(default_factory=list)
    nbytes: int = 0

    def add(
        self, name: str, *parts: tuple[ir.ExternalTensor, ir.ExternalTensor], factors: np.ndarray | None
    ) -> tuple[ir.ExternalTensor, ir.ExternalTensor]:
        """Plan one product over `parts`, each its stored integers and scales; returns its weights (K, N) and scales (N,)."""
        columns = parts[0][1].shape[1] * BLOCK_SIZE
        rows = [packed.shape[0] for packed, _ in parts]
        self.products.append({
            "columns": columns, "weights_at": self._room(columns * sum(rows)), "scales_at": self._room(4 * sum(rows)),
            "factors": None if factors is None else factors.tolist(),
            "parts": [{"bits": bits_of(packed.shape), "rows": packed.shape[0], "file": str(packed.location),
                       "packed_at": packed.offset, "scales_at": scales.offset} for packed, scales in parts],
        })
        planned = self.products[-1]
        return (
            ir.ExternalTensor(DATA, planned["weights_at"], columns * sum(rows), ir.DataType.UINT8,
                              shape=ir.Shape([columns, sum(rows)]), name=f"{name}/int8/weights"),
            ir.ExternalTensor(DATA, planned["scales_at"], 4 * sum(rows), ir.DataType.FLOAT,
                              shape=ir.Shape([sum(rows)]), name=f"{name}/int8/scales"),
        )

    def _room(self, size: int) -> int:
        at = self.nbytes + -self.nbytes % _ALIGNMENT
        self.nbytes = at + size
        return at

    def to_json(self, folder: Path) -> str:
        """The plan with the digest of what comes out of the weights in `folder`."""
        digest = hashlib.sha256(self.unpacked(folder)).hexdigest()
        return json.dumps({"bytes": self.nbytes, "sha256": digest, "products": self.products}, separators=(",", ":"))

    def differences(self, int8_path: Path) -> int:
        """How many numbers of `unpacked` are not those that ONNX Runtime makes of the weights in the graph at `int8_path`."""
        data, found = self.unpacked(int8_path.parent), 0
        with tempfile.TemporaryDirectory(prefix="tinsmith-folded-", dir=int8_path.parent) as folder:
            graph = _folded(int8_path, Path(folder))
            products = [node for node in graph if node.op_type == "MatMulIntegerToFloat"]
            for product, planned in zip(products, self.products, strict=True):
                for value, at in ((product.inputs[1], planned["weights_at"]), (product.inputs[3], planned["scales_at"])):
                    wanted = value.const_value.numpy()
                    mine = data[at : at + wanted.nbytes].view(wanted.dtype).reshape(wanted.shape)
                    found += int((mine != wanted).sum())
        return found

    def unpacked(self, folder: Path) -> np.ndarray:
        """uint8 (bytes,): the content of `DATA`."""
        files = {part["file"] for product in self.products for part in product["parts"]}
        stored = {name: np.memmap(folder / name, np.uint8, "r") for name in files}
        data = np.zeros(self.nbytes, np.uint8)
        for product in self.products:
            parts = [_levels(part, product["columns"], product["factors"], stored[part["file"]]) for part in product["parts"]]
            levels, scales = (np.concatenate(found) for found in zip(*parts, strict=True))
            _write(data, product["weights_at"], levels.T)
            _write(data, product["scales_at"], scales)
        return data


def _folded(path: Path, folder: Path) -> ir.Graph:
    """The graph at `path` with its constants computed by ONNX Runtime; written to `folder`."""
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_BASIC
    options.optimized_model_filepath = str(folder / "folded.onnx")
    options.add_session_config_entry("session.optimized_model_external_initializers_file_name", "folded.data")
    options.add_session_config_entry("session.optimized_model_external_initializers_min_size_in_bytes", "1024")
    ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    return ir.load(folder / "folded.onnx").graph


def _levels(part: dict, columns: int, factors: list[float] | None, stored: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """uint8 (N, K) and the scale of each row (N,) float32, as ONNX Runtime folds the nodes of `int8._Rewriter._unpacked`."""
    rows, bits, blocks = part["rows"], part["bits"], columns // BLOCK_SIZE
    packed = stored[part["packed_at"] :][: rows * columns * bits // 8].reshape(rows, blocks, -1)
    scales = stored[part["scales_at"] :][: 2 * rows * blocks].view(np.float16).reshape(rows, blocks)
    wide = scales.astype(np.float32)
    if factors is not None:
        wide = wide * np.array(factors, np.float32)
        scales = wide.astype(np.float16)
    step = np.maximum(np.abs(wide).max(axis=1) * np.float32(2 ** (bits - 1) / LARGEST_LEVEL), np.float32(SMALLEST_STEP))
    step = step.astype(np.float16).astype(np.float32)
    values = (integers_of(Blocks(packed, scales)) * scales.astype(np.float32)[:, :, None]).astype(np.float16)
    levels = np.rint(values.astype(np.float32) / step[:, None, None]) + MIDDLE
    return levels.clip(0, 255).astype(np.uint8).reshape(rows, columns), step


def _write(data: np.ndarray, at: int, array: np.ndarray) -> None:
    content = np.ascontiguousarray(array).view(np.uint8).reshape(-1)
    data[at : at + len(content)] = content
