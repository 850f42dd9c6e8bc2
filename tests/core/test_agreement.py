"""Krippendorff's alpha: examples worked out in print, a value computed by hand, and data that say nothing."""

import pytest

from tinsmith.core.agreement import krippendorff_alpha


def grades(*raters):
    """Units of raters' rows, in which a dot is no grade."""
    return [[None if mark == "." else int(mark) for mark in unit] for unit in zip(*raters, strict=True)]


# Krippendorff (2011), example C: four observers, twelve units, missing data.
FOUR_OBSERVERS = grades("123321412...", "1233224125.3", ".3332342251.", "12332441251.")
# The same, example A: two observers, ten units, two values.
TWO_OBSERVERS = grades("0100000010", "1110010000")
# Three coders, fifteen units, missing data; the usual illustration of the coefficient.
THREE_CODERS = grades(".....34121133.3", "1.213343.......", "..21344.21133.4")


@pytest.mark.parametrize(
    ("units", "level", "published"),
    [
        (FOUR_OBSERVERS, "nominal", 0.743),
        (FOUR_OBSERVERS, "ordinal", 0.815),
        (FOUR_OBSERVERS, "interval", 0.849),
        (TWO_OBSERVERS, "nominal", 0.095),
        (THREE_CODERS, "nominal", 0.691),
        (THREE_CODERS, "interval", 0.811),
    ],
)
def test_published_examples(units, level, published):
    assert krippendorff_alpha(units, level) == pytest.approx(published, abs=0.0006)


def test_by_hand():
    """Units aa, ab, bb: of six grades three are a, so 1 - 5 * 2 / (2 * 3 * 3) = 4 / 9."""
    assert krippendorff_alpha([(0, 0), (0, 1), (1, 1)], "nominal") == pytest.approx(4 / 9)


def test_agreement_disagreement_and_order():
    same, opposite = [(1, 1), (5, 5), (3, 3)], [(1, 5), (5, 1), (1, 5)]
    assert krippendorff_alpha(same, "ordinal") == 1
    assert krippendorff_alpha(opposite, "ordinal") < 0
    near, far = [(1, 2), (4, 5), (2, 2), (4, 4)], [(1, 4), (4, 1), (2, 2), (5, 5)]
    assert krippendorff_alpha(near, "ordinal") > krippendorff_alpha(far, "ordinal")


@pytest.mark.parametrize("units", [[], [(1,), (None, 2)], [(1, 1), (1, 1), (1, 1, None)]])
@pytest.mark.parametrize("level", ["nominal", "ordinal", "interval"])
def test_data_that_say_nothing_give_no_number(units, level):
    assert krippendorff_alpha(units, level) is None
