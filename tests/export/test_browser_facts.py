"""browser.json: a published prompt, the packaged graph's own answer, and the logits a GPU is held to."""

import json

import numpy as np
import onnx_ir as ir
import pytest

from tinsmith.model.onnx_decoder import load_onnx
from tinsmith.model.package_format import GRAPHS
from tinsmith.model.tokens import load_tokenizer


def test_the_reference_is_what_the_packaged_graph_computes_at_once(exported):
    _, _, out_dir, _ = exported
    package = out_dir / "package"
    facts = json.loads((package / "browser.json").read_text())
    reference, tokenizer = facts["reference"], load_tokenizer(package)
    prompt, answer = reference["prompt_ids"], reference["token_ids"]
    assert len(prompt) >= 32 and len(answer) == 20 and not set(answer) & set(tokenizer.end_ids)
    logits = load_onnx(package / "onnx/model_q4.onnx").start().feed(prompt + answer[:-1], keep=20)
    logits[:, list(tokenizer.end_ids)] = -np.inf
    assert [int(row.argmax()) for row in logits] == answer == [ids[0] for ids in reference["likely_ids"]]
    for row, ids, values in zip(logits, reference["likely_ids"], reference["likely_logits"], strict=True):
        assert len(set(ids)) == 16 and row[ids] == pytest.approx(values, abs=1e-3)
        assert min(values) >= np.sort(row)[-17] - 1e-3


def test_graphs_and_weights_are_listed_as_the_table_has_them(exported):
    package = exported[2] / "package"
    facts = json.loads((package / "browser.json").read_text())
    assert facts["weights"] == ["model_q4.onnx_data"]
    assert [(one["id"], one["file"], one["dtype"]) for one in facts["graphs"]] == [
        (graph.id, graph.file, graph.dtype) for graph in GRAPHS
    ]
    for one in facts["graphs"]:
        planned = one.get("unpack", {})
        graph = ir.load(package / one["file"]).graph
        locations = {
            str(value.const_value.location)
            for value in graph.initializers.values()
            if isinstance(value.const_value, ir.ExternalTensor)
        }
        # What a page has to give the runtime are exactly the files that the graph names.
        assert locations - {planned.get("data")} == set(facts["weights"]) and locations >= set(
            planned and [planned["data"]]
        )
        assert not planned or (package / planned["plan"]).exists()


def test_the_largest_tensor_is_the_largest_stored_one(exported):
    _, _, out_dir, _ = exported
    facts = json.loads((out_dir / "package/browser.json").read_text())
    assert facts["largest_tensor_bytes"] == json.loads((out_dir / "export.json").read_text())["tensors"][0]["bytes"]
