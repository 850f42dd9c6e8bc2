"""A single process leads itself and never waits; several processes divide all work among them."""

import pytest

from tinsmith.core import parallel


def test_a_single_process_leads_and_sums_alone():
    assert parallel.is_leader() and parallel.process_count() == 1
    assert parallel.sum_number(2.5) == 2.5 == parallel.smallest_number(2.5)
    parallel.wait_for_all()
    parallel.tell_followers({"do": "stop"})
    with parallel.leading():
        assert parallel.my_share([1, 2, 3]) == [1, 2, 3]


@pytest.mark.parametrize("count", [1, 2, 3, 7])
def test_shares_of_all_processes_cover_all_items(count, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", str(count))
    shares = []
    for index in range(count):
        monkeypatch.setenv("RANK", str(index))
        assert parallel.is_leader() == (index == 0)
        shares.append(parallel.my_share(list(range(5))))
    assert sorted(item for share in shares for item in share) == list(range(5))
    assert max(map(len, shares)) - min(map(len, shares)) <= 1


def test_a_failing_leader_does_not_tell_followers_to_stop(monkeypatch):
    sent = []
    monkeypatch.setattr(parallel, "tell_followers", sent.append)
    with pytest.raises(ValueError, match="out of rows"), parallel.leading():
        raise ValueError("out of rows")
    assert sent == []
    with parallel.leading():
        pass
    assert sent == [{"do": "stop"}]
