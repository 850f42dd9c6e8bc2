"""How numbers, records and the author's words become text, and where each text says it comes from."""

import pytest

from fake_run import write_run
from tinsmith.card.evidence import read_evidence
from tinsmith.card.facts import AUTHORS_MARK, NOT_STATED, Facts, plain, words
from tinsmith.card.license import license_metadata, license_text
from tinsmith.core.config import CardConfig
from tinsmith.core.measure import Measurement
from tinsmith.core.run_dir import RunDir, combined_sha256

CI = {"ci95_low": 14.1, "ci95_high": 19.2}


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> RunDir:
    return write_run(tmp_path_factory.mktemp("facts") / "tea-bot", ("base", "data", "train"))


@pytest.fixture
def facts(run) -> Facts:
    return Facts(read_evidence(run), CardConfig(domain="tea | cakes", risks=("Wrong", "Old")))


def measured(facts, id, value, unit="perplexity", count=50, count_of="conversations", spread=None, **more):
    m = Measurement(id, value, unit, count, count_of, "a.method", spread or {}, environment="env1", **more)
    facts.evidence.measurements[id] = m
    return id


def test_a_number_with_an_interval(facts):
    id = measured(facts, "evaluate.perplexity.test.int4", 16.42, spread=CI)
    assert facts.has(id)
    assert (facts.value(id), facts.interval(id)) == ("16.4", "14.1 to 19.2")
    assert facts.cell(id) == "16.4 (14.1 to 19.2)"
    assert facts.full(id) == "16.4 (95 % interval 14.1 to 19.2; 50 conversations)"
    assert facts.rests_on(id) == "50 conversations"
    printed, bounds = facts.uses
    assert (printed.id, printed.text, printed.status, printed.value) == (id, "16.4", "measured", 16.42)
    assert (printed.unit, printed.count, printed.count_of) == ("perplexity", 50, "conversations")
    assert (printed.spread, printed.method, printed.environment) == (CI, "a.method", "env1")
    assert bounds.text == "14.1 to 19.2" and bounds.id == id


def test_a_number_with_a_range_or_with_nothing(facts):
    ranged = measured(facts, "bench.wasm.load_seconds", 4.25, "seconds", 3, "loads", {"min": 4.0, "max": 4.5})
    assert facts.full(ranged) == "4.25 s (range 4.00 to 4.50; 3 loads)"
    alone = measured(facts, "bench.wasm.first_token_seconds", 4.25, "seconds", 1, "loads")
    assert (facts.interval(alone), facts.cell(alone)) == ("", "4.25 s")
    assert facts.full(alone) == "4.25 s (1 load)"
    assert facts.interval(measured(facts, "train.epochs", 3.0, spread={"min": 1.0})) == ""
    assert facts.rests_on(measured(facts, "export.bits", 4.5, count=1, count_of="matrices")) == "1 matrix"
    assert facts.rests_on(measured(facts, "export.bits", 4.5, count=1234, count_of="matrices")) == "1,234 matrices"


def test_units_that_the_caller_chooses_and_words_for_a_number(facts):
    id = measured(facts, "train.elapsed_seconds", 754.2, "seconds")
    assert facts.value(id, "minutes") == "12.6 minutes" and facts.value(id, "exact") == "754.2"
    assert facts.worded(id, "about a quarter of an hour") == "about a quarter of an hour"
    assert {use.text for use in facts.uses} == {"12.6 minutes", "754.2", "about a quarter of an hour"}


@pytest.mark.parametrize(
    ("value", "spread", "text"),
    [
        (1.012, {"ci95_low": 1.005, "ci95_high": 1.019}, "1.2 % (0.5 to 1.9 %)"),
        (0.98, {"ci95_low": 0.97, "ci95_high": 0.99}, "2 % (1 to 3 %)"),
        (1.012, {}, "1.20 %"),
    ],
)
def test_how_far_a_ratio_is_from_one(facts, value, spread, text):
    assert facts.change(measured(facts, "evaluate.ratio.test.int4_over_tuned", value, "ratio", spread=spread)) == text


def test_a_number_from_the_log_alone_has_the_hash_of_its_line(facts):
    id = measured(facts, "train.epochs", 3.0)
    facts.value(id)
    (use,) = facts.uses
    assert use.source["file"] == "measurements.jsonl" and len(use.source["sha256"]) == 64
    raw = measured(facts, "base.parameters", 3.0, raw="base/inventory.json")
    facts.value(raw)
    digest = facts.evidence.stamps["base"]["outputs"]["inventory.json"]
    assert facts.uses[1].source == {"file": "base/inventory.json", "sha256": digest}


