"""A GGUF file becomes the model it was made from, weight by weight, or is refused with the reason."""

import json

import pytest
import torch
from safetensors.torch import load_file
from tiny_gguf import write_tiny_gguf
from transformers import AutoModelForCausalLM, AutoTokenizer

from tinsmith.base.gguf import convert
from tinsmith.core.errors import BaseModelError


def _converted(tmp_path, source, kind, tokenizer=None, **options):
    path = write_tiny_gguf(source, tmp_path / "tiny.gguf", kind, **options)
    out = tmp_path / "out"
    out.mkdir()
    return out, convert(path, tokenizer, out)


@pytest.mark.parametrize("kind", ["llama", "gemma3"])
def test_weights_and_logits_survive_the_round_trip(kind, tmp_path, request):
    source = request.getfixturevalue({"llama": "tiny_llama", "gemma3": "tiny_gemma"}[kind])
    out, _ = _converted(tmp_path, source, kind, tokenizer=source / "tokenizer.json")
    before, after = load_file(source / "model.safetensors"), load_file(out / "model.safetensors")
    assert before.keys() == after.keys()
    for name in before:
        # Gemma's 1 + w rounds in float32, far below bf16's step unless w is tiny.
        torch.testing.assert_close(after[name], before[name], rtol=0.01, atol=1e-6)
    ids = torch.arange(40).unsqueeze(0) + 20
    logits = [AutoModelForCausalLM.from_pretrained(f, dtype=torch.float32)(ids).logits for f in (source, out)]
    torch.testing.assert_close(logits[1], logits[0], rtol=0, atol=2e-3)


def test_quantized_blocks_are_expanded(tmp_path, tiny_llama):
    out, facts = _converted(tmp_path, tiny_llama, "llama", quantization="Q8_0")
    assert facts.format == "GGUF Q8_0" and facts.is_quantized and facts.license == "apache-2.0"
    before, after = load_file(tiny_llama / "model.safetensors"), load_file(out / "model.safetensors")
    name = "model.layers.1.self_attn.q_proj.weight"
    error = (after[name].float() - before[name].float()).abs().max()
    # Q8_0 keeps a block's largest weight at 127 steps: half a step, and bf16 rounding of the result.
    largest = before[name].float().abs().max()
    assert 0 < error <= largest * (0.5 / 127 + 2**-9)


def test_unquantized_file_is_not_called_quantized(tmp_path, tiny_llama):
    _, facts = _converted(tmp_path, tiny_llama, "llama")
    assert facts.format == "GGUF F32" and not facts.is_quantized


def test_tokenizer_is_rebuilt_with_single_digits(tmp_path, tiny_llama):
    out, _ = _converted(tmp_path, tiny_llama, "llama", chat_template="{{ 1 }}")
    rebuilt, original = (AutoTokenizer.from_pretrained(folder) for folder in (out, tiny_llama))
    text = "<|im_start|>user\nWhat does the latte cost?<|im_end|>\n"
    assert rebuilt(text)["input_ids"] == original(text)["input_ids"]
    assert original.tokenize("80 25") == ["80", "Ġ25"], "the vocabulary has longer numbers, so the split matters"
    assert rebuilt.tokenize("80 25") == ["8", "0", "Ġ", "2", "5"]
    assert rebuilt.decode(rebuilt("Rp 25k, später")["input_ids"]) == "Rp 25k, später"
    assert rebuilt.bos_token == "<|im_start|>" and rebuilt.eos_token == rebuilt.pad_token == "<|im_end|>"
    assert json.loads((out / "tokenizer_config.json").read_text())["chat_template"] == "{{ 1 }}"


def test_config_has_gemma_windows_and_both_rope_bases(tmp_path, tiny_gemma):
    out, _ = _converted(tmp_path, tiny_gemma, "gemma3", tokenizer=tiny_gemma / "tokenizer.json")
    config = json.loads((out / "config.json").read_text())
    assert config["layer_types"] == ["sliding_attention", "full_attention"]
    assert config["sliding_window"] == 16
    assert config["rope_parameters"]["sliding_attention"]["rope_theta"] == 10_000
    assert config["rope_parameters"]["full_attention"]["rope_theta"] == 1_000_000
    assert config["query_pre_attn_scalar"] == config["head_dim"] == 32
    assert config["rms_norm_eps"] == 1e-6


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"architecture": "qwen2"}, "unsupported GGUF architecture 'qwen2'"),
        ({"extra_tensor": "blk.0.attn_q.bias"}, "tensor 'blk.0.attn_q.bias' is not part of a llama model"),
        ({"extra_tensor": "rope_freqs.weight"}, "scaled RoPE in a GGUF file is not supported"),
        ({"rope_scaling": "yarn"}, "scaling type 'yarn'"),
        ({"pre": "llama-bpe"}, "pre-tokenizer 'llama-bpe'.* cannot be converted"),
    ],
)
def test_what_is_not_understood_is_refused(options, message, tmp_path, tiny_llama):
    with pytest.raises(BaseModelError, match=message):
        _converted(tmp_path, tiny_llama, "llama", **options)


def test_tokenizer_of_another_model_is_refused(tmp_path, tiny_llama):
    tree = json.loads((tiny_llama / "tokenizer.json").read_text())
    names = {index: token for token, index in tree["model"]["vocab"].items()}
    tree["model"]["vocab"] |= {names[300]: 301, names[301]: 300}
    (tmp_path / "tokenizer.json").write_text(json.dumps(tree))
    with pytest.raises(BaseModelError, match=r"2 of \d+ tokens differ from tokenizer.json\n  id 300: "):
        _converted(tmp_path, tiny_llama, "llama", tokenizer=tmp_path / "tokenizer.json")


def test_cut_file_is_refused(tmp_path, tiny_llama):
    whole = write_tiny_gguf(tiny_llama, tmp_path / "whole.gguf", "llama").read_bytes()
    (tmp_path / "cut.gguf").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "text.gguf").write_text("no model here, only words " * 20)
    for name in ("cut.gguf", "text.gguf"):
        with pytest.raises(BaseModelError, match=f"{name}: not a readable GGUF file"):
            convert(tmp_path / name, None, tmp_path)
