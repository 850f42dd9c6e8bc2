"""Folders of data with something in them that was once lost, misread or refused without a hint."""

import gzip
import json
import os

from table_files import write_xlsx

WORDS = "amber basil cedar delta ember fjord grove heron inlet jewel koala lemon".split()
GOOD = [{"q": f"{word} {word[::-1]}?", "a": f"Yes: {word}."} for word in WORDS]
ROWS = [["question", "answer"], *([record["q"], record["a"]] for record in GOOD)]


def _lines(*records):
    return "".join(json.dumps(record) + "\n" for record in (*GOOD, *records)).encode()


def _table(delimiter, end="\n"):
    return end.join(delimiter.join(row) for row in ROWS).encode()


def _chat(*messages):
    return {"messages": [{"role": role, "content": text, **more} for role, text, more in messages]}


def _folder(folder):
    (folder / "d.jsonl").write_bytes(_lines())
    (folder / "pictures").mkdir()
    (folder.parent / "elsewhere").mkdir()
    (folder.parent / "elsewhere" / "more.jsonl").write_bytes(_lines())
    (folder / "linked").symlink_to(folder.parent / "elsewhere")
    (folder / "gone.jsonl").symlink_to(folder.parent / "gone.jsonl")
    os.mkfifo(folder / "pipe.jsonl")


def _run_folder(folder):
    (folder / "d.jsonl").write_bytes(_lines())
    (folder / "runs" / "demo" / "data").mkdir(parents=True)
    (folder / "runs" / "demo" / "tinsmith-run.json").write_text("{}")
    rows = [{"q": f"{word} again?", "a": "Of the run."} for word in WORDS]
    (folder / "runs" / "demo" / "data" / "train.jsonl").write_text("\n".join(map(json.dumps, rows)))


_SQUAD = [{"title": "T", "paragraphs": [{"context": "Tea is a leaf.", "qas": []}]}]
_SQUAD[0]["paragraphs"][0]["qas"] = [
    {"id": str(n), "question": f"What is {word}?", "answers": [{"text": word, "answer_start": 0}]}
    for n, word in enumerate(WORDS)
]

FILES = {
    "Dolly's context": (
        "d.jsonl",
        _lines({"instruction": "When?", "context": "Open at nine.", "response": "Nine."}),
    ),
    "SQuAD's context": ("d.json", json.dumps({"version": "1.1", "data": _SQUAD}).encode()),
    "choices": ("d.jsonl", _lines({"question": "Which?", "choices": ["mud", "tea"], "answer": 1})),
    "weight 0": ("d.jsonl", _lines(_chat(("user", "Hi", {}), ("assistant", "No.", {"weight": 0})))),
    "reasoning_content": (
        "d.jsonl",
        _lines(_chat(("user", "Hi", {}), ("assistant", "Hello", {"reasoning_content": "A greeting."}))),
    ),
    "system_prompt": ("d.jsonl", _lines({"question": "Hi", "answer": "Hello", "system_prompt": "Be kind."})),
    "a second list of records": (
        "d.json",
        json.dumps({"conversations": GOOD, "examples": [{"q": "More?", "a": "Yes."}], "authors": [{"n": 1}]}).encode(),
    ),
    "semicolons": ("d.csv", _table(";")),
    "tabs in a .csv": ("d.csv", _table("\t")),
    "line ends of old Macs": ("d.csv", _table(",", "\r")),
    "UTF-16 of Excel": ("d.csv", _table("\t").decode().encode("utf-16")),
    "Latin-1": ("d.csv", _table(",").replace(b"Yes: ", "Café ".encode("latin-1"))),
    "a cell of 200,000 characters": ("d.csv", _table(";") + b"\nwhy?;" + b"long " * 40_000),
    "gzip without the ending": ("d.jsonl", gzip.compress(_lines())),
    "unknown fields": ("d.jsonl", "\n".join(json.dumps({"frage": r["q"], "antwort": r["a"]}) for r in GOOD).encode()),
    "tool calls": (
        "d.jsonl",
        _lines({"messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "tool_calls": [{"id": "1"}]}]}),
    ),
}
FOLDERS = {"links, a pipe, an empty folder": _folder, "tinsmith's own run folder": _run_folder}


def write(name, folder):
    """Write the input called `name` into `folder`."""
    folder.mkdir(parents=True)
    if name in FOLDERS:
        FOLDERS[name](folder)
    elif name == "a workbook called .csv":
        write_xlsx(folder / "d.csv", {"FAQ": ROWS})
    else:
        file, content = FILES[name]
        (folder / file).write_bytes(content)


NAMES = (*FILES, "a workbook called .csv", *FOLDERS)
