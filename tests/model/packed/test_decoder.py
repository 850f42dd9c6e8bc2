"""A pack has the loss and gradients of its separate conversations, for every family, window and checkpointing."""

import pytest
import torch
import torch.nn.functional as F
from peft import get_peft_model
from transformers import AutoModelForCausalLM

from adapters import tiny_with_adapters
from tinsmith.core.config import TrainConfig
from tinsmith.model.packed import attention, decoder
from tinsmith.model.packed.loss import pack_loss_sum
from tinsmith.model.packed.packing import make_pack
from tinsmith.model.tokens import load_tokenizer
from tinsmith.train.lora import lora_decoder
from tinsmith.train.qlora import _lora_config
from tiny import FAMILIES, build_tiny, tiny_conversations

CPU = torch.device("cpu")
SYSTEM = "You sell tea and you know what every cup costs. "


@pytest.fixture(scope="module", params=[(kind, 16) for kind in FAMILIES] + [("gemma3", 400)], ids=str)
def case(request, tmp_path_factory):
    """(model, its parameters, conversations, loss, gradients); the last two from one conversation at a time."""
    kind, window = request.param
    folder = build_tiny(kind, tmp_path_factory.mktemp(kind), window=window)
    conversations = load_tokenizer(folder).encode_all(tiny_conversations(10, SYSTEM))
    model, parameters = tiny_with_adapters(folder)
    reference = torch.zeros((), dtype=torch.float64)
    for one in conversations:
        ids = torch.tensor([one.ids])
        nll = F.cross_entropy(model(input_ids=ids).logits[0, :-1], ids[0, 1:], reduction="none")
        reference = reference + nll[torch.tensor(one.mask[1:])].sum()
    gradients = torch.autograd.grad(reference, parameters.values())
    assert len(conversations[3].ids) > 3 * 16
    return model, parameters, conversations, reference.detach(), dict(zip(parameters, gradients, strict=True))


def assert_same(case, loss):
    _, parameters, _, reference, expected = case
    gradients = dict(zip(parameters, torch.autograd.grad(loss, parameters.values()), strict=True))
    torch.testing.assert_close(loss.detach().double(), reference, rtol=1e-6, atol=1e-4)
    for name in parameters:
        assert (gradients[name] - expected[name]).norm() <= 1e-5 * expected[name].norm(), name


@pytest.mark.parametrize("recomputed", [0, 1, 2])
def test_gradients_equal_those_of_separate_conversations(case, recomputed):
    model, _, conversations, *_ = case
    pack = make_pack(conversations, CPU)
    assert pack.rows < 0.7 * pack.tokens and max(len(node.ancestors) for node in pack.nodes) >= 1
    assert_same(case, pack_loss_sum(lora_decoder(model, recomputed), pack))


def test_tiles_smaller_than_windows_and_openings(case, monkeypatch):
    monkeypatch.setattr(attention, "_BLOCK_ROWS", 5)
    attention._causal.cache_clear()
    model, _, conversations, *_ = case
    assert_same(case, pack_loss_sum(lora_decoder(model), make_pack(conversations, CPU)))


def test_flex_attention_follows_the_same_rule(case, monkeypatch):
    """The GPU's attention, uncompiled on the CPU, where PyTorch has only its forward pass."""
    monkeypatch.setattr(decoder, "attention_over", lambda pack: attention._flex_over(pack, attention.flex_attention))
    model, _, conversations, reference, _ = case
    with torch.no_grad():
        loss = pack_loss_sum(lora_decoder(model), make_pack(conversations, CPU))
    assert loss.item() == pytest.approx(reference.item(), rel=1e-6)


def test_passes_of_different_sizes_use_the_same_memory(case):
    model, parameters, conversations, reference, expected = case
    engine = lora_decoder(model)
    total, sums = 0.0, {name: torch.zeros_like(p) for name, p in parameters.items()}
    for group in (conversations[:7], conversations[7:8], conversations[8:]):
        loss = pack_loss_sum(engine, make_pack(group, CPU))
        total += loss.item()
        for name, grad in zip(parameters, torch.autograd.grad(loss, parameters.values()), strict=True):
            sums[name] += grad
    assert total == pytest.approx(reference.item(), rel=1e-6)
    assert all((sums[name] - expected[name]).norm() <= 1e-5 * expected[name].norm() for name in parameters)
    assert (
        engine._arena.size_bytes == 512 * 2**20
    )  # one block; the system gives it real memory only as far as it is used


def test_the_arena_stays_empty_without_gradients(case):
    model, _, conversations, reference, _ = case
    engine = lora_decoder(model)
    with torch.no_grad():
        loss = pack_loss_sum(engine, make_pack(conversations, CPU))
    assert loss.item() == pytest.approx(reference.item(), rel=1e-6) and engine._arena.size_bytes == 0


def test_other_conversations_in_the_pack_change_nothing(case):
    model, _, conversations, *_ = case
    engine = lora_decoder(model)
    with torch.no_grad():
        alone = [pack_loss_sum(engine, make_pack([one], CPU)).item() for one in conversations]
        together = pack_loss_sum(engine, make_pack(conversations, CPU)).item()
        dropped = pack_loss_sum(engine, make_pack(conversations[:-1], CPU)).item()
    assert together == pytest.approx(sum(alone), rel=1e-6)
    assert together - dropped == pytest.approx(alone[-1], rel=1e-4)


@pytest.mark.parametrize("kind", ["llama", "gemma3"])
def test_bfloat16_stays_near_float32(kind, tmp_path):
    folder = build_tiny(kind, tmp_path)
    conversations = load_tokenizer(folder).encode_all(tiny_conversations(6, SYSTEM))
    losses = {}
    for dtype in (torch.float32, torch.bfloat16):
        model = AutoModelForCausalLM.from_pretrained(folder, dtype=dtype).requires_grad_(False)
        torch.manual_seed(1)
        model = get_peft_model(model, _lora_config(TrainConfig()), autocast_adapter_dtype=False)
        losses[dtype] = pack_loss_sum(lora_decoder(model), make_pack(conversations, CPU)).item()
    assert losses[torch.bfloat16] == pytest.approx(losses[torch.float32], rel=5e-3)
    assert losses[torch.bfloat16] != losses[torch.float32]


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_on_a_gpu_gradients_equal_those_of_the_cpu(case):
    model, parameters, conversations, *_ = case
    model.to("cuda")
    try:
        loss = pack_loss_sum(lora_decoder(model), make_pack(conversations, torch.device("cuda")))
        gradients = torch.autograd.grad(loss, parameters.values())
        for (name, expected), grad in zip(case[4].items(), gradients, strict=True):
            assert (grad.cpu() - expected).norm() <= 1e-3 * expected.norm(), name
    finally:
        model.to("cpu")
