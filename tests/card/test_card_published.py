"""A published folder is checked by itself: numbers, pages, pictures and files, and no private text is in it."""

import hashlib
import json
import re
import shutil
from pathlib import Path

import pytest

from fake_run import write_run
from finished_run import copy_of_finished_run
from tinsmith.card.evidence import read_evidence
from tinsmith.card.published import FOLDER, PRIVATE, evidence_files
from tinsmith.card.verify import check_card
from tinsmith.card.verify_published import check_published, derived_share, is_published
from tinsmith.core.config import AnswersConfig
from tinsmith.core.run_dir import RunDir, read_json, tree_sha256s, write_checksums, write_json


@pytest.fixture
def run(tmp_path, tmp_path_factory) -> RunDir:
    return copy_of_finished_run(tmp_path_factory, tmp_path / "tea-bot")


@pytest.fixture
def site(run, tmp_path) -> Path:
    """A copy of the site, far from its run."""
    return Path(shutil.copytree(run.stage("app"), tmp_path / "elsewhere"))


def change(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


def test_a_site_and_its_package_hold_alone(site, tmp_path):
    assert is_published(site) and check_published(site) == []
    package = Path(shutil.copytree(site / "model", tmp_path / "package"))
    assert is_published(package) and check_published(package) == []
    derived, total = derived_share(package)
    assert 0.7 * total < derived < total


def test_a_folder_without_a_card_is_not_published(tmp_path):
    assert not is_published(tmp_path)
    assert "no card.json" in check_published(tmp_path)[0]


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        ("card.html", "89.0 kB", "88.0 kB"),
        ("model/README.md", "89.0 kB", "88.0 kB"),
        ("model/card.json", '"value": 86500.0', '"value": 86400.0'),
        ("model/evidence/train/log.jsonl", '"nll": 2938.3', '"nll": 2937.3'),
        ("model/evidence/stamps/train.json", "10:30:00", "10:30:01"),
        ("model/evidence/measurements.jsonl", "134515008", "134515009"),
        ("model/onnx/model_int8.onnx", "other", "othar"),
    ],
)
def test_a_change_is_found_even_with_new_checksums(site, file, old, new):
    change(site / file, old, new)
    assert check_published(site)
    sums = site / "model" / FOLDER / "SHA256SUMS"
    sums.unlink()
    write_checksums(site / "model" / FOLDER)
    write_checksums(site)
    assert check_published(site)


def test_one_pixel_of_a_picture_is_found(site, run):
    for picture in (site / "loss.png", run.stage("app") / "model/loss.png"):
        content = bytearray(picture.read_bytes())
        content[-1] ^= 1
        picture.write_bytes(content)
    assert "app/loss.png: differs from the card's file" in check_published(site)
    assert "app/model/loss.png: differs from the card's file" in check_card(run)


def test_no_private_text_ships(site, run):
    """Texts of conversations, questions and replies stay in the run, except agreed examples, which the card prints."""
    agreed = {text for example in read_json(run.config)["card"]["examples"] for text in example.values()}
    agreed.add(AnswersConfig().unknown)  # the page says it
    printed = (site / "model/README.md").read_text() + (site / "model/EVIDENCE.md").read_text()
    shipped = {path: path.read_text() for path in (site / "model" / FOLDER).rglob("*.json*")}
    assert len(shipped) > 40
    for name in PRIVATE & {f"evaluate/{path.name}" for path in run.stage("evaluate").iterdir()}:
        for line in (run.root / name).read_text().splitlines():
            texts = [text for text in strings_in(json.loads(line)) if len(text.split()) > 3 and text not in agreed]
            texts = [text for text in texts if " ".join(text.split()) not in printed]
            for path, content in shipped.items():
                assert not [text for text in texts if json.dumps(text)[1:-1] in content], path
    outcomes = (site / "model" / FOLDER / "knowledge/answers_questions.jsonl").read_text()
    assert "Price of tea" not in outcomes and re.search(r'"id": "#[0-9a-f]{12}"', outcomes)


def test_ids_of_graded_replies_ship_as_hashes_that_stay_the_same(tmp_path):
    run = write_run(tmp_path / "tea-bot")
    grades = [{"item": "c0", "cluster": "Ada", "criterion": "quality", "grade": 7}] * 2
    (run.stage("review") / "grades.jsonl").write_text("".join(json.dumps(one) + "\n" for one in grades))
    write_json(run.stamp("review"), {**read_json(run.stamp("review")), "outputs": tree_sha256s(run.stage("review"))})
    shipped = evidence_files(read_evidence(run))["evidence/review/grades.jsonl"]
    first, second = map(json.loads, shipped.splitlines())
    assert (
        first
        == second
        == {
            "item": f"#{hashlib.sha256(b'c0').hexdigest()[:12]}",
            "cluster": f"#{hashlib.sha256(b'Ada').hexdigest()[:12]}",
            "criterion": "quality",
            "grade": 7,
        }
    )
    (run.stage("review") / "grades.jsonl").write_bytes(shipped)
    assert evidence_files(read_evidence(run))["evidence/review/grades.jsonl"] == shipped


def strings_in(value) -> list[str]:
    if isinstance(value, str):
        return [value]
    if isinstance(value, dict):
        value = list(value.values())
    return [text for one in value for text in strings_in(one)] if isinstance(value, list) else []
