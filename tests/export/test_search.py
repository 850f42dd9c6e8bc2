"""The quickest recipe that is good enough ships, each try is on record, and a run stops where none is good enough."""

import math
import re
import shutil

import pytest
import torch
import torch.nn.functional as F
from transformers import AutoModelForCausalLM

from stage_runs import run_stage
from tinsmith.core.config import ExportConfig
from tinsmith.core.device import Device
from tinsmith.core.errors import GateError
from tinsmith.core.stage_context import StageContext
from tinsmith.export.blocks import stored_bits
from tinsmith.export.calibrate import apply_quantized, most_sensitive
from tinsmith.export.models import StoredWeights
from tinsmith.export.search import RECIPES, choose_recipe
from tinsmith.export.stage import export_int4
from tinsmith.model.tokens import load_tokenizer
from tiny import tiny_conversations

CPU = Device(torch.device("cpu"), torch.float32, "tests")


@pytest.fixture(scope="module")
def material(tiny_llama):
    """(model folder, conversations to calibrate on, validation conversations)"""
    conversations = load_tokenizer(tiny_llama).encode_all(tiny_conversations(16, "You sell tea. "))
    return tiny_llama, conversations[:10], conversations[10:]


def recipe_choice(material, **settings):
    folder, calibration, val = material
    return choose_recipe(
        ExportConfig().model_copy(update=settings), folder, CPU, calibration, val, StageContext(seed=3)
    )


def test_auto_takes_the_first_that_is_good_enough(material):
    choice = recipe_choice(material, recipe="auto", max_perplexity_ratio=100)
    assert choice.recipe == "rtn" and [trial.recipe for trial in choice.trials] == ["rtn"]
    worst = choice.trials[0].perplexity_ratio
    better = recipe_choice(
        material, recipe="auto", max_perplexity_ratio=worst - 1e-6
    )  # maybe below 1: random weights predict badly
    assert better.recipe == "mixed" and [trial.recipe for trial in better.trials] == ["rtn", "mixed"]


def test_none_good_enough_stops_the_stage_with_the_table(tiny_llama, data_dir, tmp_path):
    shutil.copytree(tiny_llama, tmp_path / "merge" / "model")
    # Random weights predict so badly that rounding may improve them; no configuration asks for less than 1.
    impossible = ExportConfig().model_copy(update={"max_perplexity_ratio": 0.5})
    (tmp_path / "out").mkdir()
    with pytest.raises(GateError, match=r"^gate\.export\.perplexity_ratio: measured .* required <= 0\.5") as caught:
        run_stage(export_int4, impossible, data_dir, tmp_path / "merge", tmp_path / "out", seed=1)
    assert re.search(r"(?s)export\.max_perplexity_ratio.*\n  rtn: .* MB.*\n  mixed: .* MB", caught.value.hint)
    kept = {one.id for one in caught.value.measurements}
    assert {
        "export.recipe.rtn.perplexity_ratio",
        "export.recipe.mixed.perplexity_ratio",
        "gate.export.perplexity_ratio",
    } <= kept


@pytest.mark.parametrize("recipe", RECIPES)
def test_a_named_recipe_ships_whatever_its_ratio(material, recipe):
    choice = recipe_choice(material, recipe=recipe, max_perplexity_ratio=1.000001)
    assert choice.recipe == recipe == choice.trials[-1].recipe
    assert len(choice.trials[-1].losses) == 6 and choice.trials[-1].seconds > 0


def test_the_recorded_ratio_is_that_of_the_returned_matrices(material):
    folder, _, val = material
    choice = recipe_choice(material, recipe="mixed")
    losses = {}
    for name in ("tuned", "int4"):
        model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
        if name == "int4":
            apply_quantized(model, choice.model)
        with torch.no_grad():
            losses[name] = sum(
                F.cross_entropy(
                    model(input_ids=torch.tensor([t.ids])).logits[0, :-1], torch.tensor(t.ids[1:]), reduction="none"
                )[torch.tensor(t.mask[1:])]
                .sum()
                .item()
                for t in val
            )
    ratio = math.exp((losses["int4"] - losses["tuned"]) / sum(t.supervised for t in val))
    trial = choice.trials[-1]
    assert trial.perplexity_ratio == pytest.approx(ratio, rel=1e-4)
    assert trial.interval == {}  # too few conversations
    stored = [*choice.model.matrices.values(), choice.model.refinement.blocks]
    assert (
        trial.weights_bytes
        == sum(
            blocks.packed.size + 2 * blocks.scales.size + (blocks.zeros.size if blocks.bits == 4 else 0)
            for blocks in stored
        )
        + 4 * 384
    )


def test_mixed_puts_the_most_sensitive_matrices_in_8_bits_and_keeps_its_budget(material):
    choice = recipe_choice(material, recipe="mixed", max_bits_per_parameter=5.0)
    parameters = StoredWeights(material[0]).count
    bits = {name: blocks.bits for name, blocks in choice.model.matrices.items()}
    assert 8 in bits.values() and 4 in bits.values()
    assert 4.6 * parameters < 8 * choice.trials[-1].weights_bytes <= 5.0 * parameters
    plain = recipe_choice(material, recipe="gptq")
    assert {blocks.bits for blocks in plain.model.matrices.values()} == {4}
    assert plain.trials[-1].weights_bytes < choice.trials[-1].weights_bytes


def test_most_sensitive_takes_what_loses_most_for_its_size():
    losses, sizes = {"a": 1.0, "b": 4.0, "c": 4.5}, {"a": 10, "b": 20, "c": 30}  # 0.1, 0.2 and 0.15 a weight
    more = stored_bits(8) - stored_bits(4)
    assert most_sensitive(losses, sizes, room_bits=more * 20) == {"b"}
    assert most_sensitive(losses, sizes, room_bits=more * 35) == {
        "b",
        "a",
    }  # c loses more than a for its size, but is too large
    assert most_sensitive(losses, sizes, room_bits=more * 60 - 1) == {"b", "c"}
    assert most_sensitive(losses, sizes, room_bits=0) == set()
