"""The exported package computes what the model computes, is complete, and is refused when it is not."""

import dataclasses
import json
import shutil
from types import SimpleNamespace

import numpy as np
import onnx_ir as ir
import onnxruntime as ort
import pytest
import torch
from onnx_ir.passes.common import RemoveUnusedNodesPass
from tokenizers import Tokenizer
from transformers import AutoConfig, AutoModelForCausalLM

from stage_runs import run_stage
from tinsmith.core.config import ExportConfig
from tinsmith.core.device import Device
from tinsmith.core.errors import ArtifactError, BaseModelError, GateError
from tinsmith.export import decoder_graph, parity
from tinsmith.export.blocks import round_to_nearest, unpack
from tinsmith.export.calibrate import Quantized
from tinsmith.export.calibration_set import default_calibration_tokens
from tinsmith.export.decoder_nodes import DecoderNodes, gather_blocks, store
from tinsmith.export.models import full_precision_weights
from tinsmith.export.package import _with_short_merges, check_package, save_graph
from tinsmith.export.report import describe_quantization
from tinsmith.export.search import Choice
from tinsmith.export.stage import export_int4
from tinsmith.model.families import decoder_of
from tinsmith.model.onnx_decoder import load_onnx
from tiny import FAMILIES, build_tiny


def test_gates_cover_prefill_and_decode_below_and_past_the_window(exported):
    kind, _, _, result = exported
    gates = {m.id: m for m in result.measurements if m.id.startswith("gate.")}
    longest = 32 if kind == "gemma3" else 300
    for graph_kind in ("graph", "int4"):
        for case in ("prefill_1", "prefill_100", "decode_100", f"prefill_{longest}", f"decode_{longest}"):
            assert gates[f"gate.{graph_kind}.max_abs_diff.{case}"].value < 1e-4
            assert gates[f"gate.{graph_kind}.top1.{case}"].value == 1.0


@pytest.mark.parametrize("kind", FAMILIES)
def test_every_family_passes_the_same_gates_in_4_and_8_bits(kind, data_dir, tmp_path, monkeypatch):
    """Tied and separate heads, biases, norms of queries and keys, scaled RoPE; products split by bit width."""
    build_tiny(kind, tmp_path / "merge" / "model")
    eight = {
        f"model.layers.{part}_proj.weight" for part in ("0.self_attn.v", "0.mlp.down", "1.self_attn.k", "1.mlp.up")
    }
    monkeypatch.setattr("tinsmith.export.calibrate.most_sensitive", lambda losses, sizes, room_bits: eight)
    config = ExportConfig(recipe="mixed", calibration_tokens=200)
    result = run_stage(export_int4, config, data_dir, tmp_path / "merge", tmp_path / "out", seed=1)
    gates = [m for m in result.measurements if m.id.startswith(("gate.graph.max_abs_diff", "gate.int4.max_abs_diff"))]
    assert len(gates) == 10 and all(gate.value < 1e-4 for gate in gates)
    divergences = {m.id: m.value for m in result.measurements if m.id.endswith(".divergence")}
    assert 0 < divergences["gate.float16.divergence"] < 1e-4 and 0 < divergences["gate.int8.divergence"] < 1e-2
    # In INT8 products of one input are one, whatever their bits: four in each layer, and the head with its refinement.
    operators = [node.op_type for node in ir.load(tmp_path / "out/package/onnx/model_quantized.onnx").graph]
    assert operators.count("MatMulIntegerToFloat") == 4 * 2 + 1
    tensors = json.loads((tmp_path / "out" / "export.json").read_text())["tensors"]
    bits = {row["name"]: row["bits"] for row in tensors if row["name"].endswith(".packed")}
    assert {name.removesuffix("_proj.packed") for name, width in bits.items() if width == 8} == {
        part.removesuffix("_proj.weight") for part in eight
    }
    assert bits["model.layers.0.self_attn.q_k_proj.packed"] == bits["model.layers.1.self_attn.q_v_proj.packed"] == 4


