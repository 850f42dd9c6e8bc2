"""The two-minute card: its length, the marks on the author's words, and its sentences about numbers."""

import json
import re

import pytest
import yaml

from fake_measurements import records
from fake_run import AUTHOR, STAMPED, write_card, write_run
from tinsmith.card import render
from tinsmith.card.compact_yaml import compact_yaml
from tinsmith.card.evidence import read_evidence
from tinsmith.card.facts import AUTHORS_MARK, Facts
from tinsmith.card.grades import grade
from tinsmith.card.pictures import drawings
from tinsmith.card.summary import hallucination, quantization_sentence, tuning_sentence
from tinsmith.core import measure
from tinsmith.core.config import CardConfig
from tinsmith.core.measure import Measurement
from tinsmith.core.run_dir import read_json, tree_sha256s, write_json

MOST_LINES = 200
CLAIM = "Answers 94.7 % (n=500)"
LISTS = ("intended_uses", "out_of_scope_uses", "benefits", "risks", "mitigations")


def lines_of(run, monkeypatch, author=None) -> list[str]:
    return (write_card(run, monkeypatch, author) / "README.md").read_text().splitlines()


def add(run, *measurements: Measurement) -> None:
    """Measure more in a finished stage."""
    for m in measurements:
        stage = m.id.split(".")[0]
        stamped = {"stage": stage, "fingerprint": f"print-{stage}", "environment": "env1"}
        measure.append(run.measurements, [Measurement(**{**_fields(m), **stamped})])


def _fields(m: Measurement) -> dict:
    return {name: getattr(m, name) for name in Measurement.__slots__}


def facts_of(run, *measurements: Measurement) -> Facts:
    add(run, *measurements)
    return Facts(read_evidence(run), CardConfig())


@pytest.mark.parametrize("count", range(len(STAMPED) + 1))
def test_it_is_short_whatever_has_finished(tmp_path, monkeypatch, count):
    assert len(lines_of(write_run(tmp_path / "tea-bot", STAMPED[:count]), monkeypatch)) <= MOST_LINES


def test_it_is_short_whatever_the_author_and_the_devices_add(tmp_path, monkeypatch):
    author = {**AUTHOR, **{key: [f"{key} {number}" for number in range(9)] for key in LISTS}}
    run = write_run(tmp_path / "tea-bot", STAMPED, author)
    device = records()["remote/1.json"]
    device["backends"]["wasm"] = {"device": "wasm", "not_measured": "it was closed"}
    for number in range(2, 9):
        write_json(run.stage("remote") / f"{number}.json", device)
    write_json(run.stamp("remote"), {**read_json(run.stamp("remote")), "outputs": tree_sha256s(run.stage("remote"))})
    lines = lines_of(run, monkeypatch, author)
    assert len(lines) <= MOST_LINES
    assert sum("intended_uses" in line for line in lines) >= 1
    assert sum("more in the [evidence](EVIDENCE.md#the-authors-words)" in line for line in lines) == len(LISTS)
    evidence = (run.stage("card") / "EVIDENCE.md").read_text()
    assert all(f"- {key} {number} {AUTHORS_MARK}" in evidence for key in LISTS for number in range(9))


def test_a_card_that_can_only_be_too_long_shows_one_of_each_of_the_authors_texts(full_run, monkeypatch):
    author = CardConfig(**{**AUTHOR, **{key: [f"{key} {number}" for number in range(3)] for key in LISTS}})
    monkeypatch.setattr(render, "MAX_LINES", 9)
    page = render.render(read_evidence(full_run), author, "tea-bot", {}).texts["README.md"]
    for key in LISTS:
        assert f"- {key} 0 {AUTHORS_MARK}\n- 2 more in the [evidence]" in page
        assert f"{key} 1" not in page


