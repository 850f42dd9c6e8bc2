"""Rounding, by hand."""

import pytest

from tinsmith.card.rounding import interval_text, number_text


def interval(low, high):
    return {"ci95_low": low, "ci95_high": high}


@pytest.mark.parametrize(
    ("value", "unit", "spread", "expected"),
    [
        (37.5182, "perplexity", interval(31.02, 45.1), "37.5"),  # half width 7.04: tenths are its second digit
        (6.2437, "perplexity", interval(5.91, 6.6), "6.24"),  # half width 0.345
        (6.2437, "perplexity", interval(5.0, 7.99), "6.2"),  # half width 1.5
        (1234.5, "perplexity", interval(1000, 1500), "1,230"),  # half width 250: tens
        (0.4499, "fraction", interval(0.389, 0.511), "45 %"),  # half width 6.1 points: of percentages, one digit
        (0.01211, "fraction", interval(0.0051, 0.0189), "1.2 %"),  # half width 0.69 points
        (0.4499, "fraction", interval(0.2, 0.7), "45 %"),  # half width 25 points
        (1.16667, "ratio", {}, "1.17"),
        (0.03, "fraction", {}, "3 %"),
        (134_515_008, "count", {}, "134,515,008"),
        (86_512_345, "bytes", {}, "86.5 MB"),
        (1_254_000_000, "bytes", {}, "1.25 GB"),
        (999, "bytes", {}, "999 bytes"),
        (0.4512, "seconds", {}, "0.451 s"),
        (754.2, "minutes", {}, "12.6 minutes"),
        (8.7654, "tokens/s", {"min": 7.5, "max": 9.25}, "8.77 tokens/s"),
        (123456.7, "tokens/s", {}, "123,457 tokens/s"),  # no interval says that whole digits are noise
        (5e-4, "", {}, "0.0005"),
        (5e-5, "", {}, "5e-05"),
        (0.0, "nats/token", {}, "0"),
        (2.0, "perplexity", interval(2.0, 2.0), "2.00"),
        (2.0, "perplexity", interval(2.0, 2.0 + 1e-12), "2.00000"),  # float noise is no reason for more digits
    ],
)
def test_number_has_no_more_digits_than_its_interval_supports(value, unit, spread, expected):
    assert number_text(value, unit, spread) == expected


def test_bounds_are_rounded_like_the_value():
    assert interval_text(6.2437, "perplexity", interval(5.914, 6.6049), "ci95_low", "ci95_high") == "5.91 to 6.60"
    assert interval_text(0.45, "fraction", interval(0.389, 0.511), "ci95_low", "ci95_high") == "39 to 51 %"
    assert interval_text(8.7654, "tokens/s", {"min": 7.5, "max": 9.25}, "min", "max") == "7.50 to 9.25"
