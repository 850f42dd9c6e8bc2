"""Every shape of file becomes the same conversations."""

import importlib.resources
import json
import shutil

import pytest

from reading import conversations, items
from tinsmith.core.config import DataConfig
from tinsmith.data.read.record import Note, Record, Unused
from tinsmith.data.stage import check_data
from tinsmith.model.conversations import Message

EXPECTED = [Message("user", "What is it?"), Message("assistant", "A pot.")]


MESSAGES = [{"role": "user", "content": "What is it?"}, {"role": "assistant", "content": "A pot."}]
SHAPES = {
    "messages": {"messages": MESSAGES},
    "bare list": MESSAGES,
    "role and content under conversations": {"conversations": MESSAGES},
    "sharegpt": {"conversations": [{"from": "human", "value": "What is it?"}, {"from": "gpt", "value": "A pot."}]},
    "sharegpt user": {"conversations": [{"from": "user", "value": "What is it?"}, {"from": "bot", "value": "A pot."}]},
    "alpaca": {"instruction": "What is it?", "input": "", "output": "A pot."},
    "question": {"question": "What is it?", "answer": "A pot.", "sources": ["a", "b"], "from": "the shop"},
    "q": {"id": 7, "q": "What is it?", "a": "A pot."},
    "prompt completion": {"prompt": "What is it?", "completion": "A pot."},
    "prompt response": {"prompt": "What is it?", "response": "A pot."},
    "parts": {
        "messages": [
            {"role": "User", "content": [{"type": "text", "text": "What "}, {"type": "text", "text": "is it?"}]},
            {"role": "model", "content": "A pot."},
        ]
    },
}


@pytest.mark.parametrize("shape", SHAPES)
def test_a_record_of_any_shape_on_a_line_or_in_a_document(shape, tmp_path):
    record = SHAPES[shape]
    files = {
        "one.jsonl": json.dumps(record),
        "two.ndjson": "\n" + json.dumps(record) + "\n\n" + json.dumps(record) + "\n",
        "object.json": json.dumps(record, indent=1),
        "array.json": json.dumps([record, record], indent=1),
        "wrapped.json": json.dumps({"about": "pots", "conversations": [record, record]}),
        "questions.json": json.dumps({"_meta": {"tags": [1]}, "questions": [record]}),
        "object-in-object.json": json.dumps({"version": 1, "data": {"train": {"rows": [record]}, "about": {"a": 1}}}),
        "unknown-wrapper.json": json.dumps({"tags": ["a"], "pots": [record]}),
        "lines.json": json.dumps(record) + "\n" + json.dumps(record),
        "document.jsonl": json.dumps([record, record], indent=2),
    }
    for name, text in files.items():
        path = tmp_path / name
        path.write_text(text, encoding="utf-8")
        converted = conversations(path)
        assert len(converted) == (2 if text.count("A pot.") == 2 else 1), name
        assert all(list(c.messages) == EXPECTED for c in converted), name


def test_every_record_of_a_mixed_file_is_told_apart(tmp_path):
    path = tmp_path / "mixed.jsonl"
    path.write_text("".join(json.dumps(record) + "\n" for record in SHAPES.values()))
    converted = conversations(path)
    assert [list(c.messages) for c in converted] == [EXPECTED] * len(SHAPES)
    assert [c.source["position"] for c in converted] == [f"line {n}" for n in range(1, len(SHAPES) + 1)]


def test_alpaca_input_history_and_system(tmp_path):
    path = tmp_path / "a.json"
    path.write_text(
        json.dumps(
            {
                "system": "Be short.",
                "instruction": "Translate.",
                "input": "pot",
                "output": "Topf",
                "history": [["Hi", "Hello"]],
            }
        )
    )
    assert [(m.role, m.content) for m in conversations(path)[0].messages] == [
        ("system", "Be short."),
        ("user", "Hi"),
        ("assistant", "Hello"),
        ("user", "Translate.\n\npot"),
        ("assistant", "Topf"),
    ]