@pytest.mark.parametrize(
    "rope",
    [
        {"rope_type": "default"},
        {"rope_type": "linear", "factor": 4.0},
        {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 1024},
        {
            "rope_type": "llama3",
            "factor": 8.0,
            "low_freq_factor": 1.0,
            "high_freq_factor": 4.0,
            "original_max_position_embeddings": 1024,
        },
    ],
    ids=lambda rope: rope["rope_type"],
)
def test_far_positions_are_turned_as_by_the_model_and_by_half_a_turn_at_most(rope, tiny_llama, tmp_path):
    """GPUs compute sines well between -pi and pi alone."""
    config = AutoConfig.from_pretrained(
        tiny_llama, max_position_embeddings=8192, rope_parameters={"rope_theta": 10_000.0, **rope}
    )
    model = AutoModelForCausalLM.from_pretrained(tiny_llama, config=config, dtype=torch.float32).eval()
    built = decoder_graph.build_decoder(decoder_of(model.config), full_precision_weights(tiny_llama))
    save_graph(built, tmp_path / "m.onnx", 10**9)
    ids = torch.randint(6, 380, (6000,), generator=torch.Generator().manual_seed(5)).tolist()
    with torch.no_grad():
        expected = model(input_ids=torch.tensor([ids]), use_cache=False, logits_to_keep=64).logits[0].numpy()
    sequence = load_onnx(tmp_path / "m.onnx").start()
    logits = np.concatenate([sequence.feed(ids[:5990], 54), *(sequence.feed([token], 1) for token in ids[5990:])])
    assert np.abs(logits - expected).max() < 1e-3
    angles = next(node for node in built.graph if node.op_type == "Cos").inputs[0]
    angles.dtype = ir.DataType.FLOAT
    built.graph.outputs[:] = [angles]
    RemoveUnusedNodesPass()(built)
    built.graph.inputs[:] = [one for one in built.graph.inputs if one.name == "position_ids"]
    session = ort.InferenceSession(ir.to_proto(built).SerializeToString(), providers=["CPUExecutionProvider"])
    (turned,) = session.run(None, {"position_ids": np.arange(8000, dtype=np.int64)[None]})
    assert turned.shape[0] == 8000 and np.abs(turned).max() <= np.float32(np.pi) + 1e-6 and turned.std() > 1
    decoder = decoder_of(model.config)
    frequencies, _ = decoder_graph.inverse_frequencies(decoder.rope[0], decoder)
    exact = np.arange(8000)[:, None] * frequencies.astype(np.float64)
    # float32 holds an angle of 8,000 no better than this
    assert np.abs(np.cos(turned.astype(np.float64)) - np.cos(exact)).max() < 4e-4


@pytest.mark.parametrize(
    ("parameters", "kind", "rows"),
    [
        (134_515_008, "cpu", 16384),
        (268_098_176, "cpu", 16384),
        (494_032_768, "cpu", 8192),
        (999_885_952, "cpu", 4096),
        (1_235_814_400, "cpu", 2048),
        (2_300_000_000, "cpu", 1024),
        (10**15, "cpu", 1),
        (1_235_814_400, "cuda", 16384),
    ],
)
def test_a_processor_calibrates_large_models_on_fewer_tokens(parameters, kind, rows):
    assert default_calibration_tokens(parameters, Device(torch.device(kind), torch.bfloat16, "tests")) == rows


def test_the_card_is_told_how_many_matrices_are_in_8_bits():
    four, eight = (round_to_nearest(torch.randn(2, 32), bits=bits) for bits in (4, 8))
    words = {
        recipe: describe_quantization(Choice(recipe, Quantized(matrices), [], []))
        for recipe, matrices in (("rtn", {"a": four}), ("mixed", {"a": four, "b": eight, "c": eight}))
    }
    assert words["rtn"] == "rounded to nearest; blocks of 32 weights with a float16 scale and a zero point of 4 bits"
    assert words["mixed"].endswith("a zero point of 4 bits; 2 of 3 matrices in 8 bits, without zero points")


@pytest.mark.parametrize(
    "broken",
    [
        {"windows": (0, 0)},
        {"attention_scale": 1.0},
        {"embedding_scale": 1.0},
        {"norm_offset": 0.0},
        {"activation": "silu"},
    ],
)
def test_every_gemma_detail_is_caught_when_wrong(tiny_gemma, tmp_path, broken):
    model = AutoModelForCausalLM.from_pretrained(tiny_gemma, dtype=torch.float32).eval()
    right = decoder_of(model.config)
    wrong = dataclasses.replace(right, **broken)
    save_graph(decoder_graph.build_decoder(wrong, full_precision_weights(tiny_gemma)), tmp_path / "m.onnx", 10**9)
    ids = torch.randint(6, 380, (308,), generator=torch.Generator().manual_seed(3)).tolist()
    probe = parity.Probe(parity.compared_lengths(right), ids)
    results = parity.compare(probe.model_logits(model), probe.graph_logits(tmp_path / "m.onnx"))
    assert max(value for columns in results.values() for value in columns["max_abs_diff"]) > 1e-2


