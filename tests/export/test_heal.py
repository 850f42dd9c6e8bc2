"""Healing follows the true gradient of the divergence, brings the INT4 model nearer, and keeps its best state."""

import dataclasses

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from transformers import AutoModelForCausalLM

from tinsmith.device import Device
from tinsmith.export import heal as healing
from tinsmith.export import teacher as teaching
from tinsmith.export.gptq import calibrate, round_all
from tinsmith.export.heal import HealedMatrix, Schedule, heal
from tinsmith.export.int4 import integers_of, round_to_nearest, unpack
from tinsmith.export.teacher import StoredWeights, conversation_losses, divergence, load_model, make_teacher
from tinsmith.packed.decoder import Frozen, PackedDecoder
from tinsmith.packed.packing import make_pack, pack_groups
from tinsmith.tokens import load_tokenizer
from tiny import build_tiny, tiny_conversations

CPU = Device(torch.device("cpu"), torch.float32, "tests")
SYSTEM = "You sell tea and you know what every cup costs. "


@pytest.fixture(scope="module", params=["llama", "gemma3", "qwen2"])
def lesson_case(request, tmp_path_factory):
    """(model folder, conversations, teacher) for a tied, a scaled and an untied embedding."""
    folder = build_tiny(request.param, tmp_path_factory.mktemp(request.param))
    conversations = load_tokenizer(folder).encode_all(tiny_conversations(12, SYSTEM))
    return folder, conversations, make_teacher(load_model(folder, CPU), conversations[:8], conversations[8:])


def logits(model, tokens):
    """Logits (N, V) where a supervised token is predicted."""
    mask = torch.tensor(tokens.mask[1:])
    return model(input_ids=torch.tensor([tokens.ids])).logits[0, :-1][mask]


def test_losses_of_packed_conversations_are_those_of_each_alone(lesson_case):
    folder, conversations, teacher = lesson_case
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    expected = []
    with torch.no_grad():
        for tokens in conversations[8:]:
            targets = torch.tensor(tokens.ids[1:])[torch.tensor(tokens.mask[1:])]
            expected.append(F.cross_entropy(logits(model, tokens), targets, reduction="sum").item())
    assert sorted(conversation_losses(teacher.val, teacher.head)) == pytest.approx(sorted(expected), rel=1e-5)
    own = PackedDecoder(load_model(folder, CPU), Frozen.of)
    assert conversation_losses(teacher.val, own.head, own) == conversation_losses(teacher.val, teacher.head)


def test_every_matrix_gets_the_gradient_autograd_finds(lesson_case, monkeypatch):
    folder, conversations, teacher = lesson_case
    monkeypatch.setattr(teaching, "_LOGITS_BYTES", 4 * 384 * 5)  # a few rows at a time
    model = load_model(folder, CPU)
    matrices = round_all(model)
    reference = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    tuned = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    reference.get_input_embeddings().padding_idx = None  # whose gradient PyTorch would drop
    for name, weight in reference.named_parameters():
        if name in matrices:
            weight.data.copy_(torch.from_numpy(unpack(matrices[name])))
    lesson = teacher.train[0]
    inside = [conversations[index] for index in pack_groups(conversations[:8], range(8), 4, 4096)[0]]
    count = sum(tokens.supervised for tokens in inside)
    assert count == len(lesson.pack.targets)
    expected = sum(
        F.kl_div(logits(reference, t).log_softmax(-1), logits(tuned, t).log_softmax(-1).detach(), log_target=True,
                 reduction="sum") for t in inside
    ) / count
    expected.backward()
    seen = {}
    monkeypatch.setattr(HealedMatrix, "step", lambda self, grad, rate: seen.__setitem__(self.weight.data_ptr(), grad))
    running = healing._Healing(model, matrices, StoredWeights(folder), Schedule())
    found = running.step(lesson, teacher, 1.0)
    assert found == pytest.approx(expected.item(), rel=1e-4)
    parameters = dict(reference.named_parameters())
    for name, matrix in running.healed.items():
        grad = seen[matrix.weight.data_ptr()]
        assert (grad - parameters[name].grad).norm() <= 1e-4 * parameters[name].grad.norm(), name


def test_healing_brings_the_model_nearer_and_returns_what_the_model_holds(lesson_case):
    folder, _, teacher = lesson_case
    teacher = dataclasses.replace(teacher, val=teacher.train)
    model = load_model(folder, CPU)
    start = calibrate(model, make_pack(lesson_case[1][:4], torch.device("cpu")))
    decoder = PackedDecoder(model, Frozen.of)

    def distance():
        with torch.no_grad():
            return sum(divergence(x, teacher.head, decoder.hidden(x.pack), decoder.head, False)[0] for x in teacher.val)

    before = distance()
    healed = heal(model, start, StoredWeights(folder), teacher, Schedule(epochs=40, scale_rate=1e-3, position_rate=0.01), seed=1)
    assert distance() < 0.7 * before
    for name, weight in model.named_parameters():
        if name in healed:
            np.testing.assert_allclose(weight.numpy(), unpack(healed[name]), rtol=1e-6)
    assert any((healed[name].packed != start[name].packed).any() for name in start)


def test_without_a_position_rate_integers_stay(lesson_case):
    folder, _, teacher = lesson_case
    model = load_model(folder, CPU)
    start = round_all(model)
    healed = heal(model, start, StoredWeights(folder), teacher, Schedule(epochs=2, position_rate=0.0), seed=1)
    assert all((healed[name].packed == start[name].packed).all() for name in start)
    assert any((healed[name].scales != start[name].scales).any() for name in start)


def test_a_state_worse_than_the_start_is_not_kept(lesson_case):
    folder, _, teacher = lesson_case
    model = load_model(folder, CPU)
    start = round_all(model)
    broken = Schedule(epochs=1, scale_rate=5.0, position_rate=5.0)
    assert heal(model, start, StoredWeights(folder), teacher, broken, seed=1) is start
    for name, weight in model.named_parameters():
        if name in start:
            np.testing.assert_allclose(weight.numpy(), unpack(start[name]), rtol=1e-6)


def test_positions_start_where_the_original_rounds_to_the_same_integer():
    weight = torch.randn(4, 64, generator=torch.Generator().manual_seed(2))
    matrix = round_to_nearest(weight)
    healed = HealedMatrix(torch.empty(4, 64), weight, matrix, Schedule(position_rate=0.01))
    assert (healed.matrix().packed == matrix.packed).all() and (healed.matrix().scales == matrix.scales).all()
    positions = (healed._positions * torch.from_numpy(matrix.scales).reshape(-1, 1)).reshape(4, 64)
    inside = torch.from_numpy(np.abs(integers_of(matrix).reshape(4, 64)) < 7)
    torch.testing.assert_close(positions[inside], weight[inside], rtol=0, atol=0.011 * float(np.abs(matrix.scales).max()))
