"""The table of pairs: at least 95 % are judged right, and not many fewer of any batch."""

import json
from collections import Counter
from pathlib import Path

import pytest

from tinsmith.model.facts import states_reference

PAIRS = [json.loads(line) for line in (Path(__file__).parent / "fact_pairs.jsonl").read_text("utf-8").splitlines()]


def right(pair):
    return states_reference(pair["question"], pair["reference"], pair["reply"]) == pair["right"]


def test_the_table_covers_what_readers_expect():
    kinds = Counter(pair["kind"] for pair in PAIRS)
    assert len(PAIRS) >= 140
    assert {
        "negation",
        "swapped",
        "slot",
        "unit",
        "spelled",
        "conversion",
        "money",
        "time",
        "date",
        "phone",
        "acronym",
    } <= set(kinds)
    accepted = sum(pair["right"] for pair in PAIRS)
    assert len(PAIRS) / 3 < accepted < len(PAIRS) * 2 / 3


@pytest.mark.parametrize("batch", sorted({pair["batch"] for pair in PAIRS}))
def test_most_pairs_are_judged_right(batch):
    pairs = [pair for pair in PAIRS if pair["batch"] == batch]
    wrong = [pair for pair in pairs if not right(pair)]
    assert len(wrong) <= 0.15 * len(pairs), wrong


def test_nearly_all_pairs_are_judged_right():
    wrong = [pair for pair in PAIRS if not right(pair)]
    assert len(wrong) <= 0.05 * len(PAIRS), wrong


def test_a_reference_states_itself():
    references = {(pair["question"], pair["reference"]) for pair in PAIRS}
    wrong = [pair for pair in references if not states_reference(*pair, pair[1])]
    assert len(wrong) <= 0.01 * len(references), wrong
