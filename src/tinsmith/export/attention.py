"""Attention as ONNX's own operator in the place of GroupQueryAttention, for processors.

ONNX Runtime computes GroupQueryAttention over a prompt in tiles, which in its WASM build takes ten times as long as the
plain products of Attention (1.7 and 16 GFLOP/s for 1,024 tokens of SmolLM2-135M, one thread); after a prompt it copies the
cache once for every head of queries, Attention once for every head of keys. On GPUs GroupQueryAttention stays.

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
    graph = model.graph
    masks: dict[int, ir.Value] = {}
    for node in [node for node in graph if node.op_type == "GroupQueryAttention"]:
        found = node.attributes
        window = found["local_window_size"].as_int() if "local_window_size" in found else 0
        if window and window not in masks:
            tape = Tape()
            masks[window] = _mask(tape, graph, window)
            graph.insert_before(node, tape.nodes)
            graph.initializers.update({value.name: value for value in tape.initializers})
        query, key, value, past_key, past_value = node.inputs[:5]
        attributes = {"q_num_heads": found["num_heads"].as_int(), "kv_num_heads": found["kv_num_heads"].as_int(),
                      "scale": found["scale"].as_float(), "is_causal": int(not window)}
        attention = ir.node("Attention", [query, key, value, masks.get(window), past_key, past_value], attributes,
                            name=node.name, num_outputs=len(node.outputs))
        graph.insert_before(node, [attention])
        for before, output in zip(node.outputs, attention.outputs, strict=True):
            replace_all_uses_with(before, output, replace_graph_outputs=True)
            output.name, output.type, output.shape = before.name, before.type, before.shape
            before.name = None
        graph.remove(node, safe=True)
    graph.opset_imports[""] = _OPSET
    drop_unused(graph)
    return model


def _mask(tape: Tape, graph: ir.Graph, window: int) -> ir.Value:
    """What is added to attention scores (S, T): nothing for a token and the `window - 1` before it, else the lowest float."""
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
    is_seen = op("is_seen", "And", [op("is_past", "GreaterOrEqual", [age, zero]),
                                    op("is_near", "Less", [age, constant("size", window, np.int64)])])
    floats = (constant("nothing", 0, np.float32), constant("lowest", np.finfo(np.float32).min, np.float32))
    return op("mask", "Where", [is_seen, *floats])
