"""Each check below `check_card` and `check_published` names the file that is wrong."""

import hashlib
import json
import shutil
from pathlib import Path

import pytest

from fake_run import STAMPED, write_run
from finished_run import copy_of_finished_run
from tinsmith.card.evidence import read_evidence
from tinsmith.card.verify import check_card
from tinsmith.card.verify_answers import wrong_judgements
from tinsmith.card.verify_numbers import wrong_numbers
from tinsmith.card.verify_published import check_published
from tinsmith.card.verify_raw import wrong_raw_files
from tinsmith.card.verify_site import changed_copies, wrong_checksums
from tinsmith.core.run_dir import RunDir, read_json, tree_sha256s, write_checksums, write_json
from tinsmith.derive.files import Files


@pytest.fixture(scope="module")
def base(tmp_path_factory) -> RunDir:
    """Not to be written to."""
    return write_run(tmp_path_factory.mktemp("parts") / "tea-bot", STAMPED[: STAMPED.index("bench")])


@pytest.fixture
def run(base, tmp_path) -> RunDir:
    shutil.copytree(base.root, tmp_path / "tea-bot")
    return RunDir(tmp_path / "tea-bot")


def raw_problems(run: RunDir) -> list[str]:
    return list(wrong_raw_files(run, Files(run.stage, 17)))


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


@pytest.mark.parametrize(
    ("stage", "file", "folder"),
    [
        ("knowledge", "answers/answers.json", "answers"),
        ("export", "package/config.json", "package"),
    ],
)
def test_an_inventory_describes_the_files_that_are_there(run, stage, file, folder):
    assert raw_problems(run) == []
    path = run.stage(stage) / file
    path.write_text(path.read_text() + " ")
    assert raw_problems(run) == [
        f"{stage}/inventory.json: not the sizes and shapes of the files in {stage}/{folder}",
    ]


@pytest.mark.parametrize(
    ("file", "old", "new", "problems"),
    [
        (
            "report.json",
            '"train": 210',
            '"train": 209',
            ["data/report.json: splits of other sizes than in data/tokens.jsonl"],
        ),
        ("report.json", '"count": 24', '"count": 25', ["data/report.json: other categories than in data/tokens.jsonl"]),
        ("report.json", '"cat_07"', '"cat_7"', ["data/report.json: other categories than in data/tokens.jsonl"]),
        ("test.jsonl", '"cat_00"', '"cat_01"', ["data/tokens.jsonl: other conversations than in data/test.jsonl"]),
        (
            "tokens.jsonl",
            '"split": "train", "category": "cat_11"',
            '"split": "val", "category": "cat_11"',
            ["data/report.json: splits of other sizes than in data/tokens.jsonl"],
        ),
    ],
)
def test_counts_of_conversations_follow_from_the_data(run, file, old, new, problems):
    edit(run.stage("data") / file, old, new)
    assert raw_problems(run) == problems


@pytest.mark.parametrize("name", ["tokens.jsonl", "report.json"])
def test_counts_are_not_compared_without_both_files(run, name):
    (run.stage("data") / name).unlink()
    (run.stage("data") / "test.jsonl").write_text("")
    assert raw_problems(run) == []


def test_an_outcome_with_a_passage_of_another_run_is_named(run):
    path = run.stage("knowledge") / "answers_questions.jsonl"
    lines = path.read_text().splitlines()
    lines[1] = json.dumps({**json.loads(lines[1]), "passages": ["p99"], "right": [False]})
    path.write_text("\n".join(lines) + "\n")
    (problem,) = wrong_judgements(read_evidence(run))
    assert problem == "knowledge/answers_questions.jsonl:2: the passage 'p99' is not one of the run's"


def test_without_passages_only_the_models_answers_are_judged_again(run):
    del (evidence := read_evidence(run)).stamps["knowledge"]["outputs"]["answers/answers.json"]
    assert list(wrong_judgements(evidence)) == []
    edit(run.stage("evaluate") / "closed_book.jsonl", '"right": true', '"right": false')
    (problem,) = wrong_judgements(evidence)
    assert problem.endswith("the model's answer was judged not right, but is right")


def numbers(run: RunDir, stages=("base",), left_out=(), **changed) -> list[str]:
    """Problems after the values in `changed` have replaced those of one measurement; None takes it away."""
    evidence = read_evidence(run)
    measured = evidence.measurements
    for id, fields in changed.items():
        measured[id] = measured[id].__class__(
            **{name: getattr(measured[id], name) for name in measured[id].__slots__} | fields
        )
    return list(wrong_numbers(measured, stages, Files(run.stage, 17), left_out))


