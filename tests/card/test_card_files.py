"""What holds for every file of the card: it follows from the run alone, names nobody, is watched and is published."""

import getpass
import re
import shutil
import socket
from pathlib import Path

import pytest

from fake_run import AUTHOR
from stage_runs import run_stage
from tinsmith.app import Names, build_app
from tinsmith.card.evidence import read_evidence
from tinsmith.card.files import card_files
from tinsmith.card.verify import check_card
from tinsmith.core.config import AnswersConfig, AppConfig, CardConfig
from tinsmith.core.run_dir import RunDir, read_json, tree_sha256s, write_json

FOR_PROGRAMS = {"card.json", "card.schema.json", "bom.cdx.json", "croissant.json", "CITATION.cff"}


def rendered(run: RunDir) -> dict[str, bytes]:
    return card_files(read_evidence(run), CardConfig(**AUTHOR), "tea-bot", {})


def test_the_same_run_elsewhere_gives_the_same_bytes(full_run, tmp_path):
    shutil.copytree(full_run.root, tmp_path / "elsewhere")
    assert rendered(RunDir(tmp_path / "elsewhere")) == rendered(full_run)
    assert set(rendered(full_run)) >= FOR_PROGRAMS


def test_no_file_names_a_folder_a_person_or_a_machine(full_run, tmp_path):
    user = getpass.getuser()
    names = [str(tmp_path), f"{Path.home()}/", f"/{user}/", f"{user}@"]
    patterns = [*map(re.escape, names), rf"\b{re.escape(socket.gethostname())}\b"]
    texts = {file: content.decode() for file, content in rendered(full_run).items() if not file.endswith(".png")}
    for file, text in texts.items():
        assert [pattern for pattern in patterns if re.search(pattern, text)] == [], file
    assert set(texts) >= FOR_PROGRAMS


@pytest.mark.parametrize("name", sorted(FOR_PROGRAMS))
def test_a_change_of_any_file_is_found_even_with_a_new_stamp(full_run, name):
    path = full_run.stage("card") / name
    path.write_bytes(path.read_bytes().replace(b"1", b"2", 1))
    stamp = read_json(full_run.stamp("card"))
    write_json(full_run.stamp("card"), {**stamp, "outputs": tree_sha256s(full_run.stage("card"))})
    assert any(problem.startswith(f"card/{name}:") for problem in check_card(full_run))
    path.unlink()
    write_json(full_run.stamp("card"), {**stamp, "outputs": tree_sha256s(full_run.stage("card"))})
    assert any(problem.startswith(f"card/{name}:") for problem in check_card(full_run))


def test_they_lie_beside_the_published_model(full_run):
    folders = map(full_run.stage, ("data", "knowledge", "export", "card", "app"))
    run_stage(build_app, AppConfig(), AnswersConfig(), "", *folders, Names("Tea", "Tea"))
    published = full_run.stage("app") / "model"
    for name in FOR_PROGRAMS:
        assert (published / name).read_bytes() == (full_run.stage("card") / name).read_bytes()
