"""The quickest recipe that is good enough ships; every one that was tried is on record; none good enough stops the run."""

import math

import pytest
import torch
import torch.nn.functional as F
from transformers import AutoModelForCausalLM

from tinsmith.config import ExportConfig
from tinsmith.device import Device
from tinsmith.errors import GateError
from tinsmith.export.int4 import unpack
from tinsmith.export.search import RECIPES, choose
from tinsmith.export.teacher import load_model, make_teacher
from tinsmith.packed.packing import make_pack
from tinsmith.tokens import load_tokenizer
from tiny import tiny_conversations

CPU = Device(torch.device("cpu"), torch.float32, "tests")


@pytest.fixture(scope="module")
def material(tiny_llama):
    """(model folder, teacher, calibration pack, validation conversations)"""
    conversations = load_tokenizer(tiny_llama).encode_all(tiny_conversations(16, "You sell tea. "))
    train, val = conversations[:10], conversations[10:]
    teacher = make_teacher(load_model(tiny_llama, CPU), train, val)
    return tiny_llama, teacher, make_pack(train, CPU.device), val


def chosen(material, **settings):
    folder, teacher, calibration, _ = material
    return choose(ExportConfig(**settings), folder, CPU, teacher, calibration, seed=3)


def test_auto_takes_the_first_that_is_good_enough(material):
    found = chosen(material, recipe="auto", max_perplexity_ratio=100)
    assert found.recipe == "rtn" and [trial.recipe for trial in found.trials] == ["rtn"]
    worst = found.trials[0].perplexity_ratio
    better = chosen(material, recipe="auto", max_perplexity_ratio=(1 + worst) / 2)
    assert better.recipe == "gptq" and [trial.recipe for trial in better.trials] == ["rtn", "gptq"]


def test_none_good_enough_stops_with_the_table(material):
    folder, teacher, calibration, _ = material
    # Random weights predict so badly that rounding may improve them; no configuration asks for less than 1.
    impossible = ExportConfig.model_construct(recipe="auto", max_perplexity_ratio=0.5)
    with pytest.raises(GateError, match=r"(?s)within 0\.5 of.*rtn: .* MB.*gptq: .*heal: .*") as caught:
        choose(impossible, folder, CPU, teacher, calibration, seed=3)
    assert "export.max_perplexity_ratio" in caught.value.hint


@pytest.mark.parametrize("recipe", RECIPES)
def test_a_named_recipe_ships_whatever_its_ratio(material, recipe):
    found = chosen(material, recipe=recipe, max_perplexity_ratio=1.000001)
    assert found.recipe == recipe == found.trials[-1].recipe
    assert found.trials[-1].conversations == 6 and found.trials[-1].seconds > 0


def test_the_recorded_ratio_is_that_of_the_returned_matrices(material):
    folder, _, _, val = material
    found = chosen(material, recipe="heal")
    losses = {}
    for name in ("tuned", "int4"):
        model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
        if name == "int4":
            for parameter, matrix in found.matrices.items():
                model.get_parameter(parameter).data.copy_(torch.from_numpy(unpack(matrix)))
        with torch.no_grad():
            losses[name] = sum(
                F.cross_entropy(model(input_ids=torch.tensor([t.ids])).logits[0, :-1], torch.tensor(t.ids[1:]),
                                reduction="none")[torch.tensor(t.mask[1:])].sum().item() for t in val
            )
    ratio = math.exp((losses["int4"] - losses["tuned"]) / sum(t.supervised for t in val))
    trial = found.trials[-1]
    assert trial.perplexity_ratio == pytest.approx(ratio, rel=1e-4)
    assert trial.interval["ci95_low"] <= trial.perplexity_ratio <= trial.interval["ci95_high"]
    sizes = [matrix.packed.nbytes + matrix.scales.nbytes for matrix in found.matrices.values()]
    assert trial.weights_bytes == sum(sizes)
