"""What a card reads from a run folder: broken files are named, and texts without a number say why there is none."""

import json
import shutil

import pytest

from fake_run import write_run
from tinsmith.card.browsers import performance
from tinsmith.card.evidence import read_evidence, required
from tinsmith.card.facts import NOT_STATED, Facts, words
from tinsmith.card.sections import thin_categories
from tinsmith.card.tables import table_variables
from tinsmith.core.config import CardConfig, RunConfig
from tinsmith.core.errors import ArtifactError
from tinsmith.core.measure import Measurement
from tinsmith.core.run_dir import RunDir, read_json, write_json


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> RunDir:
    """Not to be written to."""
    return write_run(tmp_path_factory.mktemp("evidence") / "tea-bot")


@pytest.fixture
def run(whole, tmp_path) -> RunDir:
    shutil.copytree(whole.root, tmp_path / "tea-bot")
    return RunDir(tmp_path / "tea-bot")


def facts_of(run: RunDir, **author) -> Facts:
    return Facts(read_evidence(run), CardConfig(**author))


@pytest.mark.parametrize("key", ["fingerprint", "outputs", "measurements", "finished_at"])
def test_a_stamp_without_a_key_names_the_stage_to_run_again(run, key):
    stamp = read_json(run.stamp("train"))
    del stamp[key]
    write_json(run.stamp("train"), stamp)
    with pytest.raises(ArtifactError, match=f"train.json: no '{key}'") as caught:
        read_evidence(run)
    assert caught.value.hint == "Run again: tinsmith run --from train --force"


def test_a_folder_without_configuration_has_the_defaults_and_a_broken_one_is_named(run):
    run.config.unlink()
    assert read_evidence(run).config == RunConfig()
    write_json(run.config, {"seed": "many", "train": {"epochs": -1}})
    with pytest.raises(ArtifactError, match=r"config\.json: not valid for this version of tinsmith \(2 problem"):
        read_evidence(run)


def test_measurements_that_are_no_text_are_named_with_their_line(run):
    content = run.measurements.read_bytes()
    run.measurements.write_bytes(content[:7] + b"\xff" + content[8:])
    with pytest.raises(ArtifactError, match=r"measurements\.jsonl:1: not a measurement \('utf-8' codec"):
        read_evidence(run)


def test_a_log_is_read_as_an_earlier_card_saw_it(run):
    first = run.measurements.read_bytes().split(b"\n")[0] + b"\n"
    early, late = read_evidence(run, len(first)), read_evidence(run)
    assert list(early.measurements) == [json.loads(first)["id"]] and early.log_bytes == len(first)
    assert late.log_bytes == run.measurements.stat().st_size and early.log_sha256 != late.log_sha256


@pytest.mark.parametrize("change", ["broken", "gone"])
def test_lines_that_cannot_be_read_name_the_stage_to_run_again(run, change):
    path = run.stage("train") / "log.jsonl"
    evidence = read_evidence(run)
    assert len(evidence.lines("train", "log.jsonl")) == 85 and evidence.reads == {"train/log.jsonl"}
    path.write_text("{}\n\n{") if change == "broken" else path.unlink()
    with pytest.raises(ArtifactError, match=r"log\.jsonl: cannot be read") as caught:
        evidence.lines("train", "log.jsonl")
    assert caught.value.hint == "Run again: tinsmith run --from train"
    assert evidence.lines("train", "other.jsonl") == evidence.lines("nothing", "log.jsonl") == []


def test_only_files_at_the_top_of_a_stage_are_listed(run):
    evidence = read_evidence(run)
    assert evidence.files("bench", ".json") == ["gates.json", "wasm.json", "webgpu.json"]
    assert evidence.files("evaluate", ".jsonl") == [
        "answers.jsonl",
        "closed_book.jsonl",
        "neighbours.jsonl",
        "out_of_scope.jsonl",
    ]
    assert evidence.files("nothing", ".json") == []


def test_a_missing_key_names_the_record_and_the_stage():
    assert required({"a": 0}, "a", "data/report.json") == 0
    for item in ({}, [], None):
        with pytest.raises(ArtifactError, match=r"data/report\.json: no 'a'") as caught:
            required(item, "a", "data/report.json")
        assert caught.value.hint == "Run again: tinsmith run --from data --force"


def test_words_the_author_left_empty_are_not_stated(run):
    path = run.stage("data") / "report.json"
    write_json(path, {**read_json(path), "source": ""})
    assert facts_of(run).stated("data", "report.json", "source") == f"{NOT_STATED}: set `data.source`"


def test_lists_and_objects_are_printed_as_words():
    assert words({"a": 1, "b": "", "c": None, "d": ["x", True, {"e": False}]}) == "1, x, yes, no"


def test_withheld_answers_of_the_model_alone_have_their_reason(run):
    path = run.stage("evaluate") / "evaluate.json"
    write_json(path, {**read_json(path), "closed_book": {"withheld": "the judge accepted denials"}})
    facts = facts_of(run)
    del facts.evidence.measurements["evaluate.closed_book.right"]
    assert facts.value("evaluate.closed_book.right") == "Not measured: the judge accepted denials"


def test_a_run_without_test_conversations_has_no_thin_categories(tmp_path, whole):
    assert thin_categories(facts_of(write_run(tmp_path / "tea-bot", ("base",)))) == ""
    assert thin_categories(facts_of(whole)) == "11 of 12 categories have fewer than 5 test conversations"


def speed(id: str, value: float) -> Measurement:
    return Measurement(id, value, "tokens/s", 5, "runs", "a", stage="remote", raw="remote/1.json")


def test_webgpu_is_compared_on_another_device_if_this_machine_has_no_gpu(run):
    facts = facts_of(run)
    assert "no device ran it both ways" in performance(facts)
    path = run.stage("remote") / "1.json"
    record = read_json(path)
    record["backends"]["webgpu"] = {**record["backends"]["wasm"], "device": "webgpu", "engine": "own"}
    write_json(path, record)
    facts = facts_of(run)
    facts.evidence.measurements["remote.1.webgpu.decode_tokens_per_second"] = speed(
        "remote.1.webgpu.decode_tokens_per_second", 55.5
    )
    assert performance(facts) == (
        "Slower on devices without WebGPU support: on Pixel \\| \\*9\\* WebGPU decoded 55.5 tokens/s, "
        "WASM 21.5 tokens/s"
    )


def p_value(category: str, value: float) -> Measurement:
    id = f"evaluate.category_p_value.{category}"
    return Measurement(id, value, "probability", 15, "conversations", "a", stage="evaluate", raw="evaluate/x.jsonl")


def test_categories_that_differ_by_more_than_chance_are_named(whole):
    facts = facts_of(whole)
    measured = facts.evidence.measurements
    for id in [id for id in measured if id.startswith("evaluate.category_p_value.")]:
        del measured[id]
    assert table_variables(facts)["category_sentence"] == ""
    for number, value in enumerate((0.05, 0.5)):
        one = p_value(f"cat_{number:02}", value)
        measured[one.id] = one
    assert table_variables(facts)["category_sentence"] == (
        "No category differs from the others by more than chance explains (2 compared)."
    )
    measured["evaluate.category_p_value.cat_01"] = p_value("cat_01", 0.049)
    sentence = table_variables(facts)["category_sentence"]
    assert sentence.startswith("By more than chance explains, these of 2 categories differ from the others: cat_01 (")
    assert "p = 0.049" in sentence and "cat_00" not in sentence
