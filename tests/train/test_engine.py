"""The loss at supervised positions equals the loss of the whole model's own logits, in value and in every gradient."""

import pytest
import torch
import torch.nn.functional as F
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM

from tinsmith.model.packed import loss
from tinsmith.model.padding import padded
from tinsmith.model.tokens import load_tokenizer
from tinsmith.train.engine import batch_loss_sum
from tiny import tiny_conversations


def adapted(folder):
    """The tiny model in float32 with LoRA whose B is not zero, so that every factor has a gradient."""
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).requires_grad_(False)
    torch.manual_seed(1)
    model = get_peft_model(model, LoraConfig(r=4, target_modules=["q_proj", "down_proj"], init_lora_weights=False))
    return model, {name: p for name, p in model.named_parameters() if p.requires_grad}


def gradients(parameters, scalar):
    return dict(zip(parameters, torch.autograd.grad(scalar, parameters.values()), strict=True))


@pytest.mark.parametrize("kind", ["tiny_llama", "tiny_gemma"])
@pytest.mark.parametrize(("rows", "block"), [(512, 4096), (7, 50)])
def test_equals_reference_over_full_logits_one_conversation_at_a_time(kind, rows, block, request, monkeypatch):
    monkeypatch.setattr(loss, "_BLOCKS", {"cpu": (rows, block)})
    folder = request.getfixturevalue(kind)
    tokens = load_tokenizer(folder).encode_all(tiny_conversations(5))
    model, parameters = adapted(folder)
    reference = torch.zeros(())
    for one in tokens:
        ids = torch.tensor([one.ids])
        nll = F.cross_entropy(model(input_ids=ids).logits[0, :-1], ids[0, 1:], reduction="none")
        reference = reference + nll[torch.tensor(one.mask[1:])].sum()
    expected = gradients(parameters, reference)
    ids, mask = padded(tokens, pad_id=3, device=torch.device("cpu"))
    batch_loss = batch_loss_sum(model, ids, mask)
    actual = gradients(parameters, batch_loss)
    torch.testing.assert_close(batch_loss, reference.detach(), rtol=1e-5, atol=1e-5)
    for name in parameters:
        assert (actual[name] - expected[name]).norm() <= 1e-5 * expected[name].norm(), name


def test_long_conversation_past_the_window_is_unchanged_by_shorter_neighbours(tiny_gemma):
    tokens = load_tokenizer(tiny_gemma).encode_all(tiny_conversations(4))
    model, _ = adapted(tiny_gemma)
    assert len(tokens[3].ids) > 2 * 16  # the model's window
    together = batch_loss_sum(model, *padded(tokens, 0, torch.device("cpu")))
    alone = sum(batch_loss_sum(model, *padded([one], 0, torch.device("cpu"))) for one in tokens)
    torch.testing.assert_close(together, alone, rtol=1e-5, atol=1e-5)