@pytest.mark.parametrize("header", ["question,answer", "Q , A", "prompt,response", "instruction,output"])
def test_table_columns(header, tmp_path):
    path = tmp_path / "t.csv"
    path.write_bytes(b"\xef\xbb\xbf" + f'{header}\r\n"What is it?","A pot."\r\n'.encode())
    assert list(conversations(path)[0].messages) == EXPECTED


def test_table_with_quoted_newlines_category_system_and_true_line_numbers(tmp_path):
    path = tmp_path / "t.tsv"
    path.write_text('id\tcategory\tsystem\tq\ta\nx1\tpots\tBe kind.\t"One\nor two?"\tTwo, both.\n\nx2\t\t\tRed?\tNo.\n')
    first, second = conversations(path)
    assert (first.id, first.category, first.source["position"]) == ("x1", "pots", "line 2")
    assert [m.content for m in first.messages] == ["Be kind.", "One\nor two?", "Two, both."]
    assert (second.id, second.category, second.source["position"]) == ("x2", "t", "line 5")
    assert len(second.messages) == 2


def test_category_from_record_then_wrapper_then_file_name(tmp_path):
    question = {"q": "Why?", "a": "Because."}
    (tmp_path / "03_taste_discovery.json").write_text(json.dumps([question, {**question, "category": " own\nname "}]))
    (tmp_path / "04_x.json").write_text(json.dumps({"category": "wrapped", "count": 3, "conversations": [question]}))
    (tmp_path / "05.json").write_text(json.dumps([question]))
    assert [c.category for c in conversations(tmp_path)] == ["taste_discovery", "own name", "wrapped", "05"]
    assert items(tmp_path, Note) == [Note("04_x.json", "count says 3, 'conversations' holds 1 records")]


def test_json_position_is_record_and_line(tmp_path):
    path = tmp_path / "p.json"
    path.write_text('{\n"conversations": [\n {"q": "{a\\n}", "a": "b"},\n [{"role": "user",\n"content": "x"}]\n]}')
    assert [r.position for r in items(path, Record)] == ["record 1 (line 3)", "record 2 (line 4)"]


def test_line_separators_inside_text_do_not_end_a_line(tmp_path):
    path = tmp_path / "u.jsonl"
    path.write_text('{"q": "one\u2028two", "a": "three\u2029four\x85five"}\n' * 2, encoding="utf-8")
    first, again = conversations(path)
    assert again.messages == first.messages and again.source["position"] == "line 2"
    assert [m.content for m in first.messages] == ["one\ntwo", "three\nfour…five"]


def test_hidden_and_other_files_are_skipped_and_named(tmp_path):
    (tmp_path / ".cache").mkdir()
    (tmp_path / ".cache" / "old.json").write_text("broken")
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "b.jsonl").write_text('{"q": "a", "a": "b"}')
    (tmp_path / "notes.md").write_text(" ")
    (tmp_path / "photo.jpg").write_text("")
    assert [record.file for record in items(tmp_path, Record)] == ["deep/b.jsonl"]
    assert items(tmp_path, Unused) == [
        Unused(".cache", "hidden folders"),
        Unused("notes.md", "empty pages and documents"),
        Unused("photo.jpg", "no data files by their ending"),
    ]


def test_the_public_question_set_in_each_of_its_five_formats(tmp_path):
    data = importlib.resources.files("zaragoza_construction_faq") / "data"
    texts = set()
    for name in ("faq-en.jsonl", "faq-en.json", "faq-en.csv", "faq-en-alpaca.jsonl", "faq-en-sharegpt.jsonl"):
        shutil.copy(data / name, tmp_path)
        texts.add(tuple(c.messages for c in conversations(tmp_path / name)))
    assert len(texts) == 1, "the formats hold the same text"
    report = check_data(DataConfig(path=str(tmp_path / name)), seed=0)
    assert sum(report.splits.values()) == 503
    assert {what for what, _ in report.changes.groups} <= {"flagged"}
    together = check_data(DataConfig(path=str(tmp_path)), seed=0)
    assert sum(together.splits.values()) == 503 and together.changes.records["duplicate"] == 4 * 503
