"""Intervals against numbers computed by hand. How often they cover the truth: `test_coverage.py`."""

import numpy as np
import pytest

from tinsmith.core.intervals import bootstrap, bounded_mean, clustered_wilson, resampled_sums, t95, wilson


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
    rows = np.random.default_rng(0).uniform(1, 2, (10, 2))
    assert wilson(9, 9) == {} and wilson(9, 10) != {}
    assert bootstrap(rows[:9], ratio, seed=0) == {} and bootstrap(rows, ratio, seed=0) != {}
    assert bounded_mean([1] * 8 + [0], [1] * 9) == {} and bounded_mean([1] * 8 + [0, 0], [1] * 10) != {}
    assert bounded_mean([1] * 9 + [0], [1] * 9 + [0]) == {}, "a question without facts is no cluster"


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


def test_students_quantiles():
    assert [round(t95(freedom), 3) for freedom in (9, 23, 49, 10**6)] == [2.262, 2.069, 2.01, 1.96]


def test_a_symmetric_mean_has_nearly_students_interval():
    """Deviations of both signs. Tails are taken further out than Student's, by about a tenth at 20 rows."""
    deviations = np.concatenate([np.arange(1, 11), -np.arange(1, 11)])
    interval = bootstrap(np.column_stack([50.0 + deviations, np.ones(20)]), ratio, seed=1)
    reach = t95(19) * deviations.std(ddof=1) / 20**0.5
    assert 1.02 < (interval["ci95_high"] - 50) / reach < 1.25 and 1.02 < (50 - interval["ci95_low"]) / reach < 1.25


def test_the_longer_tail_of_skewed_rows_gets_the_longer_arm():
    rows = np.column_stack([np.exp(np.linspace(-2, 2, 30)), np.ones(30)])
    value, interval = rows[:, 0].mean(), bootstrap(rows, ratio, seed=0)
    assert interval["ci95_high"] - value > 1.5 * (value - interval["ci95_low"])


def test_units_do_not_matter():
    rows = np.random.default_rng(3).uniform(1, 2, (20, 2))
    interval = bootstrap(rows, ratio, seed=5)
    scaled = bootstrap(rows * [1e9, 1e-6], ratio, seed=5)
    assert [end / 1e15 for end in scaled.values()] == pytest.approx(list(interval.values()), rel=1e-6)


def test_equal_rows_give_their_value_and_almost_equal_rows_nothing():
    assert bootstrap(np.full((12, 2), [6.0, 2.0]), ratio, seed=0) == {"ci95_low": 3.0, "ci95_high": 3.0}
    one_differs = np.array([[1.0, 1.0]] + [[0.0, 1.0]] * 11)
    assert bootstrap(one_differs, ratio, seed=0) == {}, "a third of the resamples does not vary"


def test_clusters_of_one_give_the_wilson_interval():
    flags = [True, False, True, True, False, True, True, False, True, True]
    assert clustered_wilson(flags, range(10)) == wilson(7, 10)


def test_clusters_that_agree_count_once():
    """Each of 16 answers is given four times, so the standard error is that of 16, with one left out at a time."""
    flags = [index % 16 < 10 for index in range(64)]
    clustered = clustered_wilson(flags, [index % 16 for index in range(64)])
    share, z2 = 10 / 16, t95(15) ** 2
    count = 15**2 / 16
    centre = (share + z2 / 2 / count) / (1 + z2 / count)
    half = (z2 * share * (1 - share) / count + (z2 / 2 / count) ** 2) ** 0.5 / (1 + z2 / count)
    assert list(clustered.values()) == pytest.approx([centre - half, centre + half])


def test_clusters_of_equal_results_count_once_each():
    assert clustered_wilson([True] * 48, [index % 12 for index in range(48)]) == wilson(12, 12)
    assert clustered_wilson([True, False] * 18, [index % 9 for index in range(36)]) == {}


def test_a_mean_of_grades_has_the_bounds_of_its_scale():
    grades = [2.0] * 14 + [4.0]
    interval = bounded_mean(grades, [1] * 15, low=2, high=10)
    assert 2 < interval["ci95_low"] < sum(grades) / 15 < interval["ci95_high"] < 3
    halved = bounded_mean([(grade - 2) / 8 for grade in grades], [1] * 15)
    assert [2 + 8 * end for end in halved.values()] == pytest.approx(list(interval.values()))
    assert bounded_mean([8.0] * 15, [1] * 15, low=2, high=10) == {}, "equal grades say nothing about other items"