@pytest.mark.parametrize(
    ("id", "text"),
    [
        ("evaluate.loss.test.int4", "the evaluate stage has not finished; type `tinsmith run CONFIG`"),
        ("bench.wasm.load_seconds", "the bench stage has not finished; type `tinsmith run CONFIG`"),
        ("train.warmup_seconds", "the train stage recorded nothing for it"),
    ],
)
def test_a_number_that_is_missing_says_why(facts, id, text):
    assert not facts.has(id) and facts.rests_on(id) == ""
    assert facts.value(id) == facts.cell(id) == facts.full(id) == f"Not measured: {text}"
    (use,) = facts.uses
    assert (use.id, use.status, use.source) == (id, "not_measured", {})


def finish(facts, stage, file, record):
    """A stage with one record."""
    facts.evidence.stamps[stage] = {"outputs": {file: "ab" * 32}}
    facts.evidence._records[f"{stage}/{file}"] = record


@pytest.mark.parametrize(
    ("stage", "file", "record", "id", "reason"),
    [
        (
            "knowledge",
            "knowledge.json",
            {"withheld": "nothing | was asked"},
            "answers.known.right",
            "nothing \\| was asked; type `tinsmith questions runs/tea-bot`",
        ),
        (
            "bench",
            "webgpu.json",
            {"not_measured": "no adapter"},
            "bench.webgpu.load_seconds",
            "no adapter; type `tinsmith bench runs/tea-bot --remote --lan`",
        ),
        (
            "evaluate",
            "evaluate.json",
            {"closed_book": {"withheld": "none is known"}, "absent": {"evaluate": "no"}},
            "evaluate.closed_book.right",
            "none is known",
        ),
        (
            "evaluate",
            "evaluate.json",
            {"absent": {"evaluate.facts": "short", "evaluate.facts.trained": "long", "evaluate.facts.train": "other"}},
            "evaluate.facts.trained.int4",
            "long",
        ),
        ("train", "train.json", {"energy": {"not_measured": "no counters"}}, "train.energy_joules", "no counters"),
        ("judge", "judge.json", {"withheld": {}}, "judge.consistency", "the judge stage recorded nothing for it"),
    ],
)
def test_the_stage_gives_the_reason(facts, stage, file, record, id, reason):
    finish(facts, stage, file, record)
    facts.evidence.measurements.pop(id, None)
    assert facts.value(id) == f"Not measured: {reason}"


def test_values_of_records_are_printed_with_their_place(facts):
    finish(facts, "data", "report.json", {"a": {"b": ["x", "", "y_"]}, "size": 1_500_000, "none": None, "is": False})
    assert facts.recorded("data", "report.json", "a.b") == "x, y\\_"
    assert facts.recorded("data", "report.json", "size", "bytes") == "1.50 MB"
    assert facts.recorded("data", "report.json", "is") == "no"
    first = facts.uses[0]
    assert (first.id, first.status, first.value) == ("data/report.json#a.b", "recorded", ["x", "", "y_"])
    assert first.source == {"file": "data/report.json", "sha256": "ab" * 32}
    assert facts.uses[1].unit == "bytes"
    missing = "Not measured: the data stage recorded nothing for it"
    for key in ("none", "a.c", "a.b.c", "nothing"):
        assert facts.recorded("data", "report.json", key) == missing
        assert facts.raw("data", "report.json", key) is None
    assert facts.recorded("merge", "x.json", "a").startswith("Not measured: the merge stage has not finished")


def test_the_authors_words_are_marked_and_what_is_missing_says_what_to_set(facts):
    assert facts.declared("domain") == f"tea \\| cakes {AUTHORS_MARK}"
    assert facts.declared_list("risks") == [f"Wrong {AUTHORS_MARK}", f"Old {AUTHORS_MARK}"]
    assert facts.declared("author") == f"{NOT_STATED}: set `card.author`"
    assert facts.declared_list("benefits") == [f"{NOT_STATED}: set `card.benefits`"]
    by_id = {use.id: use for use in facts.uses}
    source = {"file": "config.json#card", "sha256": combined_sha256(facts.config.model_dump(mode="json"))}
    domain = by_id["card.domain"]
    assert (domain.status, domain.text, domain.value, domain.source) == (
        "declared",
        "tea \\| cakes",
        "tea | cakes",
        source,
    )
    assert (by_id["card.author"].status, by_id["card.author"].source) == ("not_stated", {})


def test_words_of_the_author_in_a_record_are_marked_too(facts):
    finish(facts, "data", "report.json", {"source": "The *shop*", "license": ""})
    assert facts.stated("data", "report.json", "source") == f"The \\*shop\\* {AUTHORS_MARK}"
    assert facts.stated("data", "report.json", "license") == f"{NOT_STATED}: set `data.license`"
    assert facts.stated("data", "report.json", "language") == "Not measured: the data stage recorded nothing for it"
    assert [use.status for use in facts.uses] == ["declared", "not_stated", "not_measured"]
    assert facts.uses[0].source == {"file": "data/report.json", "sha256": "ab" * 32}


