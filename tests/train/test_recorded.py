"""A recorded pass has the loss and gradients of the pass itself; a wrong record is noticed and not used."""

import pytest
import torch
import torch.nn.functional as F
from peft import get_peft_model
from transformers import AutoModelForCausalLM

from adapters import tiny_with_adapters
from tinsmith.core.config import TrainConfig
from tinsmith.model.packed import attention, decoder
from tinsmith.model.packed.loss import pack_loss_sum
from tinsmith.model.packed.packing import fill_pack, filled_rows, make_pack
from tinsmith.model.tokens import load_tokenizer
from tinsmith.train.engine import PackedEngine
from tinsmith.train.lora import lora_decoder
from tinsmith.train.qlora import _lora_config
from tinsmith.train.recorded import RecordedEngine, record_cuda_graph
from tiny import build_tiny, tiny_conversations

CPU = torch.device("cpu")


def dense(q, k, v, block_mask, scale, enable_gqa):
    """FlexAttention's result, with a backward pass on a CPU too."""
    rows, keys = torch.arange(q.shape[2])[:, None], torch.arange(k.shape[2])[None]
    mask = block_mask.mask_mod(torch.zeros((), dtype=torch.long), torch.zeros((), dtype=torch.long), rows, keys)
    return F.scaled_dot_product_attention(q, k, v, mask, scale=scale, enable_gqa=enable_gqa)


def repeat(run):
    """Stands for a CUDA graph: does the same work again, over what is in its inputs by then."""
    return run


def do_nothing(run):
    """A broken record: its results stay those of the last run."""
    return lambda: None


@pytest.fixture(params=["llama", "gemma3"])
def model(request, tmp_path, monkeypatch):
    """(model, its parameters, conversations)"""
    monkeypatch.setattr(decoder, "attention_over", lambda pack: attention._flex_over(pack, dense))
    folder = build_tiny(request.param, tmp_path)
    conversations = load_tokenizer(folder).encode_all(tiny_conversations(12, "You sell tea. "))
    model, parameters = tiny_with_adapters(folder)
    return model, parameters, conversations


def recorded(model, parameters, record, says=None):
    plain = PackedEngine(lora_decoder(model), 12, 10**6, CPU)
    return plain, RecordedEngine(plain, list(parameters.values()), (says if says is not None else []).append, record)


def backward(engine, parameters, group, divisor=7.0):
    for parameter in parameters.values():
        parameter.grad = None
    loss = engine.backward(group, divisor)
    return loss.item(), {name: parameter.grad.clone() for name, parameter in parameters.items()}


def difference(actual, expected):
    return max(((actual[name] - expected[name]).norm() / expected[name].norm()).item() for name in expected)


def test_gradients_equal_those_of_plain_passes_whatever_ran_before(model):
    model, parameters, conversations = model
    says: list[str] = []
    records = []
    plain, engine = recorded(model, parameters, lambda run: records.append(run) or run, says)
    for group in (conversations[:4], conversations[4:9], conversations[2:7], conversations):
        loss, gradients = backward(engine, parameters, group)
        expected_loss, expected = backward(plain, parameters, group)
        assert loss == pytest.approx(expected_loss, rel=1e-6)
        assert difference(gradients, expected) < 1e-5
    sizes = {(fill_pack(p).rows, len(fill_pack(p).targets)) for p in _packs(conversations)}
    assert len(records) == len(sizes) < 4 and not says


def _packs(conversations):
    return [make_pack(conversations[part], CPU) for part in (slice(4), slice(4, 9), slice(2, 7), slice(12))]


def test_gradients_of_passes_add_up(model):
    model, parameters, conversations = model
    _, engine = recorded(model, parameters, repeat)
    _, first = backward(engine, parameters, conversations[:4])
    engine.backward(conversations[4:], 7.0)
    both = {name: parameter.grad.clone() for name, parameter in parameters.items()}
    _, second = backward(engine, parameters, conversations[4:])
    assert difference(both, {name: first[name] + second[name] for name in first}) < 1e-5


def test_a_record_that_fails_leaves_plain_passes(model):
    model, parameters, conversations = model

    def refuse(run):
        raise RuntimeError("operation not permitted when stream is capturing\nsecond line")

    says: list[str] = []
    plain, engine = recorded(model, parameters, refuse, says)
    for group in (conversations[:4], conversations[4:]):
        assert difference(backward(engine, parameters, group)[1], backward(plain, parameters, group)[1]) < 1e-6
    assert says == ["training goes on without CUDA graphs: operation not permitted when stream is capturing"]


def test_a_record_with_wrong_gradients_is_not_used(model):
    model, parameters, conversations = model
    says: list[str] = []

    def shrink(run):
        def wrong():
            run()
            for engine_pass in passes:
                engine_pass.gradients = [gradient * 0.96 for gradient in engine_pass.gradients]

        passes = [run.__self__]
        return wrong

    plain, engine = recorded(model, parameters, shrink, says)
    assert (
        difference(backward(engine, parameters, conversations)[1], backward(plain, parameters, conversations)[1]) < 1e-6
    )
    assert len(says) == 1 and "differs from the pass" in says[0]


def test_a_record_that_ignores_its_inputs_would_be_seen_here(model):
    model, parameters, conversations = model
    plain, engine = recorded(model, parameters, do_nothing)
    backward(engine, parameters, conversations[:4])
    stale = backward(engine, parameters, conversations[4:8])[1]
    assert difference(stale, backward(plain, parameters, conversations[4:8])[1]) > 0.1


@pytest.mark.parametrize(
    ("rows", "filled"), [(1, 512), (512, 512), (513, 640), (1024, 1024), (1025, 1280), (9000, 10240)]
)
def test_sizes_recur(rows, filled):
    assert filled_rows(rows) == filled


def test_filler_changes_nothing_on_a_cpu_too(tmp_path):
    folder = build_tiny("gemma3", tmp_path)
    conversations = load_tokenizer(folder).encode_all(tiny_conversations(5))
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).requires_grad_(False)
    model = get_peft_model(model, _lora_config(TrainConfig(lora_rank=4)))
    pack = make_pack(conversations, CPU)
    engine = lora_decoder(model)
    with torch.no_grad():
        plain, filled = (pack_loss_sum(engine, each).item() for each in (pack, fill_pack(pack)))
    assert fill_pack(pack).rows > pack.rows and filled == pytest.approx(plain, rel=1e-6)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_cuda_graphs_have_the_gradients_of_plain_passes(model, monkeypatch):
    model, parameters, conversations = model
    monkeypatch.undo()  # the compiled attention
    model.to("cuda")
    says: list[str] = []
    plain = PackedEngine(lora_decoder(model), 12, 10**6, torch.device("cuda"))
    engine = RecordedEngine(plain, list(parameters.values()), says.append, record_cuda_graph())
    for group in (conversations[:4], conversations[4:9], conversations[2:7], conversations):
        loss, gradients = backward(engine, parameters, group)
        expected_loss, expected = backward(plain, parameters, group)
        assert loss == pytest.approx(expected_loss, rel=1e-5)
        assert difference(gradients, expected) < 1e-3
    assert not says