@pytest.mark.parametrize(
    ("fields", "says", "should_say"),
    [
        ({"value": 5.0}, "5.0", "134515008"),
        ({"unit": "bytes"}, "unit 'bytes'", "'count'"),
        ({"count": 2}, "count 2", "1"),
        ({"spread": {"min": 1.0}}, "spread {'min': 1.0}", "{}"),
        ({"method": "guessed"}, "method 'guessed'", "'"),
        ({"gate": {"op": "<=", "bound": 1}}, "gate {'op': '<=', 'bound': 1}", "{}"),
    ],
)
def test_every_part_of_a_number_is_compared(run, fields, says, should_say):
    assert numbers(run) == []
    (problem,) = numbers(run, **{"base.parameters": fields})
    assert problem.startswith(f"base.parameters: recorded {says}, but base/inventory.json gives {should_say}")


def test_the_last_digits_of_a_sum_may_differ_and_no_more(run):
    losses = "evaluate.loss.test.tuned"
    value = read_evidence(run).measurements[losses].value
    spread = read_evidence(run).measurements[losses].spread
    nearly = {name: bound * (1 + 5e-13) for name, bound in spread.items()}
    assert numbers(run, ("evaluate",), **{losses: {"value": value * (1 + 5e-13), "spread": nearly}}) == []
    assert len(numbers(run, ("evaluate",), **{losses: {"value": value * (1 + 5e-12)}})) == 1
    assert len(numbers(run, ("evaluate",), **{losses: {"spread": {**spread, "ci95_low": 0.0}}})) == 1


def test_numbers_of_files_that_are_left_out_are_not_asked_for(run):
    (run.stage("base") / "inventory.json").unlink()
    assert [problem.split(":")[0] for problem in numbers(run)] == ["base.files_bytes", "base.parameters"]
    assert numbers(run, left_out=("base/inventory.json",)) == []


def test_checksums_name_what_is_missing_outside_or_changed(tmp_path):
    folder = tmp_path / "site"
    folder.mkdir()
    assert list(wrong_checksums(folder)) == ["SHA256SUMS: missing"]
    (folder / "a.txt").write_text("tea")
    (tmp_path / "secret.txt").write_text("tea")
    digest = hashlib.sha256(b"tea").hexdigest()
    sums = [f"{digest}  a.txt", f"{digest}  gone.txt", f"{digest}  ../secret.txt", f"{'0' * 64}  ./a.txt"]
    (folder / "SHA256SUMS").write_text("\n".join(sums) + "\n")
    assert list(wrong_checksums(folder)) == [
        "gone.txt: listed in SHA256SUMS but missing",
        "../secret.txt: listed in SHA256SUMS but missing",
        "./a.txt: differs from SHA256SUMS",
    ]
    (folder / "sub").mkdir()
    (folder / "sub/SUMS").write_text(f"{digest}  ../a.txt\n")
    assert list(wrong_checksums(folder, "sub/SUMS")) == []


@pytest.fixture
def finished(tmp_path, tmp_path_factory) -> RunDir:
    return copy_of_finished_run(tmp_path_factory, tmp_path / "tea-bot")


def test_a_copy_of_the_card_that_is_missing_or_other_is_named(finished):
    card, site = finished.stage("card"), finished.stage("app")
    assert list(changed_copies(card, site)) == []
    (site / "model/bom.cdx.json").unlink()
    (site / "loss.png").write_bytes(b"x")
    (site / "card.html").unlink()
    assert list(changed_copies(card, site)) == [
        "app/model/bom.cdx.json: missing, though the card has it",
        "app/loss.png: differs from the card's file",
        "app/card.html: not the page of card/README.md and card/EVIDENCE.md",
    ]


def test_a_published_file_of_another_size_is_named_even_with_new_checksums(finished):
    site = finished.stage("app")
    path = site / "model/config.json"
    path.write_text(path.read_text() + " ")
    write_checksums(site / "model")
    write_checksums(site)
    assert "config.json: not of the size in evidence/export/inventory.json" in check_published(site)
    path.unlink()
    assert "config.json: not of the size in evidence/export/inventory.json" in check_published(site)


def test_published_evidence_that_cannot_be_read_is_one_more_problem(finished):
    site = finished.stage("app")
    (site / "model/evidence/export/inventory.json").write_text("{")
    *_, last = check_published(site)
    assert last.startswith(f"{site}/model/evidence/export/inventory.json: ")


@pytest.mark.parametrize(
    ("name", "content", "problem"),
    [
        ("card.json", "{}", "{card}/card.json: no 'measurement_log'"),
        ("card.json", '{"measurement_log": {"bytes": "9"}}', "{card}/card.json: no 'measurement_log'"),
        ("card.json", '{"measurement_log": 9}', "{card}/card.json: no 'measurement_log'"),
        ("snippets.json", '[{"form": "hub"}]', "card/snippets.json: not a record of runs ("),
    ],
)
def test_a_broken_record_of_the_card_is_named(full_run, name, content, problem):
    (full_run.stage("card") / name).write_text(content)
    write_json(
        full_run.stamp("card"),
        {**read_json(full_run.stamp("card")), "outputs": tree_sha256s(full_run.stage("card"))},
    )
    *_, last = check_card(full_run)
    assert last.startswith(problem.format(card=full_run.stage("card")))
