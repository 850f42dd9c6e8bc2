"""Paired differences against numbers computed by hand, and a control that must fail."""

import math
import random

import numpy as np
import pytest

from tinsmith.core.intervals import t95
from tinsmith.core.paired import mean_change, perplexity_change, score_change, share_change

# Conversations differ much, but the new model is a little better on each.
OLD = [10.0, 80.0, 25.0, 140.0, 55.0, 200.0, 33.0, 91.0, 45.0, 120.0]
GAINS = [1.0, 3.0, 1.5, 5.0, 2.0, 6.0, 1.0, 2.5, 2.0, 4.0]
NEW = [nats - gain for nats, gain in zip(OLD, GAINS, strict=True)]
TOKENS = [10] * 10


def ends(change):
    return change.interval["ci95_low"], change.interval["ci95_high"]


def test_a_ratio_of_perplexities_by_hand():
    change = perplexity_change(OLD, NEW, TOKENS)
    assert change.old == pytest.approx(math.exp(799 / 100)) and change.new == pytest.approx(math.exp(771 / 100))
    assert change.value == pytest.approx(math.exp(-28 / 100)) and change.count == 10 and change.is_ratio
    low, high = ends(change)
    assert math.exp(-0.6) <= low < change.value < high <= math.exp(-0.1) and change.is_told_apart
    assert high < perplexity_change(OLD, [*NEW[:9], OLD[9] + 4], TOKENS).interval["ci95_high"]


def test_swapping_the_runs_inverts_ratios_and_flips_differences():
    forth, back = perplexity_change(OLD, NEW, TOKENS), perplexity_change(NEW, OLD, TOKENS)
    assert back.value == pytest.approx(1 / forth.value, rel=1e-12)
    assert ends(back) == pytest.approx([1 / end for end in reversed(ends(forth))], rel=1e-12)
    forth, back = mean_change(OLD, NEW, TOKENS, TOKENS), mean_change(NEW, OLD, TOKENS, TOKENS)
    assert forth.value == pytest.approx(-28 / 100) and back.value == pytest.approx(28 / 100)
    assert ends(back) == pytest.approx([-end for end in reversed(ends(forth))], rel=1e-12)
    old, new = [True] * 5 + [False] * 15, [False] * 2 + [True] * 10 + [False] * 8
    forth, back = share_change(old, new), share_change(new, old)
    assert (forth.gained, forth.lost, back.gained, back.lost) == (7, 2, 2, 7) and back.value == -forth.value == -0.25
    assert ends(back) == pytest.approx([-end for end in reversed(ends(forth))], rel=1e-12)


def test_a_shuffled_pairing_says_nothing():
    paired = perplexity_change(OLD, NEW, TOKENS)
    shuffled = list(NEW)
    random.Random(1).shuffle(shuffled)
    control = perplexity_change(OLD, shuffled, TOKENS)
    assert control.value == pytest.approx(paired.value)
    widths = [math.log(high / low) for low, high in (ends(paired), ends(control))]
    assert widths[1] > 10 * widths[0] and paired.is_told_apart and not control.is_told_apart


def test_pooled_means_weigh_items():
    change = mean_change([1, 4], [2, 4], [2, 8], [2, 8])
    assert (change.old, change.new) == (0.5, 0.6) and change.value == pytest.approx(0.1)
    assert change.interval == {} and not change.is_told_apart, "two items are too few for an interval"


@pytest.mark.parametrize(("gained", "lost"), [(20, 0), (0, 0), (6, 0), (2, 1)])
def test_an_interval_of_a_difference_by_hand(gained, lost):
    """Twenty questions, 0.4 of a gain and 0.4 of a loss: the mean and variance of 20.8 differences."""
    old = [False] * gained + [True] * lost + [True] * (20 - gained - lost)
    new = [True] * gained + [False] * lost + [True] * (20 - gained - lost)
    change = share_change(old, new)
    assert change.value == pytest.approx((gained - lost) / 20) and (change.gained, change.lost) == (gained, lost)
    mean = (gained - lost) / 20.8
    squares = gained * (1 - mean) ** 2 + lost * (1 + mean) ** 2 + (20 - gained - lost) * mean**2
    squares += 0.4**2 * ((1 - mean) ** 2 + (1 + mean) ** 2)
    reach = t95(19) * math.sqrt(20.8 / 19.8 * squares) / 20.8
    assert ends(change) == pytest.approx((max(-1, mean - reach), min(1, mean + reach)))
    assert change.interval["ci95_low"] < change.value <= change.interval["ci95_high"]


