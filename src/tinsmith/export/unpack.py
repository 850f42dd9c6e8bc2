"""Where each matrix of the INT8 graph comes from and goes to, so that a page unpacks them itself in a tenth of the time.

ONNX Runtime can unpack a package's weights when it loads the INT8 graph, one constant after the other, with a copy of
everything at each. `web/unpack.js` does it in one pass over the bytes and hands the runtime what would have come out, to the
last bit: the same arithmetic is `tinsmith.model.int8_weights` in numpy, and its digest is in the package.
"""

import hashlib
import json
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir

from tinsmith.export.blocks import BLOCK_SIZE, bits_of
from tinsmith.model.int8_weights import padded, unpack, width_of
from tinsmith.model.package_format import UNPACKED_DATA, weights_files

_ALIGNMENT = 64


@dataclass(slots=True)
class Plan:
    """What lies where in `UNPACKED_DATA`."""

    products: list[dict[str, Any]] = field(default_factory=list)
    nbytes: int = 0

    def add(
        self,
        name: str,
        *parts: tuple[ir.ExternalTensor, ir.ExternalTensor, ir.ExternalTensor | None],
        factors: np.ndarray | None,
    ) -> tuple[ir.ExternalTensor, ir.ExternalTensor]:
        """Plan one product over `parts`, each its stored integers, scales and zero points.

        Returns:
            Its weights (K, N) and scales (N,), or those of a wide one in matrices (M, K, N / M) and (M, 1, N / M).
        """
        columns = parts[0][1].shape[1] * BLOCK_SIZE
        own = sum(packed.shape[0] for packed, *_ in parts)
        width, rows = width_of(own), padded(own)
        self.products.append(
            {
                "columns": columns,
                "width": width,
                "weights_at": self._room(columns * rows),
                "scales_at": self._room(4 * rows),
                "factors": None if factors is None else factors.tolist(),
                "parts": [
                    {
                        "bits": bits_of(packed.shape),
                        "rows": packed.shape[0],
                        "file": str(packed.location),
                        "packed_at": packed.offset,
                        "scales_at": scales.offset,
                    }
                    | ({"zeros_at": zeros.offset} if zeros else {})
                    for packed, scales, zeros in parts
                ],
            }
        )
        planned, is_wide = self.products[-1], width < rows
        return (
            ir.ExternalTensor(
                UNPACKED_DATA,
                planned["weights_at"],
                columns * rows,
                ir.DataType.UINT8,
                name=f"{name}/int8/weights",
                shape=ir.Shape([rows // width, columns, width] if is_wide else [columns, rows]),
            ),
            ir.ExternalTensor(
                UNPACKED_DATA,
                planned["scales_at"],
                4 * rows,
                ir.DataType.FLOAT,
                name=f"{name}/int8/scales",
                shape=ir.Shape([rows // width, 1, width] if is_wide else [rows]),
            ),
        )

    def _room(self, size: int) -> int:
        at = self.nbytes + -self.nbytes % _ALIGNMENT
        self.nbytes = at + size
        return at

    def to_json(self, folder: Path) -> str:
        """The plan with the size of every file of weights in `folder`, and the digest of what comes out of them."""
        digest = hashlib.sha256(unpack(self.products, self.nbytes, folder)).hexdigest()
        files = {path.name: path.stat().st_size for path in weights_files(folder)}
        return json.dumps(
            {"bytes": self.nbytes, "sha256": digest, "files": files, "products": self.products}, separators=(",", ":")
        )

    def differences(self, int8_path: Path) -> int:
        """How many numbers of what is unpacked are not those that ONNX Runtime makes of the weights in the graph at `int8_path`."""
        data, found = unpack(self.products, self.nbytes, int8_path.parent), 0
        with tempfile.TemporaryDirectory(prefix="tinsmith-folded-", dir=int8_path.parent) as folder:
            graph = _folded(int8_path, Path(folder))
            products = [node for node in graph if node.op_type == "MatMulIntegerToFloat"]
            for product, planned in zip(products, self.products, strict=True):
                for value, at in (
                    (product.inputs[1], planned["weights_at"]),
                    (product.inputs[3], planned["scales_at"]),
                ):
                    wanted = value.const_value.numpy()
                    mine = data[at : at + wanted.nbytes].view(wanted.dtype).reshape(wanted.shape)
                    found += int((mine != wanted).sum())
        return found


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
