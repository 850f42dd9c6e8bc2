"""What of each file ships beside the card: numbers as they are, ids as hashes, no texts."""

import hashlib
import json

import pytest

from fake_run import AUTHOR, STAMPED, write_run
from tinsmith.card.evidence import read_evidence
from tinsmith.card.files import card_files
from tinsmith.core.run_dir import read_json, tree_sha256s, write_json

AS_IS = """base/base.json base/inventory.json bench/wasm.json bench/webgpu.json data/tokens.jsonl evaluate/evaluate.json
    export/export.json export/float16_range.json export/inventory.json export/parity.json export/recipes.json
    knowledge/answers/answers.json knowledge/inventory.json merge/norms.json merge/positions.jsonl remote/1.json
    train/inventory.json train/log.jsonl train/train.json""".split()
NLL = [
    f"evaluate/nll/{split}.{model}.jsonl" for split in ("train", "val", "test") for model in ("base", "tuned", "int4")
]
NLL += ["evaluate/nll/test.int4_float16.jsonl", "evaluate/nll/test.int4_int8.jsonl"]
CHANGED = """bench/gates.json data/report.json data/test.jsonl evaluate/answers.jsonl evaluate/closed_book.jsonl
    evaluate/neighbours.jsonl evaluate/tokens.json knowledge/answers_questions.jsonl knowledge/knowledge.json""".split()


def hidden(id: str) -> str:
    return f"#{hashlib.sha256(id.encode()).hexdigest()[:12]}"


def values(content: bytes | str, name: str):
    return [json.loads(line) for line in content.splitlines()] if name.endswith(".jsonl") else json.loads(content)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """With something private in each file that may have it."""
    run = write_run(tmp_path_factory.mktemp("ships") / "tea-bot", author=AUTHOR)
    for name, more in {
        "data/report.json": {"contradictions": [{"one": "4 euros", "other": "5 euros"}], "secret": "x"},
        "knowledge/knowledge.json": {"unused": ["Letter to Ada.pdf"]},
        "evaluate/tokens.json": {"different": ["c1", "Ada"]},
        "bench/gates.json": {"token_differences": [{"conversation": "Ada", "text": "Hello"}]},
    }.items():
        write_json(run.root / name, read_json(run.root / name) | more)
    (run.stage("train") / "notes.json").write_text("{}")
    for stage in ("data", "knowledge", "evaluate", "bench", "train"):
        write_json(run.stamp(stage), read_json(run.stamp(stage)) | {"outputs": tree_sha256s(run.stage(stage))})
    return run


@pytest.fixture(scope="module")
def files(run) -> dict[str, bytes]:
    evidence = read_evidence(run)
    return card_files(evidence, evidence.config.card, "tea-bot", {})


@pytest.fixture(scope="module")
def shipped(files) -> dict[str, bytes]:
    return {name.removeprefix("evidence/"): content for name, content in files.items() if name.startswith("evidence/")}


@pytest.fixture
def original(run):
    return lambda name: values((run.root / name).read_text(), name)


def test_these_files_ship_and_no_others(shipped):
    own = {"SHA256SUMS", "config.json", "measurements.jsonl", "environments/env1.json"}
    assert set(shipped) == {*AS_IS, *NLL, *CHANGED, *own, *(f"stamps/{stage}.json" for stage in STAMPED)}


def test_records_of_numbers_ship_as_they_are(run, shipped, original):
    for name in AS_IS:
        assert values(shipped[name], name) == original(name), name
    for name in ("measurements.jsonl", "environments/env1.json", *(f"stamps/{stage}.json" for stage in STAMPED)):
        assert shipped[name] == (run.root / name).read_bytes(), name


def test_sums_of_losses_ship_without_the_ids_of_their_conversations(shipped, original):
    for name in NLL:
        assert values(shipped[name], name) == [{**line, "id": hidden(line["id"])} for line in original(name)], name


def test_of_the_data_only_counts_and_categories_ship(shipped, original):
    report, before = values(shipped["data/report.json"], ".json"), original("data/report.json")
    named = ("data", "categories", "splits", "steps", "records", "language", "source", "license")
    assert report == {key: before[key] for key in named} | {"contradictions": [{}]}
    assert values(shipped["data/test.jsonl"], ".jsonl") == [{"category": "cat_00"}] * 6
    knowledge = original("knowledge/knowledge.json")
    del knowledge["unused"]
    assert values(shipped["knowledge/knowledge.json"], ".json") == knowledge


def test_of_questions_only_what_was_right_ships(shipped, original):
    texts = {"question": "", "must_state": [], "must_not_state": [], "previous": [], "passages": []}
    name = "knowledge/answers_questions.jsonl"
    assert values(shipped[name], name) == [
        {**line, **texts, "id": hidden(line["id"] or line["question"])} for line in original(name)
    ]
    name = "evaluate/closed_book.jsonl"
    assert values(shipped[name], name) == [
        {
            "question": "",
            "id": hidden(line["id"]),
            "must_state": [],
            "right": line["right"],
            "page_right": line["page_right"],
        }
        for line in original(name)
    ]


def test_only_examples_that_the_owner_agreed_to_ship_with_their_texts(shipped, original):
    name = "evaluate/answers.jsonl"
    agreed = {(example["question"], example["reference"]) for example in AUTHOR["examples"]}
    assert values(shipped[name], name) == [
        {
            "question": line["question"],
            "reference": line["reference"],
            **{model: {"text": line[model]["text"]} for model in ("base", "tuned", "int4")},
        }
        if (line["question"], line["reference"]) in agreed
        else {"question": "(not published)", "reference": "(not published)"}
        for line in original(name)
    ]
    assert sum(line["question"] != "(not published)" for line in values(shipped[name], name)) == 2


def test_of_checks_only_the_results_ship(shipped, original):
    assert values(shipped["evaluate/tokens.json"], ".json") == {
        **original("evaluate/tokens.json"),
        "different": [hidden("c1"), hidden("Ada")],
    }
    assert values(shipped["evaluate/neighbours.jsonl"], ".jsonl") == [
        {"id": hidden(line["id"]), "close": line["close"]} for line in original("evaluate/neighbours.jsonl")
    ]
    gates = original("bench/gates.json")
    assert values(shipped["bench/gates.json"], ".json") == {
        **gates,
        "token_differences": [{}],
        "logits": [{"disagreement": one["disagreement"]} for one in gates["logits"]],
    }


def test_of_the_settings_those_ship_that_the_card_is_rendered_from(run, shipped):
    whole = read_evidence(run).config.model_dump(mode="json")
    answers = ("publish", "publish_questions", "mode", "max_wrong", "unknown")
    assert values(shipped["config.json"], ".json") == {
        **{section: whole[section] for section in ("name", "seed", "card", "evaluate")},
        "answers": {key: whole["answers"][key] for key in answers},
        "app": {"system_prompt": "You sell tea."},
    }


def test_the_checksums_are_of_the_evidence_and_of_the_files_above_it(files, shipped):
    listed = dict(reversed(line.split("  ")) for line in shipped["SHA256SUMS"].decode().splitlines())
    expected = {f"../{name}": content for name, content in files.items() if not name.startswith("evidence/")}
    expected |= {name: content for name, content in shipped.items() if name != "SHA256SUMS"}
    assert listed == {name: hashlib.sha256(content).hexdigest() for name, content in expected.items()}
    assert files["card.json"] and "../README.md" in listed
