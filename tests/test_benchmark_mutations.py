"""The benchmark of changed numbers: changes are found, and one that follows through everything is not."""

import json
import sys
from pathlib import Path

import pytest

from finished_run import copy_of_finished_run
from tinsmith.card.verify import check_card
from tinsmith.core.run_dir import RunDir

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


@pytest.fixture
def mutations(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import mutations

    yield mutations
    for name in ("mutations", "harness"):
        sys.modules.pop(name, None)


@pytest.fixture
def run(tmp_path, tmp_path_factory) -> RunDir:
    return copy_of_finished_run(tmp_path_factory, tmp_path / "tea-bot")


def everything_but_the_number(mutations, run):
    def forge(name: str) -> None:
        mutations._sign(run, name)
        mutations._render(run)

    return forge


RAW = ("evaluate/nll/test.int4.jsonl", "base/inventory.json", "bench/gates.json")
"""Files whose numbers all count. Of others some do not: the largest of several values stays what it is."""


def test_a_raw_number_is_found_with_stamps_log_and_card_forged(mutations, run):
    tallies = mutations._tallied(run, RAW, 3, {"all": everything_but_the_number(mutations, run)})
    assert tallies["all"].changed >= 7
    assert check_card(run) == []  # every file is as it was
    assert all("en_ids" in where or '"id"' in where for where in tallies["all"].missed), tallies["all"].missed


def test_a_forged_card_alone_is_found_and_a_consistent_forgery_is_not(mutations, run):
    """Rendering again makes the run whole: the forgery below changes nothing, so the check has nothing to find."""
    with mutations._Restored(run.root):
        mutations._sign(run, "card/README.md")
        mutations._render(run)
        assert check_card(run) == []
    page = mutations._tallied(run, ["card/README.md"], 3, {"log": lambda name: mutations._sign(run, name)})
    assert (page["log"].found, page["log"].changed) == (3, 3)


def test_a_changed_digit_is_another_number(mutations):
    assert [mutations._changed(number) for number in ("0", "0.05", "9.1", "128", "1e-5")] == [
        "1",
        "0.06",
        "1.1",
        "228",
        "2e-5",
    ]
    assert json.loads(mutations._changed("199")) == 299
