"""A share corrected by people's verdicts, against hand-computed shares and simulated test sets with known truth."""

import numpy as np
import pytest

from tinsmith.core.double_sampling import MIN_LABELS, corrected_share


def test_the_share_is_the_one_computed_by_hand():
    # The judge accepts 60 of 100. People accept 16 of the 20 they saw of those, and 5 of the other 20.
    judged = [True] * 60 + [False] * 40
    people = [True] * 16 + [False] * 4 + [None] * 40 + [True] * 5 + [False] * 15 + [None] * 20
    share, interval = corrected_share(judged, people, seed=1)
    assert share == pytest.approx(0.6 * 0.8 + 0.4 * 0.25)
    # Delta method: 0.55^2 * 0.6 * 0.4 / 100 + 0.6^2 * 0.8 * 0.2 / 20 + 0.4^2 * 0.25 * 0.75 / 20, times 1.96 each way.
    assert interval["ci95_high"] - interval["ci95_low"] == pytest.approx(2 * 1.96 * 0.0715, rel=0.05)
    assert corrected_share(judged, people, seed=1)[1] == interval


def test_an_interval_carries_the_judges_errors():
    judged, people = [True, False] * 200, ([True, False] * 20 + [None] * 360)
    perfect = corrected_share(judged, people, seed=1)[1]
    unsure = corrected_share(judged, [True, True, False, False] * 10 + [None] * 360, seed=1)[1]
    assert unsure["ci95_high"] - unsure["ci95_low"] > 1.8 * (perfect["ci95_high"] - perfect["ci95_low"])


def test_clustered_items_widen_it():
    judged, people = [True, False] * 30, [True, False, False, True] * 15
    one, half = (corrected_share(judged, people, 1, weight)[1] for weight in (1.0, 0.5))
    ratio = (half["ci95_high"] - half["ci95_low"]) / (one["ci95_high"] - one["ci95_low"])
    assert ratio == pytest.approx(2**0.5, rel=0.05)


def test_too_few_labels_are_refused():
    labels = [True] * (MIN_LABELS - 1) + [None] * 50
    with pytest.raises(ValueError, match="29 items have both"):
        corrected_share([True] * len(labels), labels, seed=1)


CASES = [
    # truth, judge accepts of right replies, of wrong ones
    (0.5, 0.9, 0.1),
    (0.2, 0.9, 0.1),
    (0.05, 0.9, 0.05),
    (0.8, 0.7, 0.2),
    (0.5, 0.6, 0.4),  # hardly better than chance
    (0.9, 0.95, 0.1),
]


@pytest.mark.parametrize(("truth", "accepts_right", "accepts_wrong"), CASES)
@pytest.mark.parametrize(("labels", "items"), [(30, 50), (60, 200)])
def test_its_interval_covers_the_truth(truth, accepts_right, accepts_wrong, labels, items, monkeypatch):
    monkeypatch.setattr("tinsmith.core.double_sampling._DRAWS", 1000)
    rng = np.random.default_rng(7)
    covered, uncorrected, sets = 0, 0, 600
    for number in range(sets):
        right = rng.random(items) < truth
        judged = (rng.random(items) < np.where(right, accepts_right, accepts_wrong)).tolist()
        people = [*right[:labels].tolist(), *[None] * (items - labels)]
        interval = corrected_share(judged, people, number)[1]
        covered += interval["ci95_low"] <= truth <= interval["ci95_high"]
        uncorrected += interval["ci95_low"] <= sum(judged) / items <= interval["ci95_high"]
    # 93 to 97 % but for the simulation's own error, two standard deviations of 600 sets.
    assert 0.93 - 0.02 <= covered / sets <= 0.97 + 0.015
    if abs(truth * accepts_right + (1 - truth) * accepts_wrong - truth) > 0.15 and labels == 60:
        assert uncorrected / sets < 0.8, "the judge's own share would have been wrong"
