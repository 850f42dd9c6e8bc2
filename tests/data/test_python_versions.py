"""Every supported Python writes the same bytes, whatever the seed of `hash`, for data in every format.

`make test-pythons` makes the environments of other versions; without them only this one is tested.
"""

import gzip
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import prepared_digests
from document_files import write_docx
from table_files import write_parquet, write_saved_dataset, write_xlsx

ROOT = Path(__file__).parents[2]
PYTHONS = sorted(ROOT.glob(".venv-python*/bin/python"))
WORDS = "amber basil cedar delta ember fjord grove heron inlet jewel koala lemon mango nylon ocean piano".split()
PRIVATE = "Write to anna.berg@example.org or call +46 8 123 456 78."
CHAT = "".join(
    f"{day}.12.23, 10:00 - Ann: Is {word} in stock?\n{day}.12.23, 10:01 - Shop: Yes, {word} \u200eis.\n"
    for day, word in enumerate(WORDS, start=14)
)


def pairs(topic):
    """Questions with repairs, flags, near-duplicates, contradictions and something private in them."""
    made = [{"question": f"{topic} {one} {two}?", "answer": f"{one}: {two}."} for one in WORDS for two in WORDS[:3]]
    made += [{"question": f"{pair['question']} ", "answer": "Ne\u0301ar\u200b."} for pair in made[::9]]
    made += [{"question": "What does a pot cost?", "answer": f"A pot costs {price} kronor."} for price in (40, 45)]
    made += [{"question": "Whom do I ask?", "answer": PRIVATE}, {"question": "Cut off?", "answer": "It is because"}]
    return [*made, {"question": "Är det öppet på söndagar?", "answer": "Nej, butiken är stängd på söndagar."}]


@pytest.fixture(scope="module")
def everything(tmp_path_factory):
    """A folder with each format that the data stage reads."""
    folder = tmp_path_factory.mktemp("everything") / "data"
    folder.mkdir()
    lines = "".join(json.dumps(pair) + "\n" for pair in [*pairs("Lines"), {"question": "Why?"}])
    (folder / "lines.jsonl").write_text(lines)
    (folder / "packed.jsonl.gz").write_bytes(gzip.compress(lines.replace("Lines", "Packed").encode(), mtime=0))
    (folder / "old.json").write_text(json.dumps({"category": "old", "records": pairs("Old")}), encoding="utf-16")
    rows = [list(pair.values()) for pair in pairs("Table")]
    (folder / "table.csv").write_text("".join(f"{q};{a}\n" for q, a in [("question", "answer"), *rows]))
    write_xlsx(folder / "sheet.xlsx", {"FAQ": [["question", "answer"], *rows[:20]], "Other": [["x"], ["y"]]})
    write_parquet(folder / "columns.parquet", pairs("Columns"))
    write_saved_dataset(folder / "saved", pairs("Saved"))
    (folder / "faq.md").write_text("".join(f"## Is {word} old?\n\n*Yes*, [{word}](x).\n\n" for word in WORDS))
    (folder / "faq.html").write_text("".join(f"<![if x]><h2>Is {word} new?</h2><p>No &amp; {word}" for word in WORDS))
    write_docx(folder / "faq.docx", [("Heading1", "Is it a document?"), ("Normal", "It is.")])
    (folder / "chat.txt").write_text(CHAT)
    return folder


@pytest.fixture(scope="module")
def base_dir(tiny_llama, tmp_path_factory):
    folder = tmp_path_factory.mktemp("base")
    shutil.copytree(tiny_llama, folder / "model")
    return folder


def digests(python, seed, data, base_dir, out, processes=1):
    environment = {
        **os.environ,
        "PYTHONHASHSEED": seed,
        "PYTHONPATH": os.pathsep.join((f"{ROOT}/src", f"{ROOT}/tests")),
    }
    command = [python, prepared_digests.__file__, data, base_dir, out, str(processes)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert not done.returncode, done.stderr[-2000:]
    found = json.loads(done.stdout)
    assert found.keys() >= {"train.jsonl", "val.jsonl", "test.jsonl", "changes.jsonl", "report.json", "report.html"}
    return found


def test_another_hash_seed_writes_the_same_bytes(everything, base_dir, tmp_path):
    (tmp_path / "data").mkdir()
    for name in ("lines.jsonl", "table.csv"):
        shutil.copy(everything / name, tmp_path / "data")
    first = digests(sys.executable, "0", tmp_path / "data", base_dir, tmp_path / "0")
    assert digests(sys.executable, "1", tmp_path / "data", base_dir, tmp_path / "1") == first


@pytest.fixture(scope="module")
def expected(everything, base_dir, tmp_path_factory):
    return digests(sys.executable, "0", everything, base_dir, tmp_path_factory.mktemp("out") / "0")


@pytest.mark.long
def test_another_run_of_every_format_writes_the_same_bytes(everything, base_dir, expected, tmp_path):
    assert digests(sys.executable, "random", everything, base_dir, tmp_path / "out", processes=2) == expected


@pytest.mark.long
@pytest.mark.skipif(not PYTHONS, reason="needs environments of other Pythons: make test-pythons")
@pytest.mark.parametrize("python", PYTHONS, ids=lambda path: path.parts[-3])
def test_another_python_writes_the_same_bytes(python, everything, base_dir, expected, tmp_path):
    for seed in ("0", "random"):
        assert digests(python, seed, everything, base_dir, tmp_path / seed) == expected
