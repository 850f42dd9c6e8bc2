"""The ONNX graph of an encoder: a BERT without its word table, whose output is the mean of the last hidden states.

Weights are named in the graph and stored in one buffer beside it, which is unpacked from the encoder's 4-bit file.

Source: Devlin et al. 2019, BERT, https://arxiv.org/abs/1810.04805; operators of com.microsoft in onnxruntime's
docs/ContribOperators.md.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper

_CONTRIB = "com.microsoft"
_OPSET = 18
_IR_VERSION = 9


@dataclass(frozen=True, slots=True)
class Shape:
    """Sizes of an encoder."""

    layers: int
    heads: int
    dimension: int
    epsilon: float
    """Added to the variance in layer norms."""


@dataclass(frozen=True, slots=True)
class Slot:
    """Where an initializer lies in the buffer."""

    dtype: int
    """An ONNX data type."""
    shape: tuple[int, ...]
    at: int
    """Offset in bytes."""


def write_graph(path: Path, shape: Shape, slots: dict[str, Slot], data_name: str) -> None:
    """Write the graph that maps `embeddings` float32 (1, S, D) to `vector` float32 (1, D) of unit length.

    Args:
        path: The graph's file.
        shape: Sizes of the encoder.
        slots: Initializers by name: `<layer>.<qkv|output|up|down>.levels` (int8), `.scales`, `.bias`, and the norms
            `<embedding_norm|<layer>.attention_norm|<layer>.output_norm>.<weight|bias>` (float32).
        data_name: Name under which runtimes are given the buffer.
    """
    graph = _Graph(slots, data_name)
    hidden = graph.norm("embedding_norm", "embeddings", None, shape.epsilon)
    for layer in range(shape.layers):
        product = graph.linear(f"{layer}.qkv", hidden)
        query, key, value = graph.op("Split", [product], 3, axis=-1, num_outputs=3)
        (mixed,) = graph.op("MultiHeadAttention", [query, key, value], domain=_CONTRIB, num_heads=shape.heads)
        hidden = graph.norm(f"{layer}.attention_norm", hidden, graph.linear(f"{layer}.output", mixed), shape.epsilon)
        (inner,) = graph.op("Gelu", [graph.linear(f"{layer}.up", hidden)], domain=_CONTRIB)
        hidden = graph.norm(f"{layer}.output_norm", hidden, graph.linear(f"{layer}.down", inner), shape.epsilon)
    axis = graph.constant("mean_axis", np.array([1], np.int64))
    (mean,) = graph.op("ReduceMean", [hidden, axis], keepdims=0)
    graph.op("LpNormalization", [mean], outputs=["vector"], axis=-1, p=2)
    size = shape.dimension
    inputs = [helper.make_tensor_value_info("embeddings", TensorProto.FLOAT, [1, "tokens", size])]
    outputs = [helper.make_tensor_value_info("vector", TensorProto.FLOAT, [1, size])]
    opsets = [helper.make_opsetid("", _OPSET), helper.make_opsetid(_CONTRIB, 1)]
    proto = helper.make_graph(graph.nodes, "encoder", inputs, outputs, graph.initializers)
    model = helper.make_model(proto, opset_imports=opsets, ir_version=_IR_VERSION, producer_name="tinsmith")
    path.write_bytes(model.SerializeToString(deterministic=True))


def with_data(graph: bytes, data: bytes) -> bytes:
    """The graph with its weights inside. ONNX Runtime takes external data from files only, except in browsers."""
    model = onnx.load_model_from_string(graph)
    for tensor in model.graph.initializer:
        if tensor.data_location == TensorProto.EXTERNAL:
            place = {entry.key: entry.value for entry in tensor.external_data}
            start = int(place["offset"])
            tensor.raw_data = data[start : start + int(place["length"])]
            tensor.data_location = TensorProto.DEFAULT
            del tensor.external_data[:]
    return model.SerializeToString()


class _Graph:
    """Collects nodes and initializers."""

    def __init__(self, slots: dict[str, Slot], data_name: str) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.initializers: list[onnx.TensorProto] = []
        self._slots, self._data_name = slots, data_name

    def op(
        self,
        kind: str,
        inputs: Sequence[str],
        count: int = 1,
        outputs: Sequence[str] = (),
        domain: str = "",
        **attributes: int | float,
    ) -> list[str]:
        """Names of the outputs of a new node."""
        names = list(outputs) or [f"{len(self.nodes)}_{index}" for index in range(count)]
        node = helper.make_node(kind, list(inputs), names, domain=domain)
        node.attribute.extend(helper.make_attribute(key, value) for key, value in sorted(attributes.items()))
        self.nodes.append(node)
        return names

    def constant(self, name: str, array: np.ndarray) -> str:
        """A small constant, stored in the graph."""
        self.initializers.append(onnx.numpy_helper.from_array(array, name))
        return name

    def stored(self, name: str) -> str:
        """An initializer that lies in the buffer."""
        slot = self._slots[name]
        tensor = TensorProto(name=name, data_type=slot.dtype, dims=slot.shape)
        size = int(np.prod(slot.shape)) * (1 if slot.dtype == TensorProto.INT8 else 4)
        tensor.data_location = TensorProto.EXTERNAL
        for key, value in (("location", self._data_name), ("offset", slot.at), ("length", size)):
            tensor.external_data.add(key=key, value=str(value))
        self.initializers.append(tensor)
        return name

    def linear(self, name: str, hidden: str) -> str:
        """Multiply by INT8 weights. Inputs are rounded to INT8 too, and the rest of the rounding in a second product.

        A few channels of these inputs are twenty times the others, so one rounding loses what tells texts apart:
        cosines with the unrounded encoder were 0.994 and 0.997, and a rounding that fell otherwise in a browser moved
        one score in ten. After the second rounding they are 1.0000.
        """
        levels, scales, bias = (self.stored(f"{name}.{part}") for part in ("levels", "scales", "bias"))
        rounded = self.op("DequantizeLinear", self.op("DynamicQuantizeLinear", [hidden], 3))[0]
        rest = self.op("Sub", [hidden, rounded])[0]
        (product,) = self.op("DynamicQuantizeMatMul", [rounded, levels, scales, "", bias], domain=_CONTRIB)
        (correction,) = self.op("DynamicQuantizeMatMul", [rest, levels, scales], domain=_CONTRIB)
        return self.op("Add", [product, correction])[0]

    def norm(self, name: str, hidden: str, added: str | None, epsilon: float) -> str:
        """Layer norm of `hidden`, or of its sum with `added`."""
        weight, bias = self.stored(f"{name}.weight"), self.stored(f"{name}.bias")
        if added is None:
            (normed,) = self.op("LayerNormalization", [hidden, weight, bias], axis=-1, epsilon=epsilon)
        else:
            inputs = [hidden, added, weight, bias]
            (normed,) = self.op("SkipLayerNormalization", inputs, domain=_CONTRIB, epsilon=epsilon)
        return normed
