"""Rules: which ids they are for, what they record, and what happens to a broken file."""

import math

import pytest

from tinsmith.core.errors import ArtifactError, GateError
from tinsmith.core.measure import Recorder
from tinsmith.core.run_dir import write_json
from tinsmith.derive.files import Files
from tinsmith.derive.rules import Derived, Rule, derive, record


def size(files, name):
    """The number stored under a name."""
    return Derived(files.json("shop/tea.json")[name], "cups", 1, "pots")


def within_two(files):
    """A gate on what is stored under `leaves`."""
    return Derived(files.json("shop/tea.json")["leaves"], "cups", 1, "pots", gate={"op": "<=", "bound": 2})


def names(files):
    return [{"name": name} for name in files.json("shop/tea.json")]


SIZE = Rule("shop.{name*}", "shop/tea.json", size, names)
GATE = Rule("gate.shop", "shop/tea.json", within_two, hint=lambda files: "Brew again.")


@pytest.fixture
def files(tmp_path) -> Files:
    write_json(tmp_path / "tea.json", {"leaves": 2, "a.b": 3})
    return Files.of_stage("shop", tmp_path)


def test_a_placeholder_is_one_part_and_a_starred_one_any_text():
    rule = Rule("a.{x}.b.{y*}", "a/raw.json", size)
    assert rule.fields("a.1.b.2.3 {x}") == {"x": "1", "y": "2.3 {x}"}
    assert rule.fields("a.1.2.b.3") is None


def test_every_name_in_the_file_gives_a_measurement(files):
    measured = {m.id: m for m in derive((SIZE,), files)}
    assert {id: m.value for id, m in measured.items()} == {"shop.leaves": 2, "shop.a.b": 3}
    assert measured["shop.a.b"].raw == "shop/tea.json"
    assert measured["shop.a.b"].method.endswith("test_derive_rules.size")


def test_record_stops_at_a_gate_that_fails(files, tmp_path):
    recorder = Recorder()
    record(recorder, (GATE, SIZE), files)
    assert [m.id for m in recorder.measurements] == ["gate.shop", "shop.leaves", "shop.a.b"]
    write_json(tmp_path / "tea.json", {"leaves": 3})
    with pytest.raises(GateError, match=r"gate\.shop: measured 3 cups over 1 pots, required <= 2") as error:
        record(recorder, (GATE, SIZE), Files.of_stage("shop", tmp_path))
    assert error.value.hint == "Brew again."


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_gate_that_is_not_a_number_fails(files, bad):
    def boiled(files):
        return Derived(bad, "logits", 1, "positions", gate={"op": "<=", "bound": 1.0})

    recorder = Recorder()
    with pytest.raises(GateError, match=rf"g: measured {bad}, required <= 1 logits") as error:
        record(recorder, (Rule("g", "shop/tea.json", boiled, hint="Brew again."),), files)
    assert error.value.hint == "Brew again." and not recorder.measurements


def test_a_prefix_records_a_part(files):
    recorder = Recorder()
    record(recorder, (GATE, SIZE), files, "shop.a")
    assert [m.id for m in recorder.measurements] == ["shop.a.b"]


def test_a_file_without_what_a_number_needs_is_named(tmp_path):
    write_json(tmp_path / "tea.json", {})
    with pytest.raises(ArtifactError, match=r"shop/tea.json: gate.shop cannot be derived \(KeyError: 'leaves'\)"):
        list(derive((GATE,), Files.of_stage("shop", tmp_path)))


def test_a_missing_file_gives_no_number(tmp_path):
    assert list(derive((GATE,), Files.of_stage("shop", tmp_path))) == []