def test_what_the_author_declares_is_marked_wherever_it_is_printed(tmp_path, monkeypatch):
    keys = ("author", "email", "github", "domain", "knowledge_cutoff", "version")
    author = {**dict.fromkeys(keys, CLAIM), **{key: [CLAIM] for key in LISTS}}
    run = write_run(tmp_path / "tea-bot", author=author)
    report = {**read_json(run.stage("data") / "report.json"), "source": CLAIM, "license": CLAIM}
    write_json(run.stage("data") / "report.json", report)
    write_card(run, monkeypatch, author)
    for name in ("README.md", "EVIDENCE.md"):
        page = (run.stage("card") / name).read_text()
        body = re.sub(r"```bibtex.*?```", "", page, flags=re.DOTALL)
        assert body.count(CLAIM) >= 5
        assert body.count(CLAIM) == body.count(f"{CLAIM} {AUTHORS_MARK}"), name
    assert f"{AUTHORS_MARK} marks what the author declared and nobody checked" in page_of(run)


def page_of(run) -> str:
    return (run.stage("card") / "README.md").read_text()


def test_it_speaks_in_words_not_in_ids(full_run):
    body = page_of(full_run).split("\n---\n")[1]
    ids = {json.loads(line)["id"] for line in full_run.measurements.read_text().splitlines()}
    assert len(ids) > 80
    assert [id for id in ids if id in body] == []


def test_every_picture_is_beside_the_card_and_has_a_text(full_run):
    folder = full_run.stage("card")
    page = page_of(full_run)
    pictures = re.findall(r"^!\[(.*)\]\((\w+\.png)\)$", page, flags=re.MULTILINE)
    assert [name for _, name in pictures] == ["answers.png", "loss.png", "perplexity.png", "speed.png", "size.png"]
    for text, name in pictures:
        assert len(text) > 30
        assert (folder / name).read_bytes().startswith(b"\x89PNG")
    assert "known questions 65 % right, 15 % wrong, 20 % not answered" in pictures[0][0]


def test_a_picture_shows_the_same_bytes_for_the_same_numbers_and_others_for_others(tmp_path):
    run = write_run(tmp_path / "tea-bot")
    first = {name: drawing.png() for name, drawing in drawings(Facts(read_evidence(run), CardConfig())).items()}
    again = {name: drawing.png() for name, drawing in drawings(Facts(read_evidence(run), CardConfig())).items()}
    assert first == again
    text = run.measurements.read_text()
    run.measurements.write_text(
        text.replace('"answers.known.right_shown", "value": 0.65', '"answers.known.right_shown", "value": 0.6')
    )
    changed = {name: drawing.png() for name, drawing in drawings(Facts(read_evidence(run), CardConfig())).items()}
    assert {name for name in first if first[name] != changed[name]} == {"answers.png"}


RATIO = "evaluate.ratio.test.int4_over_tuned"


@pytest.mark.parametrize(
    ("value", "low", "high", "expected"),
    [
        (
            1.0121,
            1.0051,
            1.0189,
            "Makes the test text 1.2 % (0.5 to 1.9 %) harder to predict than the unquantized model",
        ),
        (0.98, 0.97, 0.99, "Makes the test text 2 % (1 to 3 %) easier to predict than the unquantized model"),
        (
            1.001,
            0.995,
            1.007,
            "Makes the test text neither clearly harder nor clearly easier (1.0010 (0.9950 to 1.0070) times the "
            "perplexity) to predict than the unquantized model",
        ),
    ],
)
def test_what_int4_costs_in_words(tmp_path, value, low, high, expected):
    run = write_run(tmp_path / "tea-bot", STAMPED[: STAMPED.index("evaluate")])
    write_json(
        run.stamp("evaluate"), {**read_json(run.stamp("export")), "fingerprint": "print-evaluate", "outputs": {}}
    )
    m = Measurement(RATIO, value, "ratio", 50, "conversations", "a", {"ci95_low": low, "ci95_high": high})
    assert quantization_sentence(facts_of(run, m)) == expected


