"""Attention as ONNX's own operator in the place of GroupQueryAttention, for processors.

ONNX Runtime computes GroupQueryAttention over a prompt in tiles, which in its WASM build takes ten times as long as the
plain products of Attention (1.7 and 16 GFLOP/s for 1,024 tokens of SmolLM2-135M, one thread). On GPUs it stays.

There are two forms. With the cache as Transformers.js expects it, Attention joins past and new rows and gives both. For a
page that joins them itself the graph gives the new rows alone: what it would give otherwise is copied out of the runtime's
memory, and in again, at every token.

Source: https://github.com/microsoft/onnxruntime/pull/28962 made the tiles and can turn them off by an environment variable,
which no page has; `ComputeAttentionProbs` in onnxruntime/core/providers/cpu/llm/attention.cc. This can go when a prompt of
1,024 tokens takes no longer without it.
"""

import numpy as np
import onnx_ir as ir
from onnx_ir.convenience import replace_all_uses_with
from onnx_ir.tape import Tape

from tinsmith.export.nodes import drop_unused

_OPSET = 23
"""The first with Attention."""


def with_standard_attention(model: ir.Model) -> ir.Model:
    """`model`, a packaged graph as loaded from its file, with every GroupQueryAttention replaced; changed in place.

    Every token of a sequence counts: rows may be padded at their ends, as nothing looks ahead, but not at their starts.
    """
    masks = _Masks(model.graph)
    for node in _attentions(model.graph):
        window = _window(node)
        query, key, value, past_key, past_value = node.inputs[:5]
        inputs = [query, key, value, masks.of(window, node) if window else None, past_key, past_value]
        attention = ir.node(
            "Attention", inputs, _attributes(node) | {"is_causal": int(not window)}, name=node.name, num_outputs=3
        )
        _put(model.graph, node, [attention], attention.outputs)
    return _finished(model)


def with_row_attention(model: ir.Model) -> ir.Model:
    """The same with `past_key_values.<i>.key|value` (B, P, G * D), and `present.<i>.key|value` (B, S, G * D) of the new tokens."""
    graph, masks = model.graph, _Masks(model.graph)
    for node in _attentions(graph):
        query, key, value, past_key, past_value = node.inputs[:5]
        joined = []
        for past, new, present in ((past_key, key, node.outputs[1]), (past_value, value, node.outputs[2])):
            heads, size = past.shape[1], past.shape[3]
            past.shape = ir.Shape([past.shape[0], past.shape[2], heads * size])
            joined.append(ir.node("Concat", [past, new], {"axis": 1}, name=f"{node.name}/{past.name}"))
            joined[-1].outputs[0].name = f"{past.name}/joined"
            graph.outputs[graph.outputs.index(present)] = new
            new.name, present.name = present.name, None
            new.type, new.shape = past.type, ir.Shape([past.shape[0], "sequence_length", heads * size])
        inputs = [query, *(concat.outputs[0] for concat in joined), masks.of(_window(node), node)]
        attention = ir.node("Attention", inputs, _attributes(node) | {"is_causal": 0}, name=node.name)
        _put(graph, node, [*joined, attention], attention.outputs)
    return _finished(model)


def _attentions(graph: ir.Graph) -> list[ir.Node]:
    return [node for node in graph if node.op_type == "GroupQueryAttention"]


def _window(node: ir.Node) -> int:
    """How many of the latest tokens are seen; 0 means all."""
    return node.attributes["local_window_size"].as_int() if "local_window_size" in node.attributes else 0


def _attributes(node: ir.Node) -> dict[str, int | float]:
    found = node.attributes
    return {
        "q_num_heads": found["num_heads"].as_int(),
        "kv_num_heads": found["kv_num_heads"].as_int(),
        "scale": found["scale"].as_float(),
    }


def _put(graph: ir.Graph, before: ir.Node, nodes: list[ir.Node], outputs: list[ir.Value]) -> None:
    """`nodes` in the place of `before`, and `outputs` in the place of as many of its outputs."""
    graph.insert_before(before, nodes)
    for old, new in zip(before.outputs, outputs, strict=False):
        replace_all_uses_with(old, new, replace_graph_outputs=True)
        new.name, new.type, new.shape = old.name, old.type, old.shape
        old.name = None
    graph.remove(before, safe=True)


def _finished(model: ir.Model) -> ir.Model:
    model.graph.opset_imports[""] = _OPSET
    drop_unused(model.graph)
    return model


class _Masks:
    """What is added to attention scores (S, T), by window; each is computed once, before the first node that asks."""

    def __init__(self, graph: ir.Graph) -> None:
        self._graph = graph
        self._found: dict[int, ir.Value] = {}

    def of(self, window: int, node: ir.Node) -> ir.Value:
        if window not in self._found:
            tape = Tape()
            self._found[window] = _mask(tape, self._graph, window)
            self._graph.insert_before(node, tape.nodes)
            self._graph.initializers.update({value.name: value for value in tape.initializers})
        return self._found[window]


def _mask(tape: Tape, graph: ir.Graph, window: int) -> ir.Value:
    """Nothing for a token and the `window - 1` before it (0: all), else the lowest float."""
    inputs = {value.name: value for value in graph.inputs}
    name = f"window_{window}"

    def constant(part: str, number: object, dtype: object) -> ir.Value:
        return tape.initializer(ir.tensor(np.array(number, dtype), name=f"{name}/{part}"), name=f"{name}/{part}")

    def op(part: str, op_type: str, values: list[ir.Value], **attributes: int) -> ir.Value:
        output = tape.op(op_type, values, attributes, name=f"{name}/{part}")
        output.name = f"{name}/{part}/output"
        return output

    zero, one, last = (constant(part, number, np.int64) for part, number in (("zero", 0), ("one", 1), ("last", [-1])))
    new, total = (
        op(f"{part}_count", "Gather", [op(f"{part}_shape", "Shape", [inputs[source]]), one], axis=0)
        for part, source in (("new", "input_ids"), ("total", "attention_mask"))
    )
    keys = op("keys", "Range", [zero, total, one])
    queries = op("queries", "Unsqueeze", [op("places", "Range", [op("first", "Sub", [total, new]), total, one]), last])
    age = op("age", "Sub", [queries, keys])
    is_seen = op("is_past", "GreaterOrEqual", [age, zero])
    if window:
        is_seen = op("is_seen", "And", [is_seen, op("is_near", "Less", [age, constant("size", window, np.int64)])])
    floats = (constant("nothing", 0, np.float32), constant("lowest", np.finfo(np.float32).min, np.float32))
    return op("mask", "Where", [is_seen, *floats])
