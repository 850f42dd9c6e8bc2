"""The pass size follows the model and the machine; the estimate is near what autograd really keeps."""

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from tinsmith.config import TrainConfig
from tinsmith.device import Device
from tinsmith.train import memory


def test_more_memory_means_more_tokens_within_bounds(monkeypatch):
    config = LlamaConfig(hidden_size=576, intermediate_size=1536, num_hidden_layers=30)
    chosen = Device(torch.device("cpu"), torch.bfloat16, "for this test")
    found = []
    for total in (5e8, 8e9, 16e9, 64e9):
        monkeypatch.setattr(memory, "device_memory_bytes", lambda _, total=total: int(total))
        found.append(memory.tokens_per_pass(config, chosen))
    assert found[0] == 256 and found[0] < found[1] < found[2] == found[3]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_estimate_is_within_40_percent_of_saved_activations(tmp_path, dtype):
    from tinsmith.train.qlora import load_qlora

    config = LlamaConfig(
        vocab_size=64, hidden_size=128, intermediate_size=384, num_hidden_layers=3, num_attention_heads=4,
        num_key_value_heads=2,
    )
    LlamaForCausalLM(config).to(torch.bfloat16).save_pretrained(tmp_path)
    chosen = Device(torch.device("cpu"), dtype, "for this test")
    model = load_qlora(tmp_path, TrainConfig(quantization="none", lora_rank=4), chosen, seed=0).model
    frozen = {tensor.untyped_storage().data_ptr() for tensor in (*model.parameters(), *model.buffers())}
    tensors = {}

    def keep(tensor):
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in frozen:
            tensors[storage.data_ptr()] = storage.nbytes()
        return tensor

    tokens = 512
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        hidden = model.get_decoder()(input_ids=torch.zeros((4, tokens // 4), dtype=torch.long), use_cache=False)
    assert hidden.last_hidden_state.requires_grad
    ratio = sum(tensors.values()) / tokens / memory.activation_bytes_per_token(config, dtype.itemsize)
    assert 0.6 < ratio < 1.4, ratio
