"""Guided GPTQ: errors where the loss feels them least, drift made good, and the passes that find out."""

import dataclasses

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM

from tinsmith.device import Device
from tinsmith.export.blocks import round_to_nearest, unpack
from tinsmith.export.calibrate import EMBEDDING, HEAD, calibrate, make_guide, round_all
from tinsmith.export.gptq import moved, prepare, quantize_matrix
from tinsmith.export.models import load_model
from tinsmith.packed.packing import make_pack
from tinsmith.tokens import load_tokenizer
from tiny import build_tiny, tiny_conversations

CPU = Device(torch.device("cpu"), torch.float32, "tests")


@pytest.fixture
def correlated():
    """Inputs (512, 64) of low rank with noise, and a matrix (48, 64)."""
    generator = torch.Generator().manual_seed(1)
    inputs = torch.randn(512, 8, generator=generator) @ torch.randn(8, 64, generator=generator)
    inputs = inputs @ torch.randn(64, 64, generator=generator) * 0.1 + 0.3 * torch.randn(512, 64, generator=generator)
    return inputs, torch.randn(48, 64, generator=generator)


def output_error(inputs, blocks, weight):
    """Square error of the outputs (T, N)."""
    return (inputs @ (torch.from_numpy(unpack(blocks)) - weight).T).square()


def test_gptq_halves_the_output_error_of_rounding_and_says_how_large_it_is(correlated):
    inputs, weight = correlated
    blocks, error = quantize_matrix(weight, prepare(inputs))
    found = output_error(inputs, blocks, weight).sum().item()
    assert found < 0.5 * output_error(inputs, round_to_nearest(weight), weight).sum().item()
    damping = 0.01 * inputs.square().sum(0).mean() * (torch.from_numpy(unpack(blocks)) - weight).square().sum()
    assert error == pytest.approx(found + damping.item(), rel=1e-3)


def test_rows_that_matter_more_get_less_error(correlated):
    inputs, weight = correlated
    row_weights = torch.ones(512)
    row_weights[:40] = 50
    plain = output_error(inputs, quantize_matrix(weight, prepare(inputs))[0], weight).mean(1)
    guided = output_error(inputs, quantize_matrix(weight, prepare(inputs, row_weights))[0], weight).mean(1)
    assert guided[:40].mean() < 0.8 * plain[:40].mean()
    # Weights count as repetition.
    repeated = torch.cat([inputs, inputs[:40].repeat(49, 1)])
    same = quantize_matrix(weight, prepare(repeated))[0]
    np.testing.assert_allclose(
        output_error(inputs, same, weight).mean(1)[:40].mean(), guided[:40].mean(), rtol=0.02
    )


def test_drifted_inputs_are_made_good(correlated):
    full, weight = correlated
    drifted = full + 0.5 * full.roll(1, dims=1)
    expected = full @ weight.T

    def error(matrix):
        return (drifted @ matrix.T - expected).square().mean().item()

    inputs = prepare(drifted, full_precision=full)
    best = torch.linalg.lstsq(drifted, expected).solution.T
    assert error(moved(weight, inputs)) < 1.3 * error(best) + 0.05 * error(weight)
    blocks, _ = quantize_matrix(weight, inputs)
    unmoved, _ = quantize_matrix(weight, prepare(drifted))
    assert error(torch.from_numpy(unpack(blocks))) < 0.5 * error(torch.from_numpy(unpack(unmoved)))
    assert torch.equal(moved(weight, prepare(drifted)), weight)


@pytest.fixture(scope="module", params=["llama", "gemma3", "qwen2"])
def case(request, tmp_path_factory):
    """(model folder, conversations) for a tied, a scaled and an untied embedding."""
    folder = build_tiny(request.param, tmp_path_factory.mktemp(request.param))
    return folder, load_tokenizer(folder).encode_all(tiny_conversations(8, "You sell tea and know what a cup costs. "))


