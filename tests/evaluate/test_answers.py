"""The share of key facts that answers state, and how sure of it so few answers make one."""

import numpy as np
import pytest

from tinsmith.core.intervals import wilson
from tinsmith.evaluate.answers import _recall_interval


@pytest.mark.parametrize(("found", "share"), [(0, 0), (1, 20)])
def test_none_or_all_found_leave_a_doubt_of_as_many_questions(found, share):
    rows = np.array([(3 * found, 3)] * 20, dtype=np.float64)
    interval = _recall_interval(rows, seed=1)
    assert interval == wilson(share, 20) and interval["ci95_high"] - interval["ci95_low"] > 0.15


def test_some_found_are_resampled():
    interval = _recall_interval(np.array([(1, 3)] * 10 + [(0, 2)] * 10, dtype=np.float64), seed=1)
    assert 0 < interval["ci95_low"] < 0.2 < interval["ci95_high"] < 1


def test_a_few_questions_have_no_interval():
    assert _recall_interval(np.array([(0.0, 2.0)] * 4), seed=1) == {}
