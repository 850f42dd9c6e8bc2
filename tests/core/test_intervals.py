"""Intervals against hand-computed numbers and simulated data."""

import numpy as np
import pytest

from tinsmith.core.intervals import bootstrap, clustered_wilson, resampled_sums, wilson


def ratio(sums):
    return sums[:, 0] / sums[:, 1]


@pytest.mark.parametrize(
    ("successes", "count", "low", "high"),
    [(8, 10, 0.4902, 0.9433), (0, 10, 0.0, 0.2775), (10, 10, 0.7225, 1.0), (81, 263, 0.2553, 0.3662)],
)
def test_wilson_hand_computed(successes, count, low, high):
    interval = wilson(successes, count)
    assert (round(interval["ci95_low"], 4), round(interval["ci95_high"], 4)) == (low, high)


def test_too_few_items_have_no_interval():
    assert wilson(4, 4) == {}
    assert bootstrap(np.ones((4, 2)), ratio, seed=0, resamples=10) == {}
    assert set(bootstrap(np.ones((5, 2)), ratio, seed=0, resamples=10)) == {"ci95_low", "ci95_high"}


def test_resampled_sums_draw_whole_rows():
    # Rows are powers of 8, so the octal digits of a sum say how often each row was drawn. Column 2 is column 1 doubled.
    rows = np.array([[8.0**k, 2 * 8.0**k] for k in range(7)])
    sums = resampled_sums(rows, resamples=500, seed=3)
    assert sums.shape == (500, 2)
    np.testing.assert_array_equal(sums[:, 1], 2 * sums[:, 0])
    counts = np.array([[int(total) // 8**k % 8 for k in range(7)] for total in sums[:, 0]])
    assert (counts.sum(axis=1) == 7).all()
    assert counts.max() > 1  # with replacement


def test_chunks_of_resamples_are_all_kept(monkeypatch):
    monkeypatch.setattr("tinsmith.core.intervals._POSITIONS_AT_ONCE", 30)
    sums = resampled_sums(np.arange(10.0)[:, None], resamples=7, seed=0)
    assert sums.shape == (7, 1)
    assert len(np.unique(sums)) > 3


def test_same_seed_same_interval():
    rows = np.random.default_rng(0).uniform(1, 2, (20, 2))
    assert bootstrap(rows, ratio, seed=5) == bootstrap(rows, ratio, seed=5)
    assert bootstrap(rows, ratio, seed=5) != bootstrap(rows, ratio, seed=6)


def test_interval_covers_the_truth_as_often_as_it_says():
    """200 simulated sets of 40 conversations with a per-conversation effect; the pooled loss in the population is 2."""
    rng = np.random.default_rng(11)
    covered = 0
    for seed in range(200):
        tokens = rng.integers(20, 200, 40)
        difficulty = rng.normal(2, 0.5, 40)
        interval = bootstrap(np.stack([tokens * difficulty, tokens], axis=1), ratio, seed, resamples=2000)
        covered += interval["ci95_low"] <= 2 <= interval["ci95_high"]
    assert 0.90 <= covered / 200 <= 0.98


def test_clusters_of_one_give_the_wilson_interval():
    flags = [True, False, True, True, False, True, True]
    assert clustered_wilson(flags, range(7)) == pytest.approx(wilson(5, 7))


def test_clusters_that_agree_count_once():
    """Each of 8 answers is given four times. The design effect is (p (1 - p) / 7) / (p (1 - p) / 31)."""
    flags = [index % 8 < 5 for index in range(32)]
    clustered = clustered_wilson(flags, [index % 8 for index in range(32)])
    assert clustered == pytest.approx(wilson(5 / 8 * 32 * 7 / 31, 32 * 7 / 31))


def test_clusters_of_equal_results_count_once_each():
    assert clustered_wilson([True] * 32, [index % 8 for index in range(32)]) == wilson(8, 8)
    assert clustered_wilson([True, False] * 8, [index % 4 for index in range(16)]) == {}