def test_what_was_not_measured_is_said_and_not_guessed(tmp_path):
    facts = Facts(read_evidence(write_run(tmp_path / "tea-bot", ("base",))), CardConfig())
    assert quantization_sentence(facts).startswith("Not measured: the evaluate stage")
    assert tuning_sentence(facts) == ""
    assert hallucination(facts).startswith("How often is not known. Not measured: the evaluate stage")


def test_wrong_numbers_are_said_before_what_the_model_knows(tmp_path):
    run = write_run(tmp_path / "tea-bot")
    facts = Facts(read_evidence(run), CardConfig())
    del facts.evidence.measurements["evaluate.facts.wrong_numbers.int4"]
    assert hallucination(facts).startswith("The model alone answered 1")
    spread = {"ci95_low": 0.3, "ci95_high": 0.5}
    m = Measurement("evaluate.facts.wrong_numbers.int4", 0.4, "fraction", 80, "numbers", "a", spread)
    text = "Of the numbers that the model alone gives, 40 % (30 to 50 %) are wrong"
    assert hallucination(facts_of(run, m)) == text


def grades(source: str, subject: str, value: float) -> Measurement:
    spread = {"ci95_low": value - 0.6, "ci95_high": value + 0.6}
    return Measurement(f"{source}.accuracy.{subject}", value, "out of 10", 20, "items", "a", spread)


def finish(run, stage, record):
    write_json(run.stage(stage) / f"{stage}.json", record)
    stamp = {"fingerprint": f"print-{stage}", "finished_at": "2026-11-22T10:30:00+00:00", "measurements": 99}
    write_json(run.stamp(stage), {**stamp, "outputs": tree_sha256s(run.stage(stage))})


def test_grades_are_peoples_else_a_corrected_judges_else_how_to_get_one(tmp_path):
    run = write_run(tmp_path / "tea-bot")
    not_assessed = "Not assessed: type `tinsmith review runs/tea-bot` and let people judge"
    assert grade(Facts(read_evidence(run), CardConfig()), "accuracy") == not_assessed
    finish(run, "judge", {})
    assert grade(facts_of(run, grades("judge", "int4", 9.0)), "accuracy") == not_assessed, "nobody checked the judge"
    finish(run, "judge", {"model": "judge-1", "corrected_by_people": {"accuracy": ["int4"]}})
    text = "9.00 / 10 (8.40 to 9.60; 20 items, judged by the language model judge-1, corrected by people)"
    assert grade(Facts(read_evidence(run), CardConfig()), "accuracy") == text
    finish(run, "review", {"raters": [{"is_author": True}]})
    facts = facts_of(run, grades("review", "int4", 4.0), grades("review", "page", 7.0))
    assert grade(facts, "accuracy") == "7.00 / 10 (6.40 to 7.60; 20 items, judged by 1 person, the author)"
    assert grade(facts, "quality") == not_assessed
    for raters, text in (
        ([True, False], "judged by 2 people, one of them the author)"),
        ([False, False, False], "judged by 3 people)"),
        ([False], "judged by 1 person)"),
    ):
        finish(run, "review", {"raters": [{"is_author": is_author} for is_author in raters]})
        assert grade(Facts(read_evidence(run), CardConfig()), "accuracy").endswith(text)


def test_front_matter_on_few_lines_means_the_same():
    tree = {
        "license": "apache-2.0",
        "language": "no",
        "tags": ["onnx", "int4"],
        "model-index": [
            {"name": "Tea: é", "results": [{"task": {"type": "a"}, "metrics": [{"type": "b", "args": {"id": 1.5}}]}]}
        ],
    }
    text = compact_yaml(yaml.safe_dump(tree, sort_keys=False))
    assert yaml.safe_load(text) == tree
    assert (
        text.splitlines()[-1]
        == "- {name: 'Tea: é', results: [{task: {type: a}, metrics: [{type: b, args: {id: 1.5}}]}]}"
    )
    assert "tags: [onnx, int4]" in text
    assert compact_yaml("") == ""