def test_a_wrong_graph_stops_the_stage(exported, data_dir, tmp_path, monkeypatch):
    _, merge_dir, _, _ = exported
    rotation = decoder_graph._rotation
    monkeypatch.setattr(
        decoder_graph, "_rotation", lambda g, rope, ids, index: rotation(g, {**rope, "rope_theta": 7.0}, ids, index)
    )
    with pytest.raises(GateError, match=r"^gate\.graph\.max_abs_diff\.prefill_100: measured .* required <= 0\.01"):
        run_stage(export_int4, ExportConfig(recipe="gptq"), data_dir, merge_dir, tmp_path, seed=1)


def test_rtn_recipe_and_small_chunks(exported, data_dir, tmp_path):
    _, merge_dir, _, _ = exported
    result = run_stage(export_int4, ExportConfig(recipe="rtn"), data_dir, merge_dir, tmp_path, seed=1)
    record = json.loads((tmp_path / "export.json").read_text())
    assert record["recipe"] == "rtn" and record["operators"]["GroupQueryAttention"] == 2
    assert {m.id for m in result.measurements} >= {"export.weights_bytes", "export.download_bytes"}
    model = AutoModelForCausalLM.from_pretrained(merge_dir / "model", dtype=torch.float32)
    files = save_graph(
        decoder_graph.build_decoder(decoder_of(model.config), full_precision_weights(merge_dir / "model")),
        tmp_path / "c" / "m.onnx",
        100_000,
    )
    assert [f.name for f in files][:3] == ["m.onnx", "m.onnx_data", "m.onnx_data_1"]
    probe = parity.Probe(parity.compared_lengths(decoder_of(model.config)), list(range(10, 318)))
    for columns in parity.compare(probe.model_logits(model.eval()), probe.graph_logits(files[0])).values():
        assert max(columns["max_abs_diff"]) < 1e-4


@pytest.mark.parametrize("size", [1025, 2000, 4096])
def test_no_piece_of_the_weights_is_larger_than_allowed(size, tmp_path):
    values = [ir.Value(name=f"w{i}", const_value=ir.tensor(np.zeros(size, np.uint8), name=f"w{i}")) for i in range(5)]
    graph = ir.Graph([], [], nodes=[], initializers=values, opset_imports={"": 21}, name="weights")
    files = save_graph(ir.Model(graph, ir_version=10), tmp_path / "w.onnx", 2 * size)
    assert [file.stat().st_size <= 2 * size for file in files[1:]] == [True] * len(files[1:])
    assert len(files) - 1 == (3 if size % 64 == 0 else 5)  # a piece of 64 bytes' alignment no longer fits beside two


def test_the_tokenizer_is_stored_small_and_encodes_the_same(exported):
    _, merge_dir, out_dir, _ = exported
    before, after = (
        Tokenizer.from_file(str(folder / "tokenizer.json")) for folder in (merge_dir / "model", out_dir / "package")
    )
    for text in ("What is steeping?", "  two spaces\n\nand \t more", "Grüße, 緑茶 and 🍵"):
        assert after.encode(text).ids == before.encode(text).ids
    model = json.loads((out_dir / "package" / "tokenizer.json").read_text())["model"]
    assert all(isinstance(pair, str) for pair in model["merges"])
    spaced = {"model": {"type": "BPE", "merges": [["a", "b"], ["a b", "c"]]}}
    assert _with_short_merges(spaced) == spaced  # "a b c" could be either


@pytest.mark.parametrize("blocks", [2, 3])
def test_the_embedding_gathers_what_its_blocks_stand_for(blocks):
    """An odd number of blocks leaves half a byte of its zero points unused."""
    stored = round_to_nearest(torch.randn(7, 32 * blocks, generator=torch.Generator().manual_seed(4)))
    g = DecoderNodes(SimpleNamespace(hidden_size=32 * blocks), None, ir.DataType.FLOAT, 1.0)
    ids = ir.Value(name="ids", type=ir.TensorType(ir.DataType.INT64), shape=ir.Shape(["B", "S"]))
    rows = gather_blocks(g, ids, *store(g, "embedding", [stored]))
    rows.dtype = ir.DataType.FLOAT
    model = ir.to_proto(decoder_graph._model(g, [ids], [rows])).SerializeToString()
    ids = np.array([[3, 0, 6], [6, 3, 1]])
    (gathered,) = ort.InferenceSession(model, providers=["CPUExecutionProvider"]).run(None, {"ids": ids})
    np.testing.assert_array_equal(gathered, unpack(stored)[ids])


