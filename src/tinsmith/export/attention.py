"""Replaces GroupQueryAttention with ONNX's own Attention operator in graphs for CPUs.

ONNX Runtime computes GroupQueryAttention over a prompt in tiles. In its WASM build that takes ten times as long as
the plain products of Attention (1.7 and 16 GFLOP/s for 1,024 tokens of SmolLM2-135M on one thread). GPUs keep
GroupQueryAttention.

There are two forms. For Transformers.js, Attention joins past and new rows and returns the whole cache. For a page that
joins the rows itself, the graph returns only the new rows. That saves copying the whole cache out of the runtime's
memory and back for every token.

Source: https://github.com/microsoft/onnxruntime/pull/28962 introduced the tiles. An environment variable turns them
off, but a page cannot set one. See also `ComputeAttentionProbs` in onnxruntime/core/providers/cpu/llm/attention.cc.
Remove this module when a prompt of 1,024 tokens is as fast without it.
"""

from collections.abc import Sequence
from typing import Any, cast

import numpy as np
import onnx_ir as ir

from tinsmith.export.onnx_nodes import NodeMaker, drop_unused, input_of, replace_value

_OPSET = 23
"""The first opset that has Attention."""


def with_standard_attention(model: ir.Model) -> ir.Model:
    """Replace every GroupQueryAttention of `model`, a packaged graph loaded from its file; changes it in place.

    The result has no padding mask. Sequences may be padded at the end, which no token attends to, but not at the start.
    """
    masks = _Masks(model.graph)
    for node in _attentions(model.graph):
        window = _window(node)
        query, key, value, past_key, past_value = node.inputs[:5]
        mask = masks.before(node, window) if window else None
        attention = ir.node(
            "Attention",
            [query, key, value, mask, past_key, past_value],
            _attributes(node) | {"is_causal": int(not window)},
            name=node.name,
            num_outputs=3,
        )
        _replace(model.graph, node, [attention], attention.outputs)
    return _finish(model)


def with_row_attention(model: ir.Model) -> ir.Model:
    """Replace every GroupQueryAttention of `model` for pages that join cache rows themselves; changes it in place.

    `past_key_values.<i>.key|value` become (B, P, G * D). `present.<i>.key|value` become the new rows (B, S, G * D).
    """
    graph, masks = model.graph, _Masks(model.graph)
    for node in _attentions(graph):
        query, key, value, past_key, past_value = (input_of(node, index) for index in range(5))
        joined = []
        for past, new, present in ((past_key, key, node.outputs[1]), (past_value, value, node.outputs[2])):
            batch, heads, length, size = cast("tuple[Any, ...]", past.shape)
            past.shape = ir.Shape([batch, length, heads * size])
            joined.append(ir.node("Concat", [past, new], {"axis": 1}, name=f"{node.name}/{past.name}"))
            joined[-1].outputs[0].name = f"{past.name}/joined"
            graph.outputs[graph.outputs.index(present)] = new
            new.name, present.name = present.name, None
            new.type, new.shape = past.type, ir.Shape([batch, "sequence_length", heads * size])
        inputs = [query, *(concat.outputs[0] for concat in joined), masks.before(node, _window(node))]
        attention = ir.node("Attention", inputs, _attributes(node) | {"is_causal": 0}, name=node.name)
        _replace(graph, node, [*joined, attention], attention.outputs)
    return _finish(model)


def _attentions(graph: ir.Graph) -> list[ir.Node]:
    return [node for node in graph if node.op_type == "GroupQueryAttention"]


def _window(node: ir.Node) -> int:
    """Number of latest tokens that attention sees; 0 means all."""
    return node.attributes["local_window_size"].as_int() if "local_window_size" in node.attributes else 0


def _attributes(node: ir.Node) -> dict[str, int | float]:
    return {
        "q_num_heads": node.attributes["num_heads"].as_int(),
        "kv_num_heads": node.attributes["kv_num_heads"].as_int(),
        "scale": node.attributes["scale"].as_float(),
    }


def _replace(graph: ir.Graph, node: ir.Node, nodes: list[ir.Node], outputs: Sequence[ir.Value]) -> None:
    """Replace `node` with `nodes`, and its first outputs with `outputs`."""
    graph.insert_before(node, nodes)
    for old, new in zip(node.outputs, outputs, strict=False):
        replace_value(old, new)
    graph.remove(node, safe=True)


def _finish(model: ir.Model) -> ir.Model:
    model.graph.opset_imports[""] = _OPSET
    drop_unused(model.graph)
    return model


class _Masks:
    """Masks (S, T) to add to attention scores, one per window size, computed before the first node that needs it."""

    def __init__(self, graph: ir.Graph) -> None:
        self._graph = graph
        self._by_window: dict[int, ir.Value] = {}

    def before(self, node: ir.Node, window: int) -> ir.Value:
        """The mask of `window`, computed before `node`."""
        if window not in self._by_window:
            nodes = NodeMaker()
            self._by_window[window] = _mask(nodes, self._graph, window)
            nodes.insert_before(self._graph, node)
        return self._by_window[window]


def _mask(nodes: NodeMaker, graph: ir.Graph, window: int) -> ir.Value:
    """0 where a token may attend, the lowest float elsewhere.

    A token attends to itself and the `window - 1` tokens before it, or to all of them if `window` is 0.
    """
    inputs = {value.name: value for value in graph.inputs}
    name = f"window_{window}"

    def constant(part: str, number: Any, dtype: Any) -> ir.Value:
        return nodes.initializer(f"{name}/{part}", np.array(number, dtype))

    def op(part: str, op_type: str, values: list[ir.Value], **attributes: int) -> ir.Value:
        return nodes.op(f"{name}/{part}", op_type, values, attributes)

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
