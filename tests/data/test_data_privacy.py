"""The data stage names, masks or leaves out personal data, whatever the order of the files, and says so."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from stage_runs import run_stage
from tinsmith.core.config import DataConfig
from tinsmith.data.advice import advice
from tinsmith.data.stage import check_data, prepare_data
from tinsmith.model.private import find_private

EMAIL, PHONE, SHOP = "ada@home.example", "070-174 06 05", "info@shop.example"
TEAS = "sencha gyokuro hojicha genmaicha oolong assam darjeeling keemun lapsang matcha rooibos puerh".split()


@pytest.fixture
def base_dir(tiny_llama, tmp_path):
    shutil.copytree(tiny_llama, tmp_path / "base" / "model")
    return tmp_path / "base"


@pytest.fixture
def source(tmp_path):
    """Two files of twelve conversations each, of which one in each has private values."""
    folder = tmp_path / "chats"
    folder.mkdir()
    for name, private in (("a", f"Write to {EMAIL}, I am {EMAIL}."), ("b", f"Call {PHONE} or {EMAIL}.")):
        questions = [private, *(f"Is {name} {tea} a green tea or a black one?" for tea in TEAS[1:])]
        lines = [
            {"question": one, "answer": f"Ask {SHOP} about {tea}."} for one, tea in zip(questions, TEAS, strict=True)
        ]
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return folder


def run(source, base_dir, tmp_path, name="data", **settings):
    out = tmp_path / name
    out.mkdir()
    config = DataConfig(path=str(source), privacy_allow=["*@shop.example"], **settings)
    result = run_stage(prepare_data, config, base_dir, out)
    texts = {split: (out / f"{split}.jsonl").read_text() for split in ("train", "val", "test")}
    return out, result, "".join(texts.values())


def changes(out):
    lines = [json.loads(line) for line in (out / "changes.jsonl").read_text().splitlines()]
    private = ("an e-mail address", "a phone number")
    return [(one["what"], one["file"], one["reason"], one["detail"]) for one in lines if one["reason"] in private]


def test_warn_keeps_every_byte_and_names_each_place(source, base_dir, tmp_path):
    out, result, texts = run(source, base_dir, tmp_path)
    assert texts.count(EMAIL) == 3 and PHONE in texts and texts.count(SHOP) == 24
    assert changes(out) == [
        ("flagged", "a.jsonl", "an e-mail address", "; ".join(["message 1: ad...le (16 characters)"] * 2)),
        ("flagged", "b.jsonl", "a phone number", "message 1: 07...05 (13 characters)"),
        ("flagged", "b.jsonl", "an e-mail address", "message 1: ad...le (16 characters)"),
    ]
    warning = result.summary[-1]
    assert warning.startswith("warning: personal data or secrets stay in the data")
    assert warning.endswith("an e-mail address (3 places), a phone number (1 places)")
    numbers = {m.id: (m.value, m.count) for m in result.measurements}
    assert numbers["data.private.email"] == (1, 3) and numbers["data.private.phone"] == (1, 1)


def test_mask_leaves_no_value_anywhere_in_the_stage(source, base_dir, tmp_path):
    out, result, texts = run(source, base_dir, tmp_path, privacy="mask")
    everything = "".join(path.read_text() for path in out.iterdir())
    assert EMAIL not in everything and PHONE not in everything and texts.count(SHOP) == 24
    masks = {
        item
        for line in texts.splitlines()
        for item in json.loads(line)["messages"][0]["content"].split()
        if "[" in item
    }
    assert {mask[1:6] for mask in masks} == {"EMAIL", "PHONE"} and len({mask.strip(",.") for mask in masks}) == 2
    assert {what for what, *_ in changes(out)} == {"masked"}
    assert len(json.loads((out / "hidden.json").read_text())["hidden"]) == 2
    assert result.summary[-1].startswith("personal data and secrets masked: an e-mail address (3 places)")


def test_drop_leaves_the_records_out_and_is_no_reason_to_stop(source, base_dir, tmp_path):
    out, _, texts = run(source, base_dir, tmp_path, privacy="drop", max_dropped=0.0)
    assert len(texts.splitlines()) == 22 and not any(
        item.value != SHOP for line in texts.splitlines() for item in find_private(line)
    )
    report = json.loads((out / "report.json").read_text())
    steps = {step["name"]: (step["before"], step["after"], step["note"]) for step in report["steps"]}
    assert steps["privacy"] == (24, 22, "personal data or secrets: 4 places in 2 conversations, left out")
    assert report["records"]["dropped"] == 2
    assert report["private"] == {"email": {"places": 3, "values": 1}, "phone": {"places": 1, "values": 1}}


def test_the_owners_system_prompt_is_public(source, base_dir, tmp_path):
    prompt = f"You are the shop of Ada, {EMAIL}."
    _, _, texts = run(source, base_dir, tmp_path, privacy="mask", system_prompt=prompt)
    assert texts.count(EMAIL) == 24 + 3 and PHONE not in texts


def test_masks_do_not_depend_on_names_and_order_of_files(source, base_dir, tmp_path):
    first = run(source, base_dir, tmp_path, "first", privacy="mask")[2]
    (source / "a.jsonl").rename(source / "z.jsonl")
    again = run(source, base_dir, tmp_path, "again", privacy="mask")[2]
    messages = [
        sorted(json.dumps(json.loads(line)["messages"]) for line in texts.splitlines()) for texts in (first, again)
    ]
    assert messages[0] == messages[1]


def test_check_says_it_before_everything_else(source):
    report = check_data(DataConfig(path=str(source), privacy_allow=["*@shop.example"]), seed=0).as_json()
    texts = [one.text for one in advice(report)[:2]]
    assert sorted(texts) == [
        "In 1 conversation there is private data: a phone number, such as b.jsonl, line 1.",
        "In 2 conversations there is private data: an e-mail address, such as a.jsonl, line 1.",
    ]
    assert EMAIL not in json.dumps(report) and PHONE not in json.dumps(report)


def test_dropped_records_say_what_they_contain(source, base_dir, tmp_path):
    out, *_ = run(source, base_dir, tmp_path, privacy="drop")
    lines = [json.loads(line) for line in (out / "changes.jsonl").read_text().splitlines()]
    dropped = [(one["file"], one["reason"]) for one in lines if one["what"] == "dropped"]
    assert dropped == [
        ("a.jsonl", "contains an e-mail address"),
        ("b.jsonl", "contains a phone number"),
        ("b.jsonl", "contains an e-mail address"),
    ]


def test_the_script_of_the_docs_masks_names_with_an_analyzer(tmp_path):
    """With a stand-in for Presidio, which has its signature and finds two overlapping names and a public one."""
    page = (Path(__file__).parents[2] / "docs/privacy.md").read_text(encoding="utf-8")
    (script,) = re.findall("```python\n(.*?)```", page, re.DOTALL)
    (tmp_path / "mask_names.py").write_text(script)
    (tmp_path / "presidio_analyzer.py").write_text(
        "import re\n"
        "from types import SimpleNamespace\n"
        "class AnalyzerEngine:\n"
        "    def analyze(self, text, language, entities):\n"
        "        assert language == 'en' and 'PERSON' in entities\n"
        "        for kind, name in (('PERSON', 'Ada Berg'), ('LOCATION', 'Berg'), ('LOCATION', 'Zaragoza')):\n"
        "            for match in re.finditer(name, text):\n"
        "                yield SimpleNamespace(start=match.start(), end=match.end(), entity_type=kind)\n"
    )
    record = {
        "id": "Ada Berg",
        "messages": [
            {"role": "user", "content": "I am Ada Berg, from Zaragoza. Ask Ada Berg."},
            {"role": "assistant", "content": "Hello!"},
        ],
    }
    (tmp_path / "chats.jsonl").write_text(json.dumps(record) + "\n")
    done = subprocess.run(
        [sys.executable, "mask_names.py", "chats.jsonl", "masked.jsonl"],
        check=True,
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    masked = json.loads((tmp_path / "masked.jsonl").read_text())
    assert masked["id"] == "Ada Berg" and masked["messages"][1] == record["messages"][1]
    assert masked["messages"][0]["content"] == "I am [PERSON], from Zaragoza. Ask [PERSON]."
    assert done.stdout == "PERSON: Ada Berg\nPERSON: Ada Berg\n"
