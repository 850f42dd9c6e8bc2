"""Loss, perplexity, bits per byte and ratios from hand-computed sums."""

import json
import math

import pytest

from tinsmith.core.errors import ArtifactError
from tinsmith.core.run_dir import write_text
from tinsmith.derive.files import Files
from tinsmith.derive.losses import LOSS_RULES, small_categories
from tinsmith.derive.rules import derive


def sums(*nlls, categories=("a",)) -> list[dict]:
    return [
        {
            "id": f"c{index}",
            "category": categories[index % len(categories)],
            "nll": nll,
            "tokens": 10 * (index + 1),
            "bytes": 40 * (index + 1),
        }
        for index, nll in enumerate(nlls)
    ]


@pytest.fixture
def measured(tmp_path):
    """Write sums by `<split>.<model>`, and return the measurements that they give, by id."""

    def measure(**by_name):
        for name, lines in by_name.items():
            path = tmp_path / "nll" / f"{name.replace('_', '.', 1)}.jsonl"
            write_text(path, "".join(json.dumps(line) + "\n" for line in lines))
        files = Files.of_stage("evaluate", tmp_path)
        return {m.id: m for m in derive(LOSS_RULES, files)}

    return measure


def test_pooled_over_tokens_not_averaged_over_conversations(measured):
    measurements = measured(train_base=sums(10, 60))
    # 70 nats over 30 tokens and 120 bytes; the mean of the two conversations' losses would be 2.0.
    assert measurements["evaluate.loss.train.base"].value == pytest.approx(70 / 30)
    assert measurements["evaluate.perplexity.train.base"].value == pytest.approx(math.exp(70 / 30))
    assert measurements["evaluate.bits_per_byte.train.base"].value == pytest.approx(70 / math.log(2) / 120)
    assert all(m.count == 2 and m.count_of == "conversations" and m.spread == {} for m in measurements.values())


def test_a_measurement_names_its_file_and_its_function(measured):
    m = measured(val_int4=sums(10, 60))["evaluate.perplexity.val.int4"]
    assert (m.raw, m.method) == ("evaluate/nll/val.int4.jsonl", "tinsmith.derive.losses.perplexity")


def test_spread_surrounds_the_value(measured):
    for measurement in measured(val_int4=sums(*range(10, 400, 30))).values():
        assert measurement.spread["ci95_low"] < measurement.value < measurement.spread["ci95_high"]


def test_ratio_is_paired(measured):
    """Conversations differ widely, the second model is 0.1 nats/token worse on each: the paired interval is a point."""
    base = sums(*range(10, 400, 30))
    worse = [{**line, "nll": line["nll"] + 0.1 * line["tokens"]} for line in base]
    ratio = measured(test_base=base, test_tuned=worse)["evaluate.ratio.test.tuned_over_base"]
    assert ratio.value == pytest.approx(math.exp(0.1))
    assert ratio.spread["ci95_low"] == pytest.approx(math.exp(0.1))
    assert ratio.spread["ci95_high"] == pytest.approx(math.exp(0.1))


def test_ratio_refuses_other_tokens(measured):
    other = [{**line, "tokens": line["tokens"] + 1} for line in sums(1, 2)]
    with pytest.raises(ArtifactError, match="same tokens"):
        measured(test_base=sums(1, 2), test_tuned=other)


def test_small_categories_get_no_number(measured, tmp_path):
    measurements = measured(test_tuned=sums(10, 20, 30, 40, 50, categories=("a", "b")))
    categories = [id for id in measurements if ".category." in id]
    assert categories == ["evaluate.loss.test.tuned.category.a"]
    assert measurements[categories[0]].value == pytest.approx(90 / 90)
    assert measurements[categories[0]].count == 3
    assert small_categories(Files.of_stage("evaluate", tmp_path)) == ["b"]


def test_clean_conversations_are_those_without_a_close_neighbour(tmp_path):
    for model, nlls in (("base", (20, 40, 90)), ("tuned", (10, 30, 60))):
        write_text(tmp_path / f"nll/test.{model}.jsonl", "".join(json.dumps(line) + "\n" for line in sums(*nlls)))
    lines = [{"id": f"c{index}", "close": index == 1} for index in range(3)]
    write_text(tmp_path / "neighbours.jsonl", "".join(json.dumps(line) + "\n" for line in lines))
    measured = {m.id: m for m in derive(LOSS_RULES, Files.of_stage("evaluate", tmp_path))}
    assert measured["evaluate.loss.test.base"].value == pytest.approx(150 / 60)
    clean = measured["evaluate.loss.test_clean.base"]
    assert (clean.value, clean.count, clean.raw) == (110 / 40, 2, "evaluate/nll/test.base.jsonl")
    assert measured["evaluate.bits_per_byte.test_clean.tuned"].value == pytest.approx(70 / math.log(2) / 160)
    ratio = measured["evaluate.ratio.test_clean.tuned_over_base"]
    assert ratio.value == pytest.approx(math.exp((70 - 110) / 40)) and ratio.raw == "evaluate/nll/test.tuned.jsonl"


def test_no_numbers_of_clean_conversations_if_all_have_a_close_neighbour(tmp_path):
    write_text(tmp_path / "nll/test.base.jsonl", json.dumps(sums(10)[0]) + "\n")
    write_text(tmp_path / "neighbours.jsonl", json.dumps({"id": "c0", "close": True}) + "\n")
    assert not any("clean" in m.id for m in derive(LOSS_RULES, Files.of_stage("evaluate", tmp_path)))
