"""The description of the data is valid Croissant, and contains and promises nothing that is not published."""

import base64
import json
import subprocess
from pathlib import Path

import pytest

from fake_run import AUTHOR, write_run
from tinsmith.card.croissant import croissant, named_information
from tinsmith.card.evidence import read_evidence
from tinsmith.card.facts import Facts
from tinsmith.core.config import CardConfig
from tinsmith.core.run_dir import file_sha256, read_json, tree_sha256s, write_json, write_text

ROOT = Path(__file__).parents[2]
PYTHON = ROOT / ".venv-croissant/bin/python"
needs_mlcroissant = pytest.mark.skipif(not PYTHON.exists(), reason="`make croissant` installs mlcroissant")

MESSAGES = [
    {"role": "system", "content": "You sell tea."},
    {"role": "user", "content": "Is the secret price 4711?"},
    {"role": "assistant", "content": "Yes."},
]


@pytest.fixture
def run(tmp_path):
    """A run with all three splits on disk, as the data stage writes them."""
    run = write_run(tmp_path / "tea-bot", ("base", "data"))
    for split in ("train", "val", "test"):
        line = {"id": f"{split}-1", "category": "secret subject", "messages": MESSAGES, "source": {"file": "a"}}
        write_text(run.stage("data") / f"{split}.jsonl", json.dumps(line) + "\n")
    write_json(run.stamp("data"), {**read_json(run.stamp("data")), "outputs": tree_sha256s(run.stage("data"))})
    return run


def croissant_of(run, **author) -> bytes:
    return croissant(Facts(read_evidence(run), CardConfig(**author)), "tea-bot")


def check(content: bytes, tmp_path, *folders) -> dict:
    (tmp_path / "croissant.json").write_bytes(content)
    script = Path(__file__).parents[1] / "croissant_check.py"
    command = [PYTHON, script, tmp_path / "croissant.json", *folders]
    return json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


def test_every_split_has_hash_count_and_fields(run):
    tree = json.loads(croissant_of(run, **AUTHOR))
    assert tree["license"] == "https://spdx.org/licenses/CC-BY-4.0"
    assert (tree["name"], tree["inLanguage"]) == ("Conversations of Tea Shop", "en")
    assert tree["description"].startswith("222 conversations that Tea Shop was trained and evaluated with. Source, in")
    files = {one["@id"]: one for one in tree["distribution"]}
    assert {name: one["sha256"] for name, one in files.items()} == {
        f"{split}.jsonl": file_sha256(run.stage("data") / f"{split}.jsonl") for split in ("train", "val", "test")
    }
    assert files["train.jsonl"]["description"].startswith("210 conversations.")
    assert [field["name"] for field in tree["recordSet"][0]["field"]] == ["id", "category", "role", "content"]


def test_nothing_of_the_data_is_in_it_and_nothing_can_be_downloaded(run):
    content = croissant_of(run, **AUTHOR)
    assert b"4711" not in content and b"secret" not in content and b"You sell" not in content
    tree = json.loads(content)
    assert all(one["contentUrl"].startswith("ni:///sha-256;") for one in tree["distribution"])
    assert all("Not published" in one["description"] for one in tree["distribution"])


def test_the_name_is_the_hash(run):
    digest = named_information("53269057e12fe2b74ba07c892560a2d753877eb62ff44d5a19002530ed97ffe4").partition(";")[2]
    assert base64.urlsafe_b64decode(digest + "=").hex().startswith("53269057e12f")
    assert digest == "UyaQV-Ev4rdLoHyJJWCi11OHfrYv9E1aGQAlMO2X_-Q", "the example in RFC 6920, section 8.1"


def test_what_the_author_left_out_is_left_out(run):
    report = read_json(run.stage("data") / "report.json")
    write_json(run.stage("data") / "report.json", {**report, "source": "", "license": "", "language": ""})
    tree = json.loads(croissant_of(run))
    assert not {"license", "inLanguage", "url", "isBasedOn", "datePublished", "citeAs", "creator"} & set(tree)
    assert "Source" not in tree["description"]


def test_a_data_set_of_the_hub_is_named_with_its_commit_and_the_licence_it_gives(run):
    report = read_json(run.stage("data") / "report.json")
    address = f"https://huggingface.co/datasets/tea/prices/tree/{'0a' * 20}"
    hub = {"id": "tea/prices", "revision": "0a" * 20, "part": "", "license": "cc-by-4.0", "address": address}
    write_json(run.stage("data") / "report.json", {**report, "license": "", "hub": hub})
    tree = json.loads(croissant_of(run, **{**AUTHOR, "datasets": ["tea/prices", "tea/more"]}))
    assert tree["isBasedOn"] == [address, "https://huggingface.co/datasets/tea/more"]
    assert tree["license"] == "https://spdx.org/licenses/CC-BY-4.0"


def test_without_data_there_is_no_file(tmp_path):
    assert croissant_of(write_run(tmp_path / "tea-bot", ("base",))) is None


@needs_mlcroissant
@pytest.mark.parametrize("author", [{}, {**AUTHOR, "datasets": ["tea/prices"]}], ids=len)
def test_mlcroissant_finds_no_errors(run, tmp_path, author):
    result = check(croissant_of(run, **author), tmp_path)
    assert result["errors"] == []
    unknown = (
        "version",
        "datePublished",
        "citeAs",
    )  # recommended, but of data that is not published nobody states them
    assert all(warning.split('"')[1].endswith(unknown) for warning in result["warnings"]), result["warnings"]
    assert len(result["warnings"]) == 3


@needs_mlcroissant
def test_whoever_has_the_files_can_read_them_by_it(run, tmp_path):
    records = check(croissant_of(run), tmp_path, run.stage("data"))["records"]
    assert records["val"] == {
        "val/id": "val-1",
        "val/category": "secret subject",
        "val/role": ["system", "user", "assistant"],
        "val/content": [message["content"] for message in MESSAGES],
    }


@needs_mlcroissant
@pytest.mark.parametrize("break_it", ["hash", "source", "type", "version"])
def test_mlcroissant_refuses_what_is_wrong(run, tmp_path, break_it):
    tree = json.loads(croissant_of(run))
    if break_it == "hash":
        del tree["distribution"][0]["sha256"]
    elif break_it == "source":
        tree["recordSet"][0]["field"][0]["source"]["fileObject"]["@id"] = "other.jsonl"
    elif break_it == "type":
        tree["distribution"][0]["@type"] = "cr:File"
    else:
        tree["conformsTo"] = "http://mlcommons.org/croissant/9.9"
    assert check(json.dumps(tree).encode(), tmp_path)["errors"]
