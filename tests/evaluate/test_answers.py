"""The interval of the share of key facts that answers state."""

import numpy as np
import pytest

from tinsmith.core.intervals import wilson
from tinsmith.evaluate.answers import _recall_interval


@pytest.mark.parametrize(("stated", "questions"), [(0, 0), (3, 20)])
def test_a_recall_of_none_or_all_has_the_width_of_so_few_questions(stated, questions):
    interval = _recall_interval(np.array([(stated, 3)] * 20, dtype=np.float64), seed=1)
    assert interval == wilson(questions, 20) and interval["ci95_high"] - interval["ci95_low"] > 0.15


def test_any_other_recall_is_resampled():
    interval = _recall_interval(np.array([(1, 3)] * 10 + [(0, 2)] * 10, dtype=np.float64), seed=1)
    assert 0 < interval["ci95_low"] < 0.2 < interval["ci95_high"] < 1


def test_a_few_questions_have_no_interval():
    assert _recall_interval(np.array([(0.0, 2.0)] * 4), seed=1) == {}
