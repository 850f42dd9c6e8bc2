"""Paired differences against numbers computed by hand, and a control that must fail."""

import math
import random

import pytest

from tinsmith.core.paired import mean_change, perplexity_change, share_change

# Conversations differ much, but the new model is a little better on each.
OLD = [10.0, 80.0, 25.0, 140.0, 55.0, 200.0, 33.0, 91.0]
NEW = [nats - gain for nats, gain in zip(OLD, (1.0, 3.0, 1.5, 5.0, 2.0, 6.0, 1.0, 2.5), strict=True)]
TOKENS = [10] * 8


def ends(change):
    return change.interval["ci95_low"], change.interval["ci95_high"]


def test_a_ratio_of_perplexities_by_hand():
    change = perplexity_change(OLD, NEW, TOKENS)
    assert change.old == pytest.approx(math.exp(634 / 80)) and change.new == pytest.approx(math.exp(612 / 80))
    assert change.value == pytest.approx(math.exp(-22 / 80)) and change.count == 8 and change.is_ratio
    low, high = ends(change)
    # No resample can leave the range of the single conversations' changes.
    assert math.exp(-0.6) <= low < change.value < high <= math.exp(-0.1) and change.is_told_apart


def test_swapping_the_runs_inverts_ratios_and_flips_differences():
    forth, back = perplexity_change(OLD, NEW, TOKENS), perplexity_change(NEW, OLD, TOKENS)
    assert back.value == pytest.approx(1 / forth.value, rel=1e-12)
    assert ends(back) == pytest.approx([1 / end for end in reversed(ends(forth))], rel=1e-12)
    forth, back = mean_change(OLD, NEW, TOKENS, TOKENS), mean_change(NEW, OLD, TOKENS, TOKENS)
    assert forth.value == pytest.approx(-22 / 80) and back.value == pytest.approx(22 / 80)
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


@pytest.mark.parametrize(
    ("gained", "lost", "low", "high"),
    [
        # All gained: of 20 changed items at least 0.025 ** (1 / 20) were.
        (20, 0, 2 * 0.025 ** (1 / 20) - 1, 1.0),
        # None changed: at most 1 - 0.025 ** (1 / 20) gained or lost.
        (0, 0, 0.025 ** (1 / 20) - 1, 1 - 0.025 ** (1 / 20)),
        # Six gained: the conditional end is lower; the exact interval of 6 of 20 ends at 0.5428.
        (6, 0, (2 * 0.025 ** (1 / 6) - 1) * 6 / 20, 0.5428),
        # Exact intervals: 2 of 20 is 0.0123 to 0.3170, 1 of 20 is 0.0013 to 0.2487; their correlation is -0.0765.
        (2, 1, 0.05 - 0.2232, 0.05 + 0.2260),
    ],
)
def test_an_interval_of_a_difference_by_hand(gained, lost, low, high):
    old = [False] * gained + [True] * lost + [True] * (20 - gained - lost)
    new = [True] * gained + [False] * lost + [True] * (20 - gained - lost)
    change = share_change(old, new)
    assert change.value == pytest.approx((gained - lost) / 20) and (change.gained, change.lost) == (gained, lost)
    assert ends(change) == pytest.approx((low, high), abs=1e-4)


@pytest.mark.parametrize("changed", [5, 6, 9, 12, 30, 500])
@pytest.mark.parametrize("same", [0, 40])
def test_nothing_is_told_apart_that_mcnemars_exact_test_does_not(changed, same):
    told = 0
    for gained in {changed // 2, changed * 3 // 4, changed - 2, changed - 1, changed, 0, 1}:
        smaller = min(gained, changed - gained)
        p = min(1, 2 * sum(math.comb(changed, k) for k in range(smaller + 1)) / 2**changed)
        flags = [True] * gained + [False] * (changed - gained)
        is_told = share_change([not flag for flag in flags] + [True] * same, flags + [True] * same).is_told_apart
        assert p < 0.05 or not is_told, (gained, p)
        assert is_told or p > 0.01, (gained, p)
        told += is_told
    assert told >= 2 or changed == 5


def test_few_items_have_no_interval():
    change = share_change([True, False, True, True], [True, True, True, True])
    assert change.value == 0.25 and change.interval == {} and not change.is_told_apart