def test_embedding_and_head_are_stored_once(exported):
    _, merge_dir, out_dir, _ = exported
    onnx_graph = ir.load(out_dir / "package" / "onnx" / "model_q4.onnx").graph
    vocabulary = json.loads((merge_dir / "model" / "config.json").read_text())["vocab_size"]
    assert [v.name for v in onnx_graph.initializers.values() if v.const_value.shape[:1] == (vocabulary,)] == [
        "lm_head.packed",
        "lm_head.scales",
        "lm_head.zeros",
        "lm_head.refined.places",
    ]


def test_a_matrix_is_stored_behind_what_its_rows_need(exported):
    initializers = ir.load(exported[2] / "package" / "onnx" / "model_q4.onnx").graph.initializers
    stems = [name.removesuffix(".packed") for name in initializers if name.endswith(".packed")]
    assert len(stems) > 8
    for stem in stems:
        stored = [
            initializers[stem + kind].const_value
            for kind in (".scales", ".zeros", ".packed")
            if stem + kind in initializers
        ]
        ends = [tensor.offset + tensor.nbytes for tensor in stored]
        assert len(stored) > 1 and len({tensor.location for tensor in stored}) == 1, stem
        assert all(0 <= after.offset - end < 64 for end, after in zip(ends, stored[1:], strict=False)), stem


def test_export_is_reproducible(exported, data_dir, tmp_path):
    _, merge_dir, out_dir, _ = exported
    run_stage(export_int4, ExportConfig(recipe="gptq"), data_dir, merge_dir, tmp_path, seed=1)
    assert (tmp_path / "package/SHA256SUMS").read_text() == (out_dir / "package/SHA256SUMS").read_text()


def _flip_last_byte(folder):
    path = folder / "onnx/model_q4.onnx_data"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)


def _drop_template(folder):
    path = folder / "tokenizer_config.json"
    config = json.loads(path.read_text())
    del config["chat_template"]
    path.write_text(json.dumps(config))


def _list_another_graph(folder):
    path = folder / "browser.json"
    facts = json.loads(path.read_text())
    facts["graphs"][0]["id"] = "other"
    path.write_text(json.dumps(facts))


def _plan_for_others(folder):
    path = folder / "onnx/model_int8.json"
    plan = json.loads(path.read_text())
    plan["files"]["model_q4.onnx_data"] += 1
    path.write_text(json.dumps(plan))


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (_list_another_graph, r"browser.json: graphs are .*'id': 'other'.*, expected "),
        (_plan_for_others, r"onnx/model_int8.json: expects weights files of"),
        (_flip_last_byte, r"onnx/model_q4.onnx_data: differs from SHA256SUMS"),
        (_drop_template, "no inline chat_template"),
        (lambda folder: (folder / "tokenizer.json").unlink(), "tokenizer.json: missing"),
        (lambda folder: (folder / "weights.pkl").write_bytes(b"x"), "weights.pkl: not listed in SHA256SUMS"),
    ],
)
def test_check_package_names_what_is_wrong(exported, tmp_path, damage, message):
    _, _, out_dir, _ = exported
    folder = tmp_path / "package"
    shutil.copytree(out_dir / "package", folder)
    check_package(folder)
    damage(folder)
    with pytest.raises(ArtifactError, match=message):
        check_package(folder)


def test_unsupported_architecture_is_refused(tiny_llama):
    config = AutoModelForCausalLM.from_pretrained(tiny_llama).config
    config.attention_bias = True
    with pytest.raises(BaseModelError, match="attention_bias = True"):
        decoder_of(config)
    config.attention_bias, rope = False, config.rope_parameters
    config.rope_parameters = {**rope, "rope_type": "dynamic", "factor": 2.0}
    with pytest.raises(BaseModelError, match="rope_type = dynamic"):
        decoder_of(config)
    config.rope_parameters, config.model_type = rope, "mamba"
    with pytest.raises(BaseModelError, match="unsupported architecture 'mamba'"):
        decoder_of(config)
