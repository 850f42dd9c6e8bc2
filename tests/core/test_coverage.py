"""How often intervals cover the truth: a short form of `make bench-intervals`, with controls that must fail."""

import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
# A bootstrap takes 10 ms, the others less than 1 ms.
SETS = {"loss and perplexity": 100, "ratio of perplexities": 100}
SAME_FUNCTIONS = {"bits per byte", "difference of bits per byte"}


@pytest.fixture
def benchmark(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import intervals

    yield intervals
    for name in ("intervals", "interval_populations", "harness"):
        sys.modules.pop(name, None)


def test_every_kind_of_interval_covers_the_truth_as_often_as_it_says(benchmark):
    for kind, (_, populations) in benchmark.KINDS.items():
        assert len(populations) == 4
        if kind in SAME_FUNCTIONS:
            continue
        cells = [benchmark.coverage(kind, population, 24, SETS.get(kind, 300)) for population in populations]
        assert 0.93 <= sum(cell["coverage"] for cell in cells) / 4 <= 0.97, (kind, cells)
        assert min(cell["coverage"] for cell in cells) >= 0.9, (kind, cells)
        old = [cell["old"] for cell in cells if cell["old"] is not None]
        assert kind == "share" or sum(old) / 4 < 0.93, f"{kind}: percentiles are the control, and must fail"


def test_ten_clusters_are_enough_and_nine_get_none(benchmark):
    for kind in ("share", "share of clustered questions", "facts stated", "score out of 10", "difference of scores"):
        for population in benchmark.KINDS[kind][1]:
            assert benchmark.coverage(kind, population, 9, 20)["none"] == 1
            assert benchmark.coverage(kind, population, 10, 100)["coverage"] >= 0.92, (kind, population)
