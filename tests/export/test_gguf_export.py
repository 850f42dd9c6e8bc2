"""The GGUF file holds the tuned model: read by this project's own converter, by Transformers, and by its own check."""

import json
import shutil

import numpy as np
import pytest
import torch
from gguf import GGUFReader
from safetensors.torch import load_file, save_file
from transformers import AutoConfig, AutoModelForCausalLM

from stage_runs import run_stage
from tinsmith.base.gguf import convert
from tinsmith.core.config import ExportConfig
from tinsmith.core.errors import GateError
from tinsmith.derive.export import GGUF_BOUNDS
from tinsmith.export import gguf as exporting
from tinsmith.export.gguf import check_gguf, write_gguf
from tinsmith.export.stage import export_int4
from tiny import FAMILIES, build_tiny

IDS = torch.randint(6, 380, (1, 40), generator=torch.Generator().manual_seed(5))


@pytest.fixture(scope="module", params=FAMILIES)
def model(request, tmp_path_factory):
    """(kind, model folder)"""
    folder = build_tiny(request.param, tmp_path_factory.mktemp(request.param))
    if request.param == "gemma3":  # whose real tokenizer falls back to bytes, as SentencePiece does
        tree = json.loads((folder / "tokenizer.json").read_text())
        tree["model"]["byte_fallback"] = True
        (folder / "tokenizer.json").write_text(json.dumps(tree))
    return request.param, folder


def logits(folder, **arguments):
    with torch.no_grad():
        return AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, **arguments)(input_ids=IDS).logits


@pytest.mark.parametrize("weights", ["f16", "q8_0", "q4_0"])
def test_every_format_reads_back_within_what_rounding_can_cause(model, weights, tmp_path):
    path = tmp_path / f"{weights}.gguf"
    write_gguf(model[1], path, weights)
    result = check_gguf(model[1], path)
    assert result.largest_error <= GGUF_BOUNDS[weights]
    assert weights == "f16" or result.largest_error > GGUF_BOUNDS[weights] / 4  # bfloat16 weights lose nothing in f16
    assert len(result.errors) == len(GGUFReader(path).tensors)


def test_beside_4_bits_the_head_has_8(model, tmp_path):
    write_gguf(model[1], tmp_path / "model.gguf", "q4_0")
    kinds = {tensor.name: tensor.tensor_type.name for tensor in GGUFReader(tmp_path / "model.gguf").tensors}
    head = "output.weight" if "output.weight" in kinds else "token_embd.weight"
    assert kinds.pop(head) == "Q8_0"
    assert {kind for name, kind in kinds.items() if name.endswith(("attn_q.weight", "embd.weight"))} == {"Q4_0"}


def test_transformers_reads_the_same_model(model, tmp_path):
    kind, folder = model
    if kind == "llama3":
        pytest.skip("Transformers drops the RoPE factors of GGUF files")
    write_gguf(folder, tmp_path / "model.gguf", "f16")
    read_back = logits(tmp_path, gguf_file="model.gguf", config=AutoConfig.from_pretrained(folder))
    assert (read_back - logits(folder)).abs().max() < 0.02


def test_the_base_stages_converter_reads_the_same_model(model, tmp_path):
    kind, folder = model
    if kind not in ("llama", "gemma3"):
        pytest.skip("not an architecture the converter reads, or with scaled RoPE")
    write_gguf(folder, tmp_path / "model.gguf", "f16")
    (tmp_path / "back").mkdir()
    convert(tmp_path / "model.gguf", folder / "tokenizer.json", tmp_path / "back")
    assert (logits(tmp_path / "back") - logits(folder)).abs().max() < 0.1  # it writes bfloat16


def test_tokenizer_and_chat_format_are_inside(model, tmp_path):
    kind, folder = model
    write_gguf(folder, tmp_path / "model.gguf", "f16")
    fields = {name: field.contents() for name, field in GGUFReader(tmp_path / "model.gguf").fields.items()}
    tree = json.loads((folder / "tokenizer.json").read_text())
    assert fields["tokenizer.ggml.tokens"] == [
        token for token, _ in sorted(tree["model"]["vocab"].items(), key=lambda x: x[1])
    ]
    assert (
        fields["tokenizer.chat_template"] == json.loads((folder / "tokenizer_config.json").read_text())["chat_template"]
    )
    assert fields["tokenizer.ggml.tokens"][fields["tokenizer.ggml.eos_token_id"]] == FAMILIES[kind].end_of_turn
    assert fields["tokenizer.ggml.add_bos_token"] == FAMILIES[kind].has_bos
    if kind == "llama3":
        factors = next(
            tensor for tensor in GGUFReader(tmp_path / "model.gguf").tensors if tensor.name == "rope_freqs.weight"
        )
        assert factors.data.min() == 1 and factors.data.max() == pytest.approx(
            json.loads((folder / "config.json").read_text())["rope_parameters"]["factor"]
        )


def test_another_models_file_is_far_off(model, tmp_path, tmp_path_factory):
    kind, folder = model
    write_gguf(folder, tmp_path / "model.gguf", "f16")
    other = build_tiny(kind, tmp_path_factory.mktemp("other"), seed=1)
    assert check_gguf(other, tmp_path / "model.gguf").largest_error > 0.5


def test_weights_smaller_than_float16_holds_exactly_are_still_only_rounded(tiny_llama, tmp_path):
    shutil.copytree(tiny_llama, tmp_path / "model")
    weights = load_file(tmp_path / "model/model.safetensors")
    weights["model.layers.0.mlp.up_proj.weight"] *= 1e-5
    save_file(weights, tmp_path / "model/model.safetensors", metadata={"format": "pt"})
    for kind, largest in GGUF_BOUNDS.items():
        write_gguf(tmp_path / "model", tmp_path / "model.gguf", kind)
        assert check_gguf(tmp_path / "model", tmp_path / "model.gguf").largest_error <= largest


def test_a_missing_or_an_extra_tensor_is_refused(tiny_llama, tmp_path, monkeypatch):
    tensors = exporting._tensors
    write_gguf(tiny_llama, tmp_path / "model.gguf", "f16")
    monkeypatch.setattr(
        exporting, "_tensors", lambda *a: [*tensors(*a), ("more.weight", np.zeros((2, 32), np.float32))]
    )
    with pytest.raises(GateError, match=r"model\.gguf: tensor more\.weight is missing"):
        check_gguf(tiny_llama, tmp_path / "model.gguf")
    monkeypatch.setattr(exporting, "_tensors", lambda *a: list(tensors(*a))[1:])
    with pytest.raises(GateError, match="tensors that the model does not have"):
        check_gguf(tiny_llama, tmp_path / "model.gguf")


def test_the_stage_writes_and_gates_it(tiny_llama, data_dir, tmp_path):
    (tmp_path / "merge").mkdir()
    (tmp_path / "merge" / "model").symlink_to(tiny_llama)
    result = run_stage(
        export_int4, ExportConfig(recipe="rtn", gguf="q8_0"), data_dir, tmp_path / "merge", tmp_path / "out", seed=1
    )
    measured = {one.id: one for one in result.measurements}
    assert measured["export.gguf_bytes"].value == (tmp_path / "out/gguf/model-q8_0.gguf").stat().st_size
    assert measured["gate.gguf.max_block_error"].gate
