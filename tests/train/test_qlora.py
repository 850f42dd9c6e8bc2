"""NF4 values in memory are those of packed 4-bit layers; only adapters on the linear layers train."""

import time

import pytest
import torch
from peft import PeftModel
from safetensors import SafetensorError
from transformers import AutoModelForCausalLM, BitsAndBytesConfig

from tinsmith.core.config import TrainConfig
from tinsmith.core.device import Device
from tinsmith.core.errors import ArtifactError
from tinsmith.core.run_dir import read_json
from tinsmith.model.packed.packing import make_pack
from tinsmith.model.tokens import Tokens
from tinsmith.train.lora import lora_decoder
from tinsmith.train.qlora import _unpacking_share, load_base, load_qlora, round_to_nf4, save_adapter

CPU = Device(torch.device("cpu"), torch.float32, "for this test")


@pytest.mark.parametrize("kind", ["tiny_llama", "tiny_gemma"])
def test_packed_and_unpacked_weights_compute_what_bitsandbytes_own_layers_do(kind, request):
    folder = request.getfixturevalue(kind)
    ids = torch.arange(10, 40)[None]
    reference = AutoModelForCausalLM.from_pretrained(
        folder,
        dtype=torch.float32,
        device_map={"": "cpu"},
        quantization_config=BitsAndBytesConfig(
            load_in_4bit=True,
            bnb_4bit_quant_type="nf4",
            bnb_4bit_use_double_quant=True,
            bnb_4bit_compute_dtype=torch.float32,
        ),
    )
    wanted = reference.get_decoder()(input_ids=ids).last_hidden_state
    full_precision = load_base(folder, CPU).get_decoder()(input_ids=ids).last_hidden_state
    assert (wanted - full_precision).abs().max() > 0.05
    tokens = Tokens("a", tuple(ids[0].tolist()), (False,) + (True,) * 29)
    for storage in ("packed", "unpacked"):
        model = load_qlora(folder, TrainConfig(nf4_storage=storage), CPU, seed=0).model
        packed = lora_decoder(model).hidden(make_pack([tokens], torch.device("cpu")))
        torch.testing.assert_close(packed, wanted[0, :-1], rtol=1e-4, atol=1e-4)


def test_each_weight_takes_at_most_16_values_per_block(tiny_llama):
    model = load_base(tiny_llama, CPU)
    round_to_nf4(model)
    blocks = model.model.layers[0].mlp.up_proj.weight.view(-1, 64)
    assert max(len(block.unique()) for block in blocks) <= 16
    assert len(model.lm_head.weight.view(-1, 64)[0].unique()) > 16  # the head is not a linear layer of the decoder


@pytest.mark.parametrize(
    ("share", "memory", "storage"), [(0.01, 8e9, "packed"), (0.5, 8e9, "unpacked"), (0.5, 1e5, "packed")]
)
def test_weights_are_unpacked_where_unpacking_is_slow_and_memory_allows(
    tiny_llama, monkeypatch, share, memory, storage
):
    monkeypatch.setattr("tinsmith.train.qlora._unpacking_share", lambda *_: share)
    monkeypatch.setattr("tinsmith.train.qlora.device_memory_bytes", lambda _: memory)
    trainable = load_qlora(tiny_llama, TrainConfig(), CPU, seed=0)
    weight = trainable.model.get_base_model().model.layers[0].mlp.up_proj.base_layer.weight
    assert (weight.dtype == torch.uint8) == (storage == "packed")
    assert f", {storage}" in trainable.quantization and "because" in trainable.quantization
    assert trainable.method == "QLoRA" and "bitsandbytes" in trainable.framework


def test_share_of_unpacking_is_measured(tiny_llama, monkeypatch):
    from bitsandbytes import functional

    base = load_base(tiny_llama, CPU)
    as_it_is, real = _unpacking_share(base, CPU), functional.dequantize_4bit

    def slow(*arguments):
        time.sleep(0.2)
        return real(*arguments)

    monkeypatch.setattr(functional, "dequantize_4bit", slow)
    assert _unpacking_share(base, CPU) > 3 * as_it_is > 0


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


def test_a_full_disk_is_named_when_the_adapter_is_saved(tiny_llama, tmp_path, monkeypatch):
    def fail(tensors, path, metadata):
        path.write_bytes(b"half")
        raise SafetensorError("I/O error: No space left on device (os error 28)")

    model = load_qlora(tiny_llama, TrainConfig(quantization="none"), CPU, seed=0).model
    weights = {name: p.detach() for name, p in model.named_parameters() if p.requires_grad}
    monkeypatch.setattr("safetensors.torch.save_file", fail)
    with pytest.raises(ArtifactError, match=r"adapter_model\.safetensors: cannot be written .*No space left"):
        save_adapter(model, weights, "org/base", tmp_path)
    assert not (tmp_path / "adapter_model.safetensors").exists()
