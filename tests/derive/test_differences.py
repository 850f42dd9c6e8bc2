"""Paired differences, what a test set can tell apart, and categories, from raw files by hand."""

import json
import math

import pytest

from fake_replies import asked_line
from tinsmith.core.paired import perplexity_change, share_change
from tinsmith.core.run_dir import write_text
from tinsmith.derive.differences import DIFFERENCE_RULES
from tinsmith.derive.files import Files
from tinsmith.derive.rules import derive
from tinsmith.model.replies.asked import PageReply


@pytest.fixture
def measured(tmp_path):
    """Write raw files, and return the measurements that they give, by id."""

    def measure(**lines_by_name):
        for name, lines in lines_by_name.items():
            folder, _, file = name.rpartition("__")
            path = tmp_path / folder / f"{file.replace('_', '.', 1) if folder else file}.jsonl"
            write_text(path, "".join(json.dumps(line) + "\n" for line in lines))
        return {m.id: m for m in derive(DIFFERENCE_RULES, Files.of_stage("evaluate", tmp_path, seed=1))}

    return measure


def scores(rates, categories=("a",)):
    return [
        {"id": f"c{n}", "category": categories[n % len(categories)], "nll": rate * 50, "tokens": 50, "bytes": 200}
        for n, rate in enumerate(rates)
    ]


def test_a_ratio_that_the_test_split_can_tell_apart(measured):
    tuned = [2.0 + 0.1 * (n % 5) for n in range(20)]
    int4 = [rate + 0.01 * (n % 3) for n, rate in enumerate(tuned)]
    measurement = measured(nll__test_tuned=scores(tuned), nll__test_int4=scores(int4))[
        "evaluate.detectable.ratio.int4_over_tuned"
    ]
    change = perplexity_change([50 * rate for rate in tuned], [50 * rate for rate in int4], [50] * 20)
    assert measurement.value == change.detectable and 1.002 < measurement.value < 1.02
    assert (measurement.raw, measurement.count) == ("evaluate/nll/test.int4.jsonl", 20)
    few = measured(nll__test_tuned=scores(tuned[:9]), nll__test_int4=scores(int4[:9]))
    assert "evaluate.detectable.ratio.int4_over_tuned" not in few


def test_page_and_model_are_paired_by_question_and_clustered_by_passage(measured):
    right = [n % 6 == 0 for n in range(24)]
    page = [n % 4 != 0 for n in range(24)]
    lines = [
        {"question": f"{n}?", "id": f"p{n // 2}", "must_state": [], "right": own, "page_right": other}
        for n, (own, other) in enumerate(zip(right, page, strict=True))
    ]
    measurements = measured(closed_book=lines)
    difference = measurements["evaluate.difference.closed_book.page_minus_int4"]
    change = share_change(right, page, [n // 2 for n in range(24)])
    assert difference.value == pytest.approx(18 / 24 - 4 / 24) and difference.spread == change.interval
    assert measurements["evaluate.detectable.closed_book.page_minus_int4"].value == change.detectable
    assert set(measured(closed_book=lines[:16])) == {"evaluate.difference.closed_book.page_minus_int4"}


def test_only_a_category_that_differs_by_more_than_chance_has_a_small_p_value(measured):
    rates = [3 + 0.3 * math.sin(7 * n) + (1.5 if n % 4 == 2 else 0) for n in range(48)]
    measurements = measured(nll__test_int4=[*scores(rates, "abcd"), *scores([9.0], "e")])
    p_values = {id.rpartition(".")[2]: m.value for id, m in measurements.items() if "p_value" in id}
    assert p_values.keys() == set("abcd"), "a category of one has no number"
    assert p_values["c"] < 0.05 < min(p_values[name] for name in "abd")


def test_facts_are_paired_by_subject_and_clustered_by_conversation(measured):
    """Twelve conversations with two facts each: tuned states them in nine, INT4 in six of those nine."""
    lines = []
    for n in range(12):
        right, wrong = f"Small is {20 + n} euros, large is {50 + n} euros.", "Ask us."
        texts = {"base": wrong, "tuned": right if n < 9 else wrong, "int4": right if n < 6 else wrong}
        page = PageReply("sure", right, (), "owner")
        lines.append(asked_line(f"c{n}", "What do small and large cost?", right, texts, "trained", page=page))
    measurements = measured(answers=lines)
    values = {id.rpartition("trained.")[2]: m for id, m in measurements.items() if "difference.facts" in id}
    assert values.keys() == {"tuned_minus_base", "int4_minus_tuned", "page_minus_int4"}
    assert [m.count for m in values.values()] == [24] * 3
    assert values["int4_minus_tuned"].value == pytest.approx(-3 / 12)
    flags = [[n // 2 < limit for n in range(24)] for limit in (9, 6)]
    change = share_change(*flags, [n // 2 for n in range(24)])
    assert values["int4_minus_tuned"].spread == change.interval
    detectable = measurements["evaluate.detectable.facts.trained.int4_minus_tuned"]
    assert detectable.value == change.detectable and detectable.unit == "fraction"
    measurements = measured(answers=[line | {"page": None} for line in lines[:8]])
    assert not any("page_minus" in id or "detectable" in id for id in measurements)
