"""The float16 graph is built only where nothing overflows, gives the same answers, and stores no weight again."""

import json
import shutil

import numpy as np
import onnx_ir as ir
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM

from stage_runs import run_stage
from tinsmith.core.config import ExportConfig
from tinsmith.core.errors import ArtifactError, GateError
from tinsmith.export.calibrate import round_all
from tinsmith.export.graphs.float16 import largest_values
from tinsmith.export.package import check_package
from tinsmith.export.stage import export_int4
from tinsmith.model.conversations import read_jsonl
from tinsmith.model.families import decoder_of
from tinsmith.model.onnx_decoder import load_onnx
from tinsmith.model.package_format import FLOAT16, FLOAT32
from tinsmith.model.tokens import load_tokenizer


def measured(result):
    return {one.id: one for one in result.measurements}


def edited(source, merge_dir, **factors):
    """A merge folder with the tiny model in `source`, weights whose names end in a key of `factors` multiplied."""
    shutil.copytree(source, merge_dir / "model")
    path = merge_dir / "model" / "model.safetensors"
    weights = load_file(path)
    for ending, factor in factors.items():
        names = [name for name in weights if name.endswith(f"{ending}.weight")]
        assert names
        for name in names:
            weights[name] = weights[name] * factor
    save_file(weights, path, metadata={"format": "pt"})
    return merge_dir


def test_second_graph_shares_the_weights_and_passes_its_gates(exported):
    _, _, out_dir, result = exported
    graph = ir.load(out_dir / "package" / FLOAT16.file).graph
    large = [value.const_value for value in graph.initializers.values() if value.const_value.nbytes >= 1024]
    assert large and {str(tensor.location) for tensor in large} == {"model_q4.onnx_data"}
    files = {path.name for path in (out_dir / "package" / "onnx").iterdir()}
    assert files == {
        "decoder_plan.json",
        "model_q4.onnx",
        "model_q4.onnx_data",
        "model_q4f16.onnx",
        "model_quantized.onnx",
        "model_int8.onnx",
        "model_int8.json",
    }
    assert all(v.dtype == ir.DataType.FLOAT16 for v in graph.inputs if v.name.startswith("past_key_values"))
    assert 0 < measured(result)["gate.float16.divergence"].value < 1e-4
    assert any("float16 graph for GPUs" in line for line in result.summary)


def test_largest_values_are_those_of_transformers(tiny_llama, data_dir, tmp_path):
    merge_dir = edited(tiny_llama, tmp_path / "merge")
    run_stage(export_int4, ExportConfig(recipe="rtn"), data_dir, merge_dir, tmp_path / "out", seed=1)
    model = AutoModelForCausalLM.from_pretrained(merge_dir / "model", dtype=torch.float32)
    tokens = load_tokenizer(merge_dir / "model").encode_all(read_jsonl(data_dir / "train.jsonl"))[:2]
    round_all(model)
    largest = largest_values(tmp_path / "out/package" / FLOAT32.file, decoder_of(model.config), tokens)
    seen = {}

    def watch(name, read):
        def hook(_, inputs, output):
            seen[name] = max(seen.get(name, 0.0), read(inputs, output).abs().max().item())

        return hook

    model.model.norm.register_forward_hook(watch("model.norm.sum", lambda inputs, output: inputs[0]))
    model.model.norm.register_forward_hook(watch("model.norm", lambda inputs, output: output))
    layer = model.model.layers[1]
    layer.mlp.down_proj.register_forward_hook(watch("model.layers.1.mlp.product", lambda inputs, output: inputs[0]))
    layer.mlp.down_proj.register_forward_hook(watch("model.layers.1.mlp.down_proj", lambda inputs, output: output))
    with torch.no_grad():
        for item in tokens:
            model(input_ids=torch.tensor([item.ids]))
    assert {name: largest[name] for name in seen} == pytest.approx(seen, rel=1e-4)
    for name in ("q", "k"):
        projection = getattr(layer.self_attn, f"{name}_proj")
        projection.register_forward_hook(
            watch(name, lambda inputs, output: output.unflatten(-1, (-1, model.config.head_dim)).norm(dim=-1))
        )
    with torch.no_grad():
        for item in tokens:
            model(input_ids=torch.tensor([item.ids]))
    scores = seen["q"] * seen["k"]  # rotation keeps lengths
    assert largest["model.layers.1.self_attn.scores"] == pytest.approx(scores, rel=1e-4)


def test_a_large_residual_stream_of_gemma_is_made_smaller_without_changing_an_answer(tiny_gemma, data_dir, tmp_path):
    merge_dir = edited(tiny_gemma, tmp_path / "merge", post_feedforward_layernorm=1e6)
    result = run_stage(export_int4, ExportConfig(recipe="rtn"), data_dir, merge_dir, tmp_path / "out", seed=1)
    used = measured(result)["export.float16_range"]
    assert 0.25 < used.value <= 0.5 and not used.method.endswith("times 1")
    package = tmp_path / "out" / "package"
    ids = list(range(10, 60))
    single, half = (load_onnx(package / file).start().feed(ids, 8) for file in (FLOAT32.file, FLOAT16.file))
    assert np.abs(single - half).max() < 5e-3 * np.abs(single).max()


def test_no_graph_where_values_overflow(tiny_llama, data_dir, tmp_path):
    merge_dir = edited(tiny_llama, tmp_path / "merge", down_proj=1e4, up_proj=1e4)
    result = run_stage(export_int4, ExportConfig(recipe="rtn"), data_dir, merge_dir, tmp_path / "out", seed=1)
    assert not (tmp_path / "out" / "package" / FLOAT16.file).exists()
    assert measured(result)["export.float16_range"].value > 1
    assert any(line.startswith("no float16 graph for GPUs: model.") for line in result.summary)


def test_a_package_larger_than_its_budget_stops_the_run(tiny_llama, data_dir, tmp_path, monkeypatch):
    merge_dir = edited(tiny_llama, tmp_path / "merge")
    monkeypatch.setattr("tinsmith.derive.export._LAYER_BYTES", 0)
    with pytest.raises(GateError, match=r"^gate\.export\.weights_bytes: measured \d+ bytes over 2 files, required <= "):
        run_stage(export_int4, ExportConfig(recipe="rtn"), data_dir, merge_dir, tmp_path / "out", seed=1)


def test_no_graph_where_none_is_wanted(tiny_llama, data_dir, tmp_path):
    merge_dir = edited(tiny_llama, tmp_path / "merge")
    result = run_stage(
        export_int4, ExportConfig(recipe="rtn", float16=False), data_dir, merge_dir, tmp_path / "out", seed=1
    )
    assert not (tmp_path / "out" / "package" / FLOAT16.file).exists()
    assert not any("float16" in id for id in measured(result))


def test_the_package_check_reads_the_second_graph_too(exported, tmp_path):
    _, _, out_dir, _ = exported
    folder = tmp_path / "package"
    shutil.copytree(out_dir / "package", folder)
    graph = ir.load(folder / FLOAT16.file)
    next(node for node in graph.graph if node.op_type == "RotaryEmbedding").op_type = "Rotate"
    ir.save(graph, folder / FLOAT16.file)
    with pytest.raises(ArtifactError, match=r"model_q4f16\.onnx: operator Rotate is not on the allow-list"):
        check_package(folder)
    assert json.loads((folder / "config.json").read_text())["transformers.js_config"]["dtype"] == "q4"