@pytest.mark.parametrize("changed", [4, 5, 6, 9, 12, 30, 500])
@pytest.mark.parametrize("same", [10, 40])
def test_what_is_told_apart_is_near_mcnemars_test(changed, same):
    """The middle p of McNemar's test counts half of the observed outcome; the exact one rejects too rarely."""
    told = 0
    for gained in {changed // 2, changed * 3 // 4, changed - 2, changed - 1, changed, 0, 1}:
        smaller = min(gained, changed - gained)
        p = 2 * sum(math.comb(changed, k) for k in range(smaller + 1)) / 2**changed
        middle = p - math.comb(changed, smaller) / 2**changed
        flags = [True] * gained + [False] * (changed - gained)
        is_told = share_change([not flag for flag in flags] + [True] * same, flags + [True] * same).is_told_apart
        assert middle < 0.07 or not is_told, (gained, middle)
        assert is_told or middle > 0.02, (gained, middle)
        told += is_told
    assert told >= 2 or changed == 4


def test_questions_about_one_passage_count_together():
    """Twelve passages gain or lose all of their four questions."""
    old, new = [False] * 32 + [True] * 16, [True] * 32 + [False] * 16
    passages = [index // 4 for index in range(48)]
    alone, together = share_change(old, new), share_change(old, new, passages)
    assert alone.value == together.value and alone.is_told_apart and not together.is_told_apart
    assert ends(together) == pytest.approx(ends(share_change(old[::4], new[::4])))
    assert share_change(old, new, [index // 6 for index in range(48)]).interval == {}


def test_a_difference_of_grades_by_hand():
    old, new = [4.0] * 12, [4.0] * 8 + [6.0, 6.0, 8.0, 2.0]
    change = score_change(old, new, [1] * 12)
    assert (change.old, change.value, change.count) == (4, 0.5, 12)
    squares = 8 * 0.5**2 + 2 * 1.5**2 + 3.5**2 + 2.5**2
    assert ends(change) == pytest.approx([0.5 + sign * t95(11) * math.sqrt(squares) / 11 for sign in (-1, 1)])
    assert score_change(old, [4.0] * 10 + [6.0, 8.0], [1] * 12).interval == {}, "two changes say too little"
    assert score_change(old[:9], new[3:], [1] * 9).interval == {}


def test_few_items_have_no_interval():
    change = share_change([True, False, True, True], [True, True, True, True])
    assert change.value == 0.25 and change.interval == {} and not change.is_told_apart


def test_a_detectable_ratio_is_told_apart_in_80_percent_of_test_sets():
    """Thirty conversations, and a shift by what sets without one say is detectable."""
    rng = np.random.default_rng(0)
    tokens = np.round(60 * np.exp(0.35 * rng.normal(size=(200, 30))))
    noise = tokens * 0.3 * rng.normal(size=(200, 30))
    effects = [perplexity_change(3 * t, 3 * t + d, t).detectable for t, d in zip(tokens[:40], noise[:40], strict=True)]
    shift = math.log(sorted(effects)[20])
    told = [perplexity_change(3 * t, (3 + shift) * t + d, t).is_told_apart for t, d in zip(tokens, noise, strict=True)]
    assert 0.72 <= sum(told) / 200 <= 0.87


def test_a_detectable_difference_of_shares_is_told_apart_in_80_percent_of_test_sets():
    rng = np.random.default_rng(0)
    drawn = rng.random((600, 50))
    effects = [share_change(u < 0.1, (u >= 0.1) & (u < 0.2)).detectable for u in drawn[:99]]
    gained = 0.02 + sorted(effects)[49]
    told = [share_change(u < 0.02, (u >= 0.02) & (u < 0.02 + gained)).is_told_apart for u in drawn]
    assert 0.72 <= sum(told) / 600 <= 0.88


def test_nothing_is_detectable_with_nine_items_or_if_none_differ():
    assert share_change([True] * 9, [False] * 9).detectable is None
    assert perplexity_change(OLD, OLD, TOKENS).detectable is None
    assert score_change([1] * 12, [1] * 12, [2] * 12).detectable is None
