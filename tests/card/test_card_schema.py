"""The schema of card.json is strict, and both of its forms, JSON schema and models, refuse the same."""

import copy
import json

import pytest
from jsonschema import Draft202012Validator

from fake_run import STAMPED, write_card, write_run
from tinsmith.card.schema import SCHEMA_FILE, schema_bytes, schema_problems, schema_text
from tinsmith.card.verify import check_card
from validators import schema_errors


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run whose card has every kind of text: measured, recorded, declared, not measured and not stated."""
    stages = tuple(stage for stage in STAMPED if stage not in ("bench", "remote"))
    run = write_run(tmp_path_factory.mktemp("runs") / "tea-bot", stages, {"author": "Ada"})
    with pytest.MonkeyPatch.context() as monkeypatch:
        write_card(run, monkeypatch, {"author": "Ada"})
    return run


@pytest.fixture(scope="module")
def whole(run) -> dict:
    return json.loads((run.stage("card") / "card.json").read_text())


@pytest.fixture(scope="module")
def card(whole) -> dict:
    """The card with one field of each status, the measured one first, and one measurement, which has a gate."""
    by_status = {field["status"]: field for field in whole["fields"]}
    gated = next(m for m in whole["measurements"] if m["gate"])
    measured = by_status.pop("measured")
    return {**whole, "fields": [measured, *by_status.values()], "measurements": [gated]}


@pytest.fixture(scope="module")
def schema() -> dict:
    return json.loads(schema_bytes())


def refused_by(schema: dict, tree) -> tuple[bool, bool]:
    """Whether the JSON schema and the models refuse a card."""
    return bool(schema_errors(schema, tree)), bool(schema_problems(json.dumps(tree).encode()))


def test_the_schema_ships_and_accepts_the_card(run, whole, schema):
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    Draft202012Validator.check_schema(schema)
    assert (run.stage("card") / SCHEMA_FILE).read_bytes() == schema_bytes()
    assert schema_errors(schema, whole) == []
    assert schema_problems((run.stage("card") / "card.json").read_bytes()) == []
    statuses = {field["status"] for field in whole["fields"]}
    assert statuses == {"measured", "recorded", "declared", "not_measured", "not_stated"}


def test_the_file_says_what_the_models_say():
    """It is kept as a file, so that another version of pydantic cannot change what ships."""
    assert json.loads(schema_text()) == json.loads(schema_bytes()), "type: make docs"


@pytest.mark.parametrize("stages", [(), ("base",), ("base", "data")], ids=len)
def test_the_card_of_an_unfinished_run_is_accepted_too(tmp_path, monkeypatch, schema, stages):
    run = write_run(tmp_path / "tea-bot", stages)
    card = json.loads((write_card(run, monkeypatch) / "card.json").read_text())
    assert refused_by(schema, card) == (False, False)


def samples(card: dict) -> list[tuple]:
    """The place of every kind of object in the card."""
    fields = [("fields", number) for number in range(len(card["fields"]))]
    parts = [("fields", 0, "source"), ("measurements", 0), ("measurements", 0, "gate"), ("snippets", 0)]
    return [(), *fields, *parts, ("measurement_log",)]


def at(tree, place: tuple):
    for key in place:
        tree = tree[key]
    return tree


def test_every_key_is_required_and_no_other_is_allowed(card, schema):
    for place in samples(card):
        for key in at(card, place):
            lacking = copy.deepcopy(card)
            del at(lacking, place)[key]
            assert refused_by(schema, lacking) == (True, True), f"without {key} at {place}"
        more = copy.deepcopy(card)
        at(more, place)["remark"] = "x"
        assert refused_by(schema, more) == (True, True), f"an extra key at {place}"


def test_every_value_has_one_type(card, schema):
    for place in samples(card):
        for key, value in at(card, place).items():
            if place[:1] == ("fields",) and key == "value" and at(card, place)["status"] in ("recorded", "declared"):
                continue  # any JSON value of a stage's record, or of the author's configuration
            wrong = copy.deepcopy(card)
            at(wrong, place)[key] = str(value) if isinstance(value, int | float) else [7]
            assert refused_by(schema, wrong) == (True, True), f"{key} at {place} is {at(wrong, place)[key]!r}"


@pytest.mark.parametrize(
    ("place", "value"),
    [
        (("schema",), "tinsmith-card/2"),
        (("fields", 0, "status"), "checked"),
        (("fields", 0, "id"), ""),
        (("fields", 0, "count"), -1),
        (("fields", 0, "value"), True),
        (("fields", 0, "spread"), {"ci99_low": 1.0}),
        (("fields", 0, "source", "sha256"), "abc"),
        (("measurements", 0, "id"), "perplexity"),
        (("measurements", 0, "count"), 1.5),
        (("measurements", 0, "raw"), ""),
        (("measurements", 0, "gate"), {"op": "~", "bound": 1}),
        (("measurements", 0, "gate"), {"op": "<="}),
        (("stamps", "base"), "1b723"),
        (("snippets", 0, "form"), "cli"),
        (("snippets", 0, "elapsed_seconds"), -1),
    ],
)
def test_values_outside_what_is_allowed_are_refused(card, schema, place, value):
    wrong = copy.deepcopy(card)
    at(wrong, place[:-1])[place[-1]] = value
    assert refused_by(schema, wrong) == (True, True)


@pytest.mark.parametrize("content", [b"", b"[]", b"{", b'{"schema": "tinsmith-card/1"}', b"\xff"])
def test_what_is_no_card_is_refused(content):
    assert schema_problems(content)


def test_the_check_says_what_and_where(full_run):
    path = full_run.stage("card") / "card.json"
    path.write_text(path.read_text().replace('"status": "measured"', '"status": "certain"', 1))
    problems = check_card(full_run)
    assert any(problem.startswith("card/card.json: fields.") and "'certain'" in problem for problem in problems), (
        problems
    )