def test_row_weights_are_the_squared_gradients_autograd_finds(case):
    folder, conversations = case
    guide = make_guide(load_model(folder, CPU), make_pack(conversations[:1], CPU.device))
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    seen = {}
    for name, module in model.model.named_modules():
        if isinstance(module, torch.nn.Linear):
            module.register_full_backward_hook(
                lambda _, __, grads, name=f"model.{name}.weight": seen.__setitem__(name, grads[0][0])
            )
    ids, mask = torch.tensor([conversations[0].ids]), torch.tensor(conversations[0].mask[1:])
    logits = model(input_ids=ids).logits[0, :-1][mask]
    torch.nn.functional.cross_entropy(logits, ids[0, 1:][mask], reduction="sum").backward()
    assert set(seen) == set(guide.row_weights)
    for name, grad in seen.items():
        expected = grad.square().mean(-1)
        found = guide.row_weights[name]
        if len(found) < len(expected):  # past the last attention, only rows that predict a target are computed
            expected = expected[:-1][mask]
        torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-5 * expected.max().item(), msg=name)


def test_every_matrix_is_calibrated_and_the_model_ends_with_what_ships(case):
    folder, conversations = case
    pack, model = make_pack(conversations, CPU.device), load_model(folder, CPU)
    names = {name for name, weight in model.named_parameters() if weight.dim() == 2}
    eight = {name for name in names if "layers.1.self_attn.v_proj" in name or "layers.0.mlp.down" in name}
    calibrated = calibrate(model, pack, make_guide(model, pack), eight)
    assert set(calibrated.matrices) == names and len(eight) == 2
    assert {name for name, blocks in calibrated.matrices.items() if blocks.bits == 8} == eight
    assert set(calibrated.losses) == names - eight - {EMBEDDING, HEAD} and min(calibrated.losses.values()) > 0
    for name, blocks in calibrated.matrices.items():
        if name != HEAD:
            np.testing.assert_array_equal(model.get_parameter(name).numpy(), unpack(blocks))


def test_losses_are_in_the_unit_of_the_squared_gradients(case):
    folder, conversations = case
    pack, model = make_pack(conversations, CPU.device), load_model(folder, CPU)
    guide = make_guide(model, pack)
    louder = dataclasses.replace(guide, row_weights={
        name: weights * (1024 if "v_proj" in name else 2**-20) for name, weights in guide.row_weights.items()
    })
    found, scaled = (calibrate(load_model(folder, CPU), pack, one) for one in (guide, louder))
    for name, loss in found.losses.items():
        assert scaled.losses[name] == loss * (1024 if "v_proj" in name else 2**-20)  # exact: powers of two
        assert (scaled.matrices[name].packed == found.matrices[name].packed).all()


def test_the_heads_most_predicted_rows_are_refined_and_the_embeddings_are_not(case, monkeypatch):
    folder, conversations = case
    monkeypatch.setattr("tinsmith.export.calibrate._REFINED_ROWS", 10)
    pack, model = make_pack(conversations, CPU.device), load_model(folder, CPU)
    full = model.get_output_embeddings().weight.clone()
    quantized = calibrate(model, pack, make_guide(model, pack))
    head = torch.from_numpy(unpack(quantized.matrices.get(HEAD, quantized.matrices[EMBEDDING])))
    refined = quantized.refinement.places < 10
    counts = pack.targets.bincount(minlength=len(head)).numpy()
    assert refined.sum() == 10 and counts[refined].min() >= counts[~refined].max()
    assert quantized.refinement.blocks.scales.shape[0] == 11 and not unpack(quantized.refinement.blocks)[10].any()
    held = model.get_output_embeddings().weight
    assert torch.equal(held[~refined], head[~refined])
    assert (held - full)[refined].square().sum() < 0.02 * (head - full)[refined].square().sum()
    embedding = torch.from_numpy(unpack(quantized.matrices[EMBEDDING]))
    assert torch.equal(model.get_input_embeddings().weight, embedding)


def test_calibration_predicts_better_than_rounding(case):
    folder, conversations = case
    pack = make_pack(conversations, CPU.device)

    def distance(make):
        models = [load_model(folder, CPU) for _ in range(2)]
        make(models[0])
        with torch.no_grad():
            logits = [model(input_ids=torch.tensor([conversations[0].ids])).logits for model in models]
        return (logits[0] - logits[1]).square().mean().item()

    calibrated = distance(lambda model: calibrate(model, pack, make_guide(model, pack)))
    assert calibrated < 0.7 * distance(round_all)
