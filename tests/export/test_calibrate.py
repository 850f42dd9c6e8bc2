"""Guided GPTQ: errors where the loss feels them least, drift made good, and the passes that find out."""

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM

from tinsmith.core.device import Device
from tinsmith.export import gptq
from tinsmith.export.blocks import block_steps, integers_of, nibbles_of, round_to_nearest, to_integers, unpack
from tinsmith.export.calibrate import EMBEDDING, HEAD, calibrate, make_guide, round_all
from tinsmith.export.gptq import corrected, prepare, quantize_matrix
from tinsmith.export.models import conversation_losses, frozen_model
from tinsmith.model.packed.packing import make_pack
from tinsmith.model.packed.passes import Passes
from tinsmith.model.tokens import load_tokenizer
from tiny import FAMILIES, build_tiny, tiny_conversations

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


def test_gptq_leaves_less_than_half_the_output_error_of_rounding(correlated):
    inputs, weight = correlated
    error = output_error(inputs, quantize_matrix(weight, prepare(inputs)), weight).sum()
    assert error < 0.5 * output_error(inputs, round_to_nearest(weight), weight).sum()


def test_columns_are_what_the_inverse_hessian_asks_for(correlated):
    """GPTQ as its paper has it, in float64: by a factor of the Hessian's inverse, which our own form does without."""
    inputs, weight = correlated
    hessian = prepare(inputs).hessian
    scales, lowest = map(
        torch.stack, zip(*(block_steps(block, torch.ones(32)) for block in weight.split(32, 1)), strict=True)
    )
    order = hessian.diagonal().argsort(descending=True)
    factor = torch.linalg.cholesky(torch.linalg.inv(hessian[order][:, order].double()), upper=True)
    rest, expected = weight[:, order].double(), torch.empty(weight.shape)
    for column, place in enumerate(order.tolist()):
        expected[:, place] = to_integers(rest[:, column], scales[place // 32], lowest[place // 32])
        error = (rest[:, column] - expected[:, place] * scales[place // 32]) / factor[column, column]
        rest[:, column:] -= error[:, None] * factor[column, column:]
    integers = gptq._quantize_columns(weight.T.contiguous(), scales, lowest, gptq._eliminate(hessian)).T
    assert (integers != expected).float().mean() < 1e-3


def test_the_integer_refitted_last_could_not_be_better(correlated):
    """Nothing after it changes what was best for it."""
    inputs, weight = correlated
    prepared = prepare(inputs)
    blocks = quantize_matrix(weight, prepared)
    scales, integers = torch.from_numpy(blocks.scales).float(), torch.from_numpy(integers_of(blocks)).float()

    def error(integers, scales):
        errors = (integers * scales[..., None]).reshape(weight.shape) - weight
        return ((errors @ prepared.hessian) * errors).sum(1)

    best = error(integers, scales)
    for step in (-1, 1):
        changed = integers.clone()
        lowest = -torch.from_numpy(nibbles_of(blocks.zeros)[:, 1]).float()
        changed[:, -1, -1] = (changed[:, -1, -1] + step).clamp(lowest, lowest + 15)
        assert (error(changed, scales) >= best * (1 - 1e-5)).all()


@pytest.mark.parametrize("columns", [64, 2048])
def test_inputs_that_go_together_leave_a_positive_hessian(columns):
    """Four loud columns, or all: rounded to bfloat16, such sums of products have negative eigenvalues."""
    generator = torch.Generator().manual_seed(2)
    together = 4 if columns == 64 else columns
    x = torch.randn(1024, columns, generator=generator)
    x[:, :together] = 300 * (1 + 0.01 * torch.randn(1024, 1, generator=generator)) + 0.1 * x[:, :together]
    x = x.bfloat16()
    hessian, mean = prepare(x).hessian, x.float().square().sum(0).mean()
    torch.testing.assert_close(
        hessian - 0.1 * mean * torch.eye(columns), x.float().T @ x.float(), rtol=1e-4, atol=1e-4 * mean
    )
    assert torch.linalg.eigvalsh(hessian)[0] > 0.05 * mean


def test_rows_that_matter_more_get_less_error(correlated):
    inputs, weight = correlated
    inputs[:40] = inputs[:40].flip(1)  # in directions of their own
    row_weights = torch.ones(512)
    row_weights[:40] = 50
    plain = output_error(inputs, quantize_matrix(weight, prepare(inputs)), weight).mean(1)
    guided = output_error(inputs, quantize_matrix(weight, prepare(inputs, row_weights)), weight).mean(1)
    assert guided[:40].mean() < 0.8 * plain[:40].mean()
    # Weights count as repetition.
    repeated = torch.cat([inputs, inputs[:40].repeat(49, 1)])
    same = quantize_matrix(weight, prepare(repeated))
    np.testing.assert_allclose(output_error(inputs, same, weight).mean(1)[:40].mean(), guided[:40].mean(), rtol=0.02)


@pytest.mark.parametrize("format", [torch.float32, torch.bfloat16], ids=str)
def test_drifted_inputs_are_made_good(correlated, format):
    full, weight = correlated
    drifted = full + 0.5 * full.roll(1, dims=1)
    full, drifted = full.to(format).float(), drifted.to(format).float()
    expected = full @ weight.T

    def error(matrix):
        return (drifted @ matrix.T - expected).square().mean().item()

    inputs = prepare(drifted.to(format), full_precision=full.to(format))
    best = torch.linalg.lstsq(drifted, expected).solution.T
    assert error(corrected(weight, inputs)) < 1.3 * error(best) + 0.05 * error(weight)
    blocks = quantize_matrix(weight, inputs)
    uncorrected = quantize_matrix(weight, prepare(drifted))
    assert error(torch.from_numpy(unpack(blocks))) < 0.5 * error(torch.from_numpy(unpack(uncorrected)))
    assert torch.equal(corrected(weight, prepare(drifted)), weight)


@pytest.fixture(scope="module", params=FAMILIES)
def case(request, tmp_path_factory):
    """(model folder, conversations) of each family: tied, scaled and separate embeddings among them."""
    folder = build_tiny(request.param, tmp_path_factory.mktemp(request.param))
    return folder, load_tokenizer(folder).encode_all(tiny_conversations(8, "You sell tea and know what a cup costs. "))


def test_row_weights_are_the_squared_gradients_autograd_finds(case):
    folder, conversations = case
    guide = make_guide(frozen_model(folder, CPU), conversations[:1])
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
        row_weights = guide.row_weights[name]
        if len(row_weights) < len(expected):  # past the last attention, only rows that predict a target are computed
            expected = expected[:-1][mask]
        torch.testing.assert_close(row_weights, expected, rtol=1e-3, atol=1e-5 * expected.max().item(), msg=name)


def test_row_weights_of_several_passes_lie_at_the_rows_of_the_whole_pack(case, monkeypatch):
    folder, conversations = case
    model = frozen_model(folder, CPU)
    whole = make_guide(model, conversations)
    alone = {tokens.ids: make_guide(model, [tokens]) for tokens in conversations}
    monkeypatch.setattr("tinsmith.export.calibrate.passes_on", lambda *_: Passes(conversations=99, rows=80))
    guide = make_guide(model, conversations)
    for one in (whole, guide):
        torch.testing.assert_close(
            one.finals, torch.cat([alone[ids].finals for ids in sorted(alone)]), rtol=1e-4, atol=1e-5
        )
    shared = {
        row
        for index in range(len(conversations))
        for row in guide.pack.rows_of(index)
        if sum(row in guide.pack.rows_of(other) for other in range(len(conversations))) > 1
    }
    for name, weights in guide.row_weights.items():
        if len(weights) == guide.pack.rows:
            for index, ids in enumerate(sorted(alone)):
                rows = [row for row in guide.pack.rows_of(index) if row not in shared]
                expected = alone[ids].row_weights[name][-len(rows) :]
                torch.testing.assert_close(weights[rows], expected, rtol=1e-3, atol=1e-5 * expected.max().item())
            assert "v_proj" not in name or (weights[sorted(shared)] > 0).any()
        else:
            expected = torch.cat([alone[ids].row_weights[name] for ids in sorted(alone)])
            torch.testing.assert_close(weights, expected, rtol=1e-3, atol=1e-5 * expected.max().item())


def test_packs_that_are_filled_up_for_a_gpu_leave_the_guide_as_it_is(case, monkeypatch):
    folder, conversations = case
    model = frozen_model(folder, CPU)
    guide = make_guide(model, conversations)
    monkeypatch.setattr("tinsmith.export.calibrate.passes_on", lambda *_: Passes(99, rows=99_999, is_filled=True))
    filled = make_guide(model, conversations)
    assert filled.pack.ids.tolist() == guide.pack.ids.tolist()
    torch.testing.assert_close(filled.finals, guide.finals, rtol=1e-4, atol=1e-5)
    for name, weights in guide.row_weights.items():
        torch.testing.assert_close(filled.row_weights[name], weights, rtol=1e-3, atol=1e-5 * weights.max().item())
    assert filled.losses == pytest.approx(guide.losses, rel=1e-3)


def test_losses_of_conversations_are_the_same_in_the_passes_of_a_gpu(case, monkeypatch):
    folder, conversations = case
    model = frozen_model(folder, CPU)
    losses = conversation_losses(model, conversations)
    packs = []
    monkeypatch.setattr("tinsmith.export.models.make_pack", lambda *given: packs.append(make_pack(*given)) or packs[-1])
    monkeypatch.setattr("tinsmith.export.models.passes_on", lambda *_: Passes(99, rows=99_999, is_filled=True))
    assert conversation_losses(model, conversations) == pytest.approx(losses, rel=1e-5)
    assert len(packs) == 1 < len(conversations)


def test_every_matrix_is_calibrated_and_the_model_ends_with_what_ships(case, monkeypatch):
    folder, conversations = case
    model = frozen_model(folder, CPU)
    names = {name for name, weight in model.named_parameters() if weight.dim() == 2}
    eight = {name for name in names if "layers.1.self_attn.v_proj" in name or "layers.0.mlp.down" in name}
    guide = make_guide(model, conversations)
    assert set(guide.losses) == names - {EMBEDDING, HEAD} and min(guide.losses.values()) > 0
    monkeypatch.setattr("tinsmith.export.calibrate.most_sensitive", lambda losses, sizes, room: eight)
    calibrated = calibrate(model, guide)
    assert set(calibrated.matrices) == names and len(eight) == 2
    assert {name for name, blocks in calibrated.matrices.items() if blocks.bits == 8} == eight
    for name, blocks in calibrated.matrices.items():
        if name != HEAD:
            np.testing.assert_array_equal(model.get_parameter(name).numpy(), unpack(blocks))


def test_estimated_losses_are_those_of_errors_spread_evenly_over_a_step(case):
    """Against forward passes by Transformers, with 32 random errors in place of their expectation."""
    folder, conversations = case
    model, generator = frozen_model(folder, CPU), torch.Generator().manual_seed(4)
    alone, inputs = make_guide(model, conversations[:1]), {}
    for name, module in model.named_modules():
        if f"{name}.weight" in alone.losses:
            module.register_forward_hook(lambda _, x, __, name=f"{name}.weight": inputs.__setitem__(name, x[0][0]))
    with torch.no_grad():
        model(input_ids=torch.tensor([conversations[0].ids]))
    assert set(inputs) == set(alone.losses)
    for name, x in inputs.items():
        weights, weight = alone.row_weights[name], model.get_parameter(name)
        # Past the last attention, only rows that predict a target are computed.
        rows = x[:-1][torch.tensor(conversations[0].mask[1:])] if len(weights) < len(x) else x
        blocks = weight.reshape(len(weight), -1, 32)
        steps = (blocks.amax(-1, keepdim=True).clamp_min(0) - blocks.amin(-1, keepdim=True).clamp_max(0)) / 15
        noise = torch.rand(32, *weight.shape, generator=generator) - 0.5
        errors = (noise.reshape(32, len(weight), -1, 32) * steps).reshape(noise.shape)
        loss = (weights @ (rows @ errors.mT).square().sum(-1).mean(0)).item()
        assert alone.losses[name] == pytest.approx(loss, rel=0.1), name


def test_the_heads_most_predicted_rows_are_refined_and_the_embeddings_are_not(case, monkeypatch):
    folder, conversations = case
    monkeypatch.setattr("tinsmith.export.calibrate._REFINED_ROWS", 10)
    model = frozen_model(folder, CPU)
    full = model.get_output_embeddings().weight.clone()
    quantized = calibrate(model, make_guide(model, conversations))
    head = torch.from_numpy(unpack(quantized.matrices.get(HEAD, quantized.matrices[EMBEDDING])))
    refined = quantized.refinement.rows < 10
    counts = make_pack(conversations, CPU.device).targets.bincount(minlength=len(head)).numpy()
    assert refined.sum() == 10 and counts[refined].min() >= counts[~refined].max()
    assert quantized.refinement.blocks.scales.shape[0] == 11 and not unpack(quantized.refinement.blocks)[10].any()
    held = model.get_output_embeddings().weight
    assert torch.equal(held[~refined], head[~refined])
    assert (held - full)[refined].square().sum() < 0.02 * (head - full)[refined].square().sum()
    embedding = torch.from_numpy(unpack(quantized.matrices[EMBEDDING]))
    assert torch.equal(model.get_input_embeddings().weight, embedding)


def test_calibration_predicts_better_than_rounding(case):
    folder, conversations = case

    def distance(make):
        models = [frozen_model(folder, CPU) for _ in range(2)]
        make(models[0])
        with torch.no_grad():
            logits = [model(input_ids=torch.tensor([conversations[0].ids])).logits for model in models]
        return (logits[0] - logits[1]).square().mean().item()

    calibrated = distance(lambda model: calibrate(model, make_guide(model, conversations)))
    assert calibrated < 0.7 * distance(round_all)