def test_settings_are_printed_as_they_are_or_in_words(facts):
    assert facts.configured("answers.max_wrong", unit="fraction") == "5 %"
    assert facts.configured("answers.mode") == "auto"
    assert facts.configured("answers.publish", "the owner agreed") == "the owner agreed"
    first, *_, last = facts.uses
    assert (first.id, first.status, first.value, first.unit) == (
        "config.answers.max_wrong",
        "declared",
        0.05,
        "fraction",
    )
    assert first.source == {"file": "config.json", "sha256": combined_sha256({"answers.max_wrong": 0.05})}
    assert (last.id, last.value) == ("config.answers.publish", True)


def test_the_date_is_the_evaluations(facts):
    assert facts.date() == "Not measured: the evaluate stage has not finished; type `tinsmith run CONFIG`"
    facts.evidence.stamps["evaluate"] = {"finished_at": "2026-11-22T10:30:00+00:00", "outputs": {}}
    assert facts.date() == "2026-11-22"
    assert [use.source for use in facts.uses] == [{}, {"file": "stamps/evaluate.json"}]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (" a\n\tb ", "a b"),
        ("`*<|[]\\", "\\`\\*\\<\\|\\[\\]\\\\"),
        ("&amp; &#38; & R&D", "\\&amp; \\&#38; & R&D"),
        ("_a_ b_c", "\\_a\\_ b_c"),
        ("# a", "\\# a"),
        ("- a", "\\- a"),
        ("+ a", "\\+ a"),
        ("> a", "\\> a"),
        ("1. a", "\\1. a"),
        ("12) a", "\\12) a"),
        ("#a -b 1.5 a - b", "#a -b 1.5 a - b"),
    ],
)
def test_no_text_can_act_as_markdown(text, expected):
    assert plain(text) == expected


def test_lists_and_objects_are_words():
    assert words(["a", "", None, 0, ["b", {"c": True}]]) == "a, 0, b, yes"
    assert words(({"x": 1.5},)) == "1.5" and words(False) == "no" and words("x") == "x"


def with_license(run, record, **author) -> Facts:
    facts = Facts(read_evidence(run), CardConfig(**author))
    finish(facts, "base", "base.json", {"license": record})
    return facts


MIT = {"id": "mit", "name": "MIT License", "link": "https://mit.example"}
AUTHORS = f"CC0-1.0 {AUTHORS_MARK}"


@pytest.mark.parametrize(
    ("record", "author", "text"),
    [
        (MIT, {}, "MIT License (`mit`), inherited from the base model: <https://mit.example>"),
        ({"id": "mit"}, {}, "mit (`mit`), inherited from the base model."),
        (
            MIT,
            {"license": "CC0-1.0"},
            f"{AUTHORS}.\n\nThe base model's licence is MIT License (`mit`): <https://mit.example>",
        ),
        (
            {"id": "mit", "warning": "two files"},
            {"license": "CC0-1.0", "license_link": "https://cc0.example"},
            f"{AUTHORS}: https://cc0.example {AUTHORS_MARK}.\n\nThe base model's licence is mit (`mit`).\n\ntwo files",
        ),
        ({}, {"license": "CC0-1.0"}, f"{AUTHORS}."),
        ({}, {}, "Not measured: the base stage recorded nothing for it"),
        (
            {"id": "Llama3.2"},
            {"license": "CC0-1.0"},
            "Llama3.2 (`Llama3.2`), whose terms bind every model made from the base model.\n\n"
            f"The author states {AUTHORS} for what they added.\n\n"
            "Built with Llama. Llama 3.2 is licensed under the Llama 3.2 Community License, Copyright © Meta "
            "Platforms, Inc. All Rights Reserved.",
        ),
        (
            {"id": "gemma"},
            {},
            "gemma (`gemma`), inherited from the base model.\n\nGemma is provided under and subject to the Gemma Terms "
            "of Use found at ai.google.dev/gemma/terms.",
        ),
    ],
)
def test_the_licence_in_words(run, record, author, text):
    assert license_text(with_license(run, record, **author)) == text


@pytest.mark.parametrize(
    ("record", "author", "keys"),
    [
        ({}, {}, {}),
        ({"id": "MIT"}, {}, {"license": "mit"}),
        (
            {"id": " My Licence (v. 2)! ", "files": ["LICENSE.txt", "NOTICE"]},
            {},
            {"license": "other", "license_name": "my-licence-v.-2", "license_link": "LICENSE.txt"},
        ),
        ({"id": "mit"}, {"license": "Ours"}, {"license": "other", "license_name": "ours"}),
    ],
)
def test_the_licence_for_hubs(run, record, author, keys):
    assert license_metadata(with_license(run, record, **author)) == keys
