"""Where the weights of a decoder plan are stored."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir

from tinsmith.export.blocks import BLOCK_SIZE, Blocks, bits_of, unpack
from tinsmith.export.graph_patterns import GraphPatterns, attribute
from tinsmith.export.onnx_nodes import external_tensor_of, input_of, shape_of

_PRODUCT = ("N", "K", "bits", "block_size")


def product_matrix(graph: GraphPatterns, product: ir.Value) -> tuple[dict[str, Any], ir.Value]:
    """The matrix of a MatMulNBits, and what it is multiplied by."""
    node = graph.node(product, "MatMulNBits", _PRODUCT)
    zeros = node.inputs[3] if len(node.inputs) > 3 else None
    matrix = matrix_of(graph, input_of(node, 1), input_of(node, 2), zeros)
    stated = (*(attribute(node, name) for name in ("N", "K", "bits")), attribute(node, "block_size"))
    stored = (matrix["rows"], matrix["columns"], matrix["bits"], BLOCK_SIZE)
    graph.require(stated == stored, f"{node.name} says its matrix is {stated}, stored is {stored}")
    return matrix, input_of(node, 0)


def matrix_of(graph: GraphPatterns, packed: ir.Value, scales: ir.Value, zeros: ir.Value | None) -> dict[str, Any]:
    """Sizes of a matrix in blocks, and where its parts lie in the package's files; `scales` are cast to float32."""
    rows, blocks, _ = shape_of(packed)
    bits = bits_of(shape_of(packed))
    stored_scales = graph.chain(scales, "Cast", attributes=("to",))
    tensors = {"packed_at": external_tensor_of(packed), "scales_at": external_tensor_of(stored_scales)}
    graph.require(bits in (4, 8), f"{packed.name} has {bits} bits per weight")
    graph.require((zeros is not None) == (bits == 4), f"{packed.name}: only matrices of 4 bits have zero points")
    graph.require(tensors["scales_at"].dtype == ir.DataType.FLOAT16, f"{stored_scales.name} is not float16")
    graph.require(shape_of(stored_scales) == (rows, blocks), f"{stored_scales.name} has another shape than its matrix")
    if zeros is not None:
        graph.require(shape_of(zeros) == (rows, (blocks + 1) // 2), f"{zeros.name} has another shape than its matrix")
        tensors["zeros_at"] = external_tensor_of(zeros)
    files = {str(tensor.location) for tensor in tensors.values()}
    graph.require(len(files) == 1, f"the parts of {packed.name} lie in several files")
    places = {name: tensor.offset for name, tensor in tensors.items()}
    return {"bits": bits, "rows": rows, "columns": blocks * BLOCK_SIZE, "file": files.pop(), **places}


def vector_of(graph: GraphPatterns, value: ir.Value) -> dict[str, Any]:
    """Where a float32 vector lies in the package's files, or its values if it is stored in the graph."""
    array = graph.constant(value)
    graph.require(array.dtype == "float32" and array.ndim == 1, f"{value.name} is not a float32 vector")
    if isinstance(value.const_value, ir.ExternalTensor):
        stored = external_tensor_of(value)
        return {"file": str(stored.location), "at": stored.offset, "length": len(array)}
    return {"values": array.tolist(), "length": len(array)}


def last_row_of(matrix: dict[str, Any], folder: Path) -> np.ndarray:
    """The last row (1, columns) of a matrix whose file lies in `folder`."""
    rows, bits, blocks = matrix["rows"], matrix["bits"], matrix["columns"] // BLOCK_SIZE

    def last(part: str, shape: tuple[int, ...], dtype: type) -> np.ndarray:
        count = int(np.prod(shape))
        start = matrix[part] + (rows - 1) * count * np.dtype(dtype).itemsize
        return np.fromfile(folder / matrix["file"], dtype, count, offset=start).reshape(1, *shape)

    packed = last("packed_at", (blocks, BLOCK_SIZE * bits // 8), np.uint8)
    zeros = last("zeros_at", ((blocks + 1) // 2,), np.uint8) if bits == 4 else None
    return unpack(Blocks(packed, last("scales_at", (blocks,), np.float16), zeros))
