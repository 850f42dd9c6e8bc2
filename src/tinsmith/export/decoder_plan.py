"""Plans how a program without ONNX Runtime computes the decoder: its layers, and where their weights are stored.

The plan is derived from the float32 graph, so it cannot disagree with it: the graph is followed from its logits to its
inputs, and a node that is not understood stops the export. `docs/web-gpu.md` describes the plan; `web/gpu/` runs it.
"""

from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir

from tinsmith.export.graph_patterns import GraphPatterns, attribute
from tinsmith.export.onnx_nodes import external_tensor_of, input_of, producer_of
from tinsmith.export.plan_inputs import embedding_of, rotation_of
from tinsmith.export.plan_weights import last_row_of, product_matrix, vector_of
from tinsmith.model.package_format import weights_files

FORMAT = 1
"""Version of the plan's fields; `web/gpu/plan.js` knows one."""
_SUM = 3
"""Output of SkipSimplifiedLayerNormalization with the sum of its inputs."""
_NORM = ("epsilon", "axis", "stash_type")
_ATTENTION = ("num_heads", "kv_num_heads", "scale", "local_window_size")

Plan = dict[str, Any]


def decoder_plan(path: Path) -> Plan:
    """The plan of the float32 graph at `path`, whose weights lie beside it.

    Raises:
        ArtifactError: the graph contains something that no plan describes.
    """
    return _Walk(GraphPatterns(path)).plan()


