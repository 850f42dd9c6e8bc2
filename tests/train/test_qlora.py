"""NF4 values in memory are those of packed 4-bit layers; only adapters on the linear layers train."""

import pytest
import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM

from tinsmith.config import TrainConfig
from tinsmith.device import Device
from tinsmith.run_dir import read_json
from tinsmith.train.qlora import load_base, load_packed_nf4, load_qlora, round_to_nf4, save_adapter

CPU = Device(torch.device("cpu"), torch.float32, "for this test")


@pytest.mark.parametrize("kind", ["tiny_llama", "tiny_gemma"])
def test_unpacked_base_computes_what_the_packed_one_does(kind, request):
    folder = request.getfixturevalue(kind)
    plain = load_base(folder, CPU)
    ids = torch.arange(10, 40)[None]
    full_precision = plain(input_ids=ids).logits
    round_to_nf4(plain)
    unpacked = plain(input_ids=ids).logits
    packed = load_packed_nf4(folder, CPU)(input_ids=ids).logits
    assert (unpacked - full_precision).abs().max() > 0.05
    torch.testing.assert_close(unpacked, packed, rtol=1e-4, atol=1e-4)


def test_each_weight_takes_at_most_16_values_per_block(tiny_llama):
    model = load_base(tiny_llama, CPU)
    round_to_nf4(model)
    blocks = model.model.layers[0].mlp.up_proj.weight.view(-1, 64)
    assert max(len(block.unique()) for block in blocks) <= 16
    assert len(model.lm_head.weight.view(-1, 64)[0].unique()) > 16  # the head is not a linear layer of the decoder


@pytest.mark.parametrize("share", [0.25, 0.0])
def test_packed_in_memory_where_memory_is_short(tiny_llama, monkeypatch, share):
    monkeypatch.setattr("tinsmith.train.qlora._CACHE_SHARE", share)
    trainable = load_qlora(tiny_llama, TrainConfig(), CPU, seed=0)
    weight = trainable.model.get_base_model().model.layers[0].mlp.up_proj.base_layer.weight
    assert (weight.dtype == torch.uint8) == (share == 0.0)
    assert ("packed in memory and" in trainable.quantization) == (share == 0.0)
    assert trainable.method == "QLoRA" and "bitsandbytes" in trainable.framework


def test_without_quantization_it_is_called_lora(tiny_llama):
    trainable = load_qlora(tiny_llama, TrainConfig(quantization="none"), CPU, seed=0)
    assert trainable.method == "LoRA" and "bitsandbytes" not in trainable.framework
    original = AutoModelForCausalLM.from_pretrained(tiny_llama, dtype=torch.float32)
    weight = trainable.model.get_base_model().model.layers[0].mlp.up_proj.base_layer.weight
    assert torch.equal(weight, original.model.layers[0].mlp.up_proj.weight)


def test_seven_matrices_per_layer_train_and_the_seed_decides_their_start(tiny_gemma):
    def start(seed):
        model = load_qlora(tiny_gemma, TrainConfig(), CPU, seed).model
        return {name: p for name, p in model.named_parameters() if p.requires_grad}

    first, again, other = start(1), start(1), start(2)
    assert len(first) == 2 * 7 * 2 and all("lora_" in name for name in first)
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert any(not torch.equal(first[name], other[name]) for name in first)


def test_saved_adapter_is_what_peft_loads(tiny_llama, tmp_path):
    model = load_qlora(tiny_llama, TrainConfig(quantization="none"), CPU, seed=0).model
    weights = {name: torch.randn_like(p) * 0.1 for name, p in model.named_parameters() if p.requires_grad}
    save_adapter(model, weights, "org/base", tmp_path)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["adapter_config.json", "adapter_model.safetensors"]
    assert read_json(tmp_path / "adapter_config.json")["base_model_name_or_path"] == "org/base"
    with torch.no_grad():
        for name, p in model.named_parameters():
            if name in weights:
                p.copy_(weights[name])
    fresh = AutoModelForCausalLM.from_pretrained(tiny_llama, dtype=torch.float32)
    loaded = PeftModel.from_pretrained(fresh, tmp_path)
    ids = torch.arange(10, 40)[None]
    torch.testing.assert_close(loaded(input_ids=ids).logits, model(input_ids=ids).logits)
