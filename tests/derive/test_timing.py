"""The benchmark's numbers against hand-computed ones."""

import pytest

from tinsmith.derive.timing import TimedRun, decode_tokens_per_second, first_token_seconds, median_and_range


def test_first_token_runs_from_the_request():
    assert first_token_seconds(TimedRun(1000.0, (1450.0, 1500.0), 40)) == pytest.approx(0.45)


def test_decode_speed_counts_the_gaps_not_the_tokens():
    # Five tokens have four gaps: 4 / 0.4 s = 10 tokens/s; the prompt's 3 s do not count.
    run = TimedRun(0.0, (3000.0, 3100.0, 3200.0, 3300.0, 3400.0), 40)
    assert decode_tokens_per_second(run) == pytest.approx(10.0)


@pytest.mark.parametrize("times", [(5.0,), (5.0, 5.0)])
def test_no_speed_without_time(times):
    with pytest.raises(ValueError, match="no decode speed"):
        decode_tokens_per_second(TimedRun(0.0, times, 1))


def test_median_and_range_of_an_odd_and_an_even_number_of_runs():
    runs = [TimedRun(0.0, (ms, ms + 1), 1) for ms in (1000.0, 5000.0, 2000.0)]
    assert median_and_range(runs, first_token_seconds) == (2.0, {"min": 1.0, "max": 5.0})
    assert median_and_range(runs[:2], first_token_seconds)[0] == pytest.approx(3.0)
