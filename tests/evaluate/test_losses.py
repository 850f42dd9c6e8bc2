"""Loss, perplexity, bits per byte and ratios from hand-computed sums."""

import math

import pytest

from tinsmith.core.measure import Recorder
from tinsmith.evaluate.losses import record_categories, record_losses, record_ratio
from tinsmith.evaluate.nll import Score


def scores(*nlls, categories=("a",)):
    return [
        Score(f"c{index}", categories[index % len(categories)], nll, tokens=10 * (index + 1), bytes=40 * (index + 1))
        for index, nll in enumerate(nlls)
    ]


def by_id(recorder):
    return {measurement.id: measurement for measurement in recorder.measurements}


def test_pooled_over_tokens_not_averaged_over_conversations():
    recorder = Recorder()
    record_losses(recorder, scores(10, 60), "test", "base", "raw", seed=0)
    measurements = by_id(recorder)
    # 70 nats over 30 tokens and 120 bytes; the mean of the two conversations' losses would be 2.0.
    assert measurements["evaluate.loss.test.base"].value == pytest.approx(70 / 30)
    assert measurements["evaluate.perplexity.test.base"].value == pytest.approx(math.exp(70 / 30))
    assert measurements["evaluate.bits_per_byte.test.base"].value == pytest.approx(70 / math.log(2) / 120)
    assert all(m.count == 2 and m.count_of == "conversations" and m.spread == {} for m in measurements.values())


def test_spread_surrounds_the_value():
    recorder = Recorder()
    record_losses(recorder, scores(10, 60, 30, 90, 70, 200), "val", "int4", "raw", seed=0)
    for measurement in recorder.measurements:
        assert measurement.spread["ci95_low"] < measurement.value < measurement.spread["ci95_high"]


def test_ratio_is_paired():
    """Conversations differ widely, the second model is 0.1 nats/token worse on each: the paired interval is a point."""
    base = scores(10, 60, 30, 90, 70, 200)
    worse = [Score(s.id, s.category, s.nll + 0.1 * s.tokens, s.tokens, s.bytes) for s in base]
    recorder = Recorder()
    ratio = record_ratio(recorder, worse, base, "ratio", "raw", seed=0)
    assert ratio == pytest.approx(math.exp(0.1))
    assert recorder.measurements[0].spread["ci95_low"] == pytest.approx(math.exp(0.1))
    assert recorder.measurements[0].spread["ci95_high"] == pytest.approx(math.exp(0.1))


def test_ratio_refuses_other_tokens():
    other = [Score(s.id, s.category, s.nll, s.tokens + 1, s.bytes) for s in scores(1, 2)]
    with pytest.raises(ValueError, match="same tokens"):
        record_ratio(Recorder(), scores(1, 2), other, "ratio", "raw", seed=0)


def test_small_categories_are_named_not_measured():
    recorder = Recorder()
    too_small = record_categories(
        recorder, scores(10, 20, 30, 40, 50, categories=("a", "b")), "test", "tuned", "raw", seed=0
    )
    assert too_small == ["b"]
    assert list(by_id(recorder)) == ["evaluate.loss.test.tuned.category.a"]
    assert recorder.measurements[0].value == pytest.approx(90 / 90)
    assert recorder.measurements[0].count == 3
