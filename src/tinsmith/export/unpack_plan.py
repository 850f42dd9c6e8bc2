"""Plans how a page unpacks the weights of its INT8 graph: where each matrix is stored, and where the result goes.

ONNX Runtime can unpack a package's weights when it loads an INT8 graph, but it processes one constant after another and
copies everything each time. `web/unpack.js` does it in one pass over the bytes, in a tenth of the time, with the same
result to the last bit. `tinsmith.model.int8_weights` does the same arithmetic in numpy; the plan contains the digest of
its result.
"""

import hashlib
import json
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir

from tinsmith.core.run_dir import read_json
from tinsmith.export.blocks import bits_of
from tinsmith.export.int8_products import StoredMatrix
from tinsmith.export.onnx_nodes import NodeMaker, external_tensor_of, input_of, shape_of, tensor_of
from tinsmith.model.int8_weights import padded, unpack, width_of
from tinsmith.model.package_format import UNPACKED_DATA, weights_files

_ALIGNMENT = 64


class Plan:
    """A `WeightSource` of tensors in the file `UNPACKED_DATA`, which exists in the page's memory only."""

    def __init__(self) -> None:
        self.products: list[dict[str, Any]] = []
        """One entry per product, in graph order; `web/unpack.js` describes the fields."""
        self.size_bytes = 0

    def weights(
        self, nodes: NodeMaker, graph: ir.Graph, products: Sequence[ir.Node], factors: np.ndarray | None
    ) -> tuple[ir.Value, ir.Value]:
        """Weights and scales of `products` side by side, as `WeightSource` describes them."""
        matrices = [StoredMatrix.of(graph, node) for node in products]
        columns = products[0].attributes["K"].as_int()
        total_rows = sum(shape_of(matrix.packed)[0] for matrix in matrices)
        width, rows = width_of(total_rows), padded(total_rows)
        weights_at, scales_at = self._reserve(columns * rows), self._reserve(4 * rows)
        self.products.append(
            {
                "columns": columns,
                "width": width,
                "weights_at": weights_at,
                "scales_at": scales_at,
                "factors": None if factors is None else factors.tolist(),
                "parts": [_part(matrix) for matrix in matrices],
            }
        )
        is_wide, name = width < rows, f"{products[0].name}/int8"
        weights_shape = [rows // width, columns, width] if is_wide else [columns, rows]
        scales_shape = [rows // width, 1, width] if is_wide else [rows]
        return (
            nodes.stored(_tensor(f"{name}/weights", weights_at, columns * rows, ir.DataType.UINT8, weights_shape)),
            nodes.stored(_tensor(f"{name}/scales", scales_at, 4 * rows, ir.DataType.FLOAT, scales_shape)),
        )

    def _reserve(self, size_bytes: int) -> int:
        start = self.size_bytes + -self.size_bytes % _ALIGNMENT
        self.size_bytes = start + size_bytes
        return start

    def to_json(self, graphs_dir: Path) -> str:
        """The plan as JSON, with the sizes of the weights files in `graphs_dir` and the digest of the result."""
        unpacked = unpack(self.products, self.size_bytes, graphs_dir)
        return json.dumps(
            {
                "bytes": self.size_bytes,
                "sha256": hashlib.sha256(unpacked.data).hexdigest(),
                "files": {path.name: path.stat().st_size for path in weights_files(graphs_dir)},
                "products": self.products,
            },
            separators=(",", ":"),
        )


def _part(matrix: StoredMatrix) -> dict[str, Any]:
    """Where one matrix is stored in the package's files."""
    packed, scales = external_tensor_of(matrix.packed), external_tensor_of(matrix.scales)
    part = {
        "bits": bits_of(shape_of(matrix.packed)),
        "rows": shape_of(matrix.packed)[0],
        "file": str(packed.location),
        "packed_at": packed.offset,
        "scales_at": scales.offset,
    }
    return part if matrix.zeros is None else part | {"zeros_at": external_tensor_of(matrix.zeros).offset}


def _tensor(name: str, start: int, size_bytes: int, dtype: ir.DataType, shape: list[int]) -> ir.ExternalTensor:
    return ir.ExternalTensor(UNPACKED_DATA, start, size_bytes, dtype, name=name, shape=ir.Shape(shape))


def count_differences(plan_path: Path, folding_path: Path) -> tuple[int, int]:
    """Compare the weights unpacked by the plan with those that ONNX Runtime unpacks.

    Args:
        plan_path: The plan, beside the package's weights.
        folding_path: The graph for ONNX Runtime with the same products, in the same folder.

    Returns:
        How many numbers differ, and how many bytes were compared.
    """
    plan = read_json(plan_path)
    unpacked, differences = unpack(plan["products"], plan["bytes"], plan_path.parent), 0
    with tempfile.TemporaryDirectory(prefix="tinsmith-folded-", dir=folding_path.parent) as folder:
        graph = _folded(folding_path, Path(folder))
        products = [node for node in graph if node.op_type == "MatMulIntegerToFloat"]
        for product, planned in zip(products, plan["products"], strict=True):
            for index, start in ((1, planned["weights_at"]), (3, planned["scales_at"])):
                expected = tensor_of(input_of(product, index)).numpy()
                planned_values = unpacked[start : start + expected.nbytes].view(expected.dtype).reshape(expected.shape)
                differences += int((planned_values != expected).sum())
    return differences, plan["bytes"]


def _folded(path: Path, folder: Path) -> ir.Graph:
    """Let ONNX Runtime fold the constants of the graph at `path`, and load the result from `folder`."""
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_BASIC
    options.optimized_model_filepath = str(folder / "folded.onnx")
    options.add_session_config_entry("session.optimized_model_external_initializers_file_name", "folded.data")
    options.add_session_config_entry("session.optimized_model_external_initializers_min_size_in_bytes", "1024")
    ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    return ir.load(folder / "folded.onnx").graph
