"""Categories that differ, categories that do not, and the correction by hand."""

import numpy as np
import pytest

from tinsmith.core.categories import categories_apart, holm, is_apart


def test_holms_correction_by_hand():
    corrected = holm({"a": 0.01, "b": 0.04, "c": 0.03, "d": 0.9})
    # 4 x 0.01, then 3 x 0.03 = 0.09; 2 x 0.04 = 0.08 may not be less than what came before.
    assert corrected == pytest.approx({"a": 0.04, "b": 0.09, "c": 0.09, "d": 0.9})
    assert holm({"a": 0.6, "b": 0.7}) == {"a": 1.0, "b": 1.0}


def test_a_hard_category_is_found():
    rng = np.random.default_rng(0)
    categories = np.repeat(["a", "b", "c", "d"], 12)
    sizes = rng.uniform(30, 90, 48)
    rates = rng.normal(3, 0.4, 48) + np.where(categories == "c", 1.2, 0)
    p_values = categories_apart(sizes * rates, sizes, categories.tolist(), seed=0)
    assert is_apart(p_values["c"]) and not any(is_apart(p_values[name]) for name in "abd")
    assert p_values == categories_apart(sizes * rates, sizes, categories.tolist(), seed=0)


def test_alike_categories_are_rarely_told_apart_and_the_uncorrected_extremes_often():
    """100 test sets of 50 skewed conversations in eight alike categories."""
    any_apart = uncorrected = 0
    for seed in range(100):
        rng = np.random.default_rng(seed)
        sizes = np.round(60 * np.exp(0.4 * rng.normal(size=50)))
        sums = sizes * 3 * np.exp(0.25 * rng.normal(size=50))
        categories = [f"category {index % 8}" for index in range(50)]
        p_values = categories_apart(sums, sizes, categories, seed)
        any_apart += any(map(is_apart, p_values.values()))
        # The least corrected p-value is eight times the least uncorrected one.
        uncorrected += is_apart(min(p_values.values()) / 8)
    assert any_apart <= 8 and uncorrected >= 20


def test_one_category_or_equal_rows_say_nothing():
    assert categories_apart([1.0, 2.0], [1, 1], ["a", "a"], seed=0) == {}
    assert categories_apart([2.0] * 6, [1] * 6, ["a", "b"] * 3, seed=0) == {"a": 1.0, "b": 1.0}