class _Walk:
    """Follows the graph of a decoder from its last layer to its first."""

    def __init__(self, graph: GraphPatterns) -> None:
        self._graph = graph
        self._ropes: list[Plan] = []

    def plan(self) -> Plan:
        graph = self._graph
        logits = next(value for value in graph.graph.outputs if value.name == "logits")
        head, refinement, kept = self._head(logits)
        normed = self._kept_rows(kept)
        final_norm, residual, change = self._norm_of_sum(normed)
        layers: list[Plan] = []
        count = sum(value.name == f"past_key_values.{index}.key" for index, value in _cache_inputs(graph))
        for index in reversed(range(count)):
            layer, residual, change = self._layer(index, residual, change)
            layers.insert(0, layer)
        graph.require(change is None, "the first layer's input is not the embedding alone")
        embedding, scale = embedding_of(graph, residual)
        graph.check_all_understood()
        shape = graph.inputs["past_key_values.0.key"].shape
        assert shape is not None
        return {
            "format": FORMAT,
            "hidden": head["columns"],
            "inner": layers[0]["down"]["columns"],
            "vocabulary": head["rows"],
            "heads": self._common(layers, "heads"),
            "kv_heads": int(str(shape[1])),
            "head_size": int(str(shape[3])),
            "activation": self._common(layers, "activation"),
            "files": {file.name: file.stat().st_size for file in weights_files(graph.path.parent)},
            "ropes": self._ropes,
            "embedding": {"matrix": embedding, "scale": scale},
            "layers": layers,
            "norm": final_norm,
            "head": head,
            "refinement": refinement,
        }

    def _common(self, layers: list[Plan], part: str) -> Any:
        """Take a part that all layers share out of them."""
        values = {layer.pop(part) for layer in layers}
        self._graph.require(len(values) == 1, f"layers differ in {part}: {values}")
        return values.pop()

    def _head(self, logits: ir.Value) -> tuple[Plan, Plan | None, ir.Value]:
        """The head's matrix, its refinement, and its input."""
        graph = self._graph
        if not graph.is_made_by(logits, "Add"):
            head, kept = product_matrix(graph, logits)
            return head, None, kept
        total = graph.node(logits, "Add")
        head, kept = product_matrix(graph, input_of(total, 0))
        spread = graph.node(input_of(total, 1), "Gather", ("axis",))
        graph.require(attribute(spread, "axis") == 2, "refined rows are not gathered by token")
        shares = input_of(spread, 0)
        matrix, also_kept = product_matrix(graph, shares)
        graph.require_same(kept, also_kept, "the input of the head and of its refinement")
        places = external_tensor_of(input_of(spread, 1))
        graph.require(not last_row_of(matrix, graph.path.parent).any(), "the last refined row is not zero")
        view = {"file": str(places.location), "at": places.offset, "length": head["rows"]}
        return head, {"matrix": matrix, "places": view}, kept

    def _kept_rows(self, kept: ir.Value) -> ir.Value:
        """What the rows that the head reads are cut from."""
        graph = self._graph
        cut = graph.node(kept, "Slice")
        keep = graph.chain(input_of(cut, 1), "Neg", "Reshape")
        graph.require_same(keep, graph.inputs["num_logits_to_keep"], "the number of rows for the head")
        return input_of(cut, 0)

    def _norm_of_sum(self, normed: ir.Value) -> tuple[Plan, ir.Value, ir.Value | None]:
        """A norm that reads the residual stream: its weight, the stream before it, and what it adds to the stream."""
        graph = self._graph
        if graph.is_made_by(normed, "SimplifiedLayerNormalization"):
            norm, stream = self._norm(normed)
            return norm, stream, None
        node = graph.node(normed, "SkipSimplifiedLayerNormalization", ("epsilon",))
        weight = vector_of(graph, input_of(node, 2))
        return {"weight": weight, "epsilon": attribute(node, "epsilon")}, input_of(node, 0), input_of(node, 1)

    def _norm(self, normed: ir.Value) -> tuple[Plan, ir.Value]:
        node = self._graph.node(normed, "SimplifiedLayerNormalization", _NORM)
        self._graph.require(attribute(node, "axis") == -1, f"{node.name} does not norm rows")
        weight = vector_of(self._graph, input_of(node, 1))
        return {"weight": weight, "epsilon": attribute(node, "epsilon")}, input_of(node, 0)

    def _post_norm(self, change: ir.Value) -> tuple[Plan | None, ir.Value]:
        """The norm of a change to the residual stream, if there is one."""
        if not self._graph.is_made_by(change, "SimplifiedLayerNormalization"):
            return None, change
        return self._norm(change)

    def _layer(self, index: int, stream: ir.Value, change: ir.Value | None) -> tuple[Plan, ir.Value, ir.Value | None]:
        """One layer, the residual stream before it, and what the layer before adds to that stream.

        Args:
            index: Number of the layer.
            stream: The stream that the layer's feed-forward part reads.
            change: What that part adds to it.
        """
        graph = self._graph
        if change is None:
            raise graph.refuse(f"nothing is added to the residual stream in layer {index}")
        feed_forward_norm, change = self._post_norm(change)
        down, active = product_matrix(graph, change)
        gate_up, activation, mlp_input = self._gate_up(active)
        mlp_norm, before, attended = self._norm_of_sum(mlp_input)
        graph.require_same(stream, producer_of(mlp_input).outputs[_SUM], f"layer {index}: the residual stream")
        if attended is None:
            raise graph.refuse(f"layer {index}: attention adds nothing to the residual stream")
        attention_norm, attended = self._post_norm(attended)
        output, attended = product_matrix(graph, attended)
        attention, normed = self._attention(index, attended)
        input_norm, earlier, earlier_change = self._norm_of_sum(normed)
        inner = producer_of(normed)
        graph.require_same(
            before, inner.outputs[_SUM] if earlier_change else earlier, f"layer {index}: the residual stream"
        )
        layer = {
            "input_norm": input_norm,
            **attention,
            "output": output,
            "attention_norm": attention_norm,
            "mlp_norm": mlp_norm,
            "gate_up": gate_up,
            "down": down,
            "feed_forward_norm": feed_forward_norm,
            "activation": activation,
        }
        return layer, earlier, earlier_change

    def _gate_up(self, active: ir.Value) -> tuple[Plan, str, ir.Value]:
        """The gate's and up matrices, the activation, and their input."""
        graph = self._graph
        product = graph.node(active, "Mul")
        activated, up = input_of(product, 0), input_of(product, 1)
        if graph.is_made_by(activated, "FastGelu"):
            activation, gate = "gelu_tanh", graph.chain(activated, "FastGelu")
        else:
            silu = graph.node(activated, "Mul")
            activation, gate = "silu", input_of(silu, 0)
            graph.require_same(gate, graph.chain(input_of(silu, 1), "Sigmoid"), "the gate")
        products, source = self._products({"gate": gate, "up": up})
        return products, activation, source

    def _attention(self, index: int, attended: ir.Value) -> tuple[Plan, ir.Value]:
        """The attention of a layer without its output product, and its input."""
        graph = self._graph
        node = graph.node(attended, "GroupQueryAttention", _ATTENTION)
        query, key, value = (input_of(node, place) for place in range(3))
        for place, part in ((3, "key"), (4, "value")):
            past = graph.inputs[f"past_key_values.{index}.{part}"]
            graph.require_same(input_of(node, place), past, f"layer {index}: the cache")
        self._check_lengths(node)
        rotations = [graph.node(rotated, "RotaryEmbedding") for rotated in (query, key)]
        for place in range(1, 4):
            graph.require_same(*(input_of(one, place) for one in rotations), f"layer {index}: the rotation")
        (query_norm, query), (key_norm, key) = (self._head_norm(input_of(one, 0)) for one in rotations)
        products, source = self._products({"query": query, "key": key, "value": value})
        attention = {
            "heads": attribute(node, "num_heads"),
            "scale": attribute(node, "scale"),
            "window": attribute(node, "local_window_size", 0),
            "rope": self._rope(rotations[0]),
            "qkv": products,
            "query_norm": query_norm,
            "key_norm": key_norm,
        }
        return attention, source

    def _rope(self, rotation: ir.Node) -> int:
        """Number of a rotation in the plan."""
        rope = rotation_of(self._graph, *(input_of(rotation, place) for place in range(1, 4)))
        if rope not in self._ropes:
            self._ropes.append(rope)
        return self._ropes.index(rope)

    def _head_norm(self, normed: ir.Value) -> tuple[Plan | None, ir.Value]:
        """The norm of each head, if there is one."""
        graph = self._graph
        if not graph.is_made_by(normed, "Reshape"):
            return None, normed
        norm, split = self._norm(graph.chain(normed, "Reshape"))
        return norm, graph.chain(split, "Reshape")

    def _check_lengths(self, node: ir.Node) -> None:
        """Attention must see all tokens of the mask, and no other number of them."""
        graph, mask = self._graph, self._graph.inputs["attention_mask"]
        last = graph.chain(input_of(node, 5), "Cast", attributes=("to",))
        seen = graph.chain(last, "Sub")
        graph.require_same(graph.chain(seen, "ReduceSum", attributes=("keepdims",)), mask, "the attention mask")
        total = graph.chain(input_of(node, 6), "Cast", "Gather", attributes=("to", "axis"))
        graph.require_same(graph.chain(total, "Shape"), mask, "the attention mask")

    def _products(self, parts: dict[str, ir.Value]) -> tuple[Plan, ir.Value]:
        """The products whose outputs are `parts`, and their common input.

        Results of the matrices follow each other; `at` says where each part begins among them.
        """
        graph = self._graph
        starts: dict[ir.Value, int] = {}
        matrices: list[Plan] = []
        biases: list[Plan] = []
        sources: list[ir.Value] = []
        at, total = {}, 0
        for part, value in parts.items():
            product, first_row = self._split(value)
            if product not in starts:
                bias, plain = self._bias(product)
                matrix, source = product_matrix(graph, plain)
                sources.append(source)
                matrices.append(matrix)
                biases += [bias] if bias else []
                starts[product] = total
                total += matrix["rows"]
            at[part] = starts[product] + first_row
        for source in sources:
            graph.require_same(source, sources[0], "the input of products side by side")
        graph.require(len(biases) in (0, len(matrices)), "only some products have a bias")
        return {"matrices": matrices, "biases": biases, "at": at}, sources[0]

    def _split(self, value: ir.Value) -> tuple[ir.Value, int]:
        """The product that `value` is a part of, and its first row there."""
        if not self._graph.is_made_by(value, "Split"):
            return value, 0
        node = self._graph.node(value, "Split", ("axis",))
        self._graph.require(attribute(node, "axis") == -1, f"{node.name} does not split rows")
        sizes = self._graph.constant(node.inputs[1])
        return input_of(node, 0), int(np.sum(sizes[: node.outputs.index(value)]))

    def _bias(self, product: ir.Value) -> tuple[Plan | None, ir.Value]:
        if not self._graph.is_made_by(product, "Add"):
            return None, product
        node = self._graph.node(product, "Add")
        return vector_of(self._graph, input_of(node, 1)), input_of(node, 0)


def _cache_inputs(graph: GraphPatterns) -> list[tuple[int, ir.Value]]:
    keys = [value for value in graph.graph.inputs if (value.name or "").endswith(".key")]
    return list(enumerate(keys))
