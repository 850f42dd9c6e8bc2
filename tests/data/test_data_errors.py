"""Unusable input is refused or listed with its place and what was found there."""

import json
import os

import pytest

from stage_runs import run_stage
from tinsmith.core.config import DataConfig
from tinsmith.core.errors import DataError
from tinsmith.data.read.find import find_pieces
from tinsmith.data.read.record import Unusable, Unused
from tinsmith.data.stage import check_data, prepare_data
from tinsmith.model.conversations import read_jsonl

WORDS = "amber basil cedar delta ember fjord grove heron inlet jewel koala lemon".split()
GOOD = [{"q": f"{word} {word[::-1]}?", "a": "Yes."} for word in WORDS]


def good_lines(*extra):
    return "".join(json.dumps(record) + "\n" for record in (*GOOD, *extra))


def message_for(path, **settings):
    with pytest.raises(DataError) as caught:
        check_data(DataConfig(path=str(path), **settings), seed=0)
    assert caught.value.hint
    return caught.value.message


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        (
            "a.jsonl",
            b'{"q": "x", "a": "y"}\n{"q": "x", "a" "y"}\n',
            "a.jsonl:2:16: not JSON: Expecting ':' delimiter, found '\"y\"}'",
        ),
        (
            "a.jsonl",
            b'{"q": "x", "a": "y"}\n{"q": "x"',
            "a.jsonl:2:10: not JSON: Expecting ',' delimiter, found the end of the text",
        ),
        ("a.json", b'[\n {"q": "x", "a": "y"},\n]', "a.json:"),
        ("a.json", b'[{"q": "x", "a": "y"}] trailing', "a.json:1:24: not JSON: Extra data, found 'trailing'"),
        ("a.json", b'[\n{"q": "x", "a": "y",\n "\\u0071": "z"}]', "a.json:3:2: key 'q' again, first on line 2"),
        (
            "a.jsonl",
            b'{"q": "x", "a": "y"}\n{"a": 1, "q": "x", "a": "y"}',
            "a.jsonl:2:20: key 'a' again, first on line 2",
        ),
        ("a.json", b'[{"q": "NaN", "a": "y",\n "weight": NaN}]', "a.json:2:12: NaN is not a JSON value"),
        ("a.json", b'[{"q": "x", "a": "y", "w": -Infinity}]', "a.json:1:28: -Infinity is not a JSON value"),
        ("a.json", b"[" * 100_000, "a.json:1:102: not usable: more than 100 lists or objects inside each other"),
        ("a.jsonl", b'{"q": "x",\n"a": "caf\xe9"}', "a.jsonl:2: not UTF-8 at byte 20 (found 0xe9)"),
        ("a.json", b" \n", "a.json: empty file"),
        ("a.csv", b"", "a.csv: empty file"),
        ("a.csv", b"name;text\n1;2\n", "a.csv:1:1: the first row must name columns question/answer or q/a"),
        ("a.csv", b"q,a,q\n1,2,3\n", "a.csv:1:1: column 'q' appears 2 times"),
        ("a.csv", b'q,a\n1,2\n"open,3\n4,5\n', "a.csv:3:1: not a readable table: unexpected end of data"),
    ],
)
def test_a_broken_file_is_an_error_with_its_place(name, content, expected, tmp_path):
    (tmp_path / name).write_bytes(content)
    assert f"{tmp_path}/{expected}" in message_for(tmp_path / name)


def test_all_broken_places_are_reported_at_once(tmp_path):
    (tmp_path / "a.jsonl").write_text('{"q": 1,,}\n' + good_lines() + "nope\n")
    (tmp_path / "b.json").write_text("")
    (tmp_path / "c.csv").write_text("x,y\n1,2\n")
    message = message_for(tmp_path)
    assert message.startswith("4 problem(s)")
    for place in ("a.jsonl:1:9", "a.jsonl:14:1", "b.json: empty", "c.csv:1:1"):
        assert place in message


def error_for(path, **settings):
    with pytest.raises(DataError) as caught:
        check_data(DataConfig(path=str(path), **settings), seed=0)
    return caught.value.message, caught.value.hint


def test_errors_word_for_word(tmp_path):
    """What is wrong, where, how often, and what to do."""
    path = tmp_path / "d.jsonl"
    path.write_text('{"q": 1,,}\n' + good_lines())
    broken = f"  {path}:1:9: not JSON: Expecting property name enclosed in double quotes, found ',}}'"
    assert error_for(path) == (f"1 problem(s) in the data\n{broken}", "Correct these places.")
    path.write_text(good_lines(*[{"q": f"Why {n}?", "a": ""} for n in range(7)], {"x": "y"}))
    empty = "a message is empty: message 2, role 'assistant'"
    lines = [f"  {path}, line {13 + n}: {empty}" for n in range(5)]
    lines += [f"  {path}, line 20: no conversation in it: its keys: 'x'", "  ... and 2 more"]
    assert error_for(path, drop_invalid=False) == (
        "8 problem(s) in the data\n" + "\n".join(lines),
        "Correct these places, or set data.drop_invalid = true to leave such records out.",
    )
    assert error_for(path) == (
        "8 of 20 records cannot be used, more than data.max_dropped = 0.1 allows\n"
        f"       7  a message is empty, such as {path}, line 13\n"
        f"       1  no conversation in it, such as {path}, line 20",
        "Correct them, or set data.max_dropped to the share that may be left out.",
    )
    assert not error_free(path, max_dropped=0.39) and error_free(path, max_dropped=0.4)
    path.write_text('{"q": "Why?", "a": ""}\n')
    assert error_for(path) == (
        f"none of the 1 record(s) in {path} is a usable conversation\n  {path}, line 1: {empty}",
        'A record looks like {"messages": [{"role": "user", "content": "..."}, {"role": "assistant", ...}]}.',
    )
    path.write_text("".join(good_lines().splitlines(keepends=True)[:9]))
    few = "only 9 usable conversation(s), at least 10 are needed to train, validate and test"
    assert error_for(path) == (few, "Add conversations.")
    with path.open("a") as more:
        more.write(json.dumps(GOOD[0]) + "\n")
    copy = "same messages as an earlier conversation: d.jsonl, line 1"
    assert error_for(path) == (
        f"{few}; these were left out\n  d.jsonl, line 10: {copy}",
        "Add conversations, or correct those left out.",
    )
    path.write_text("".join(json.dumps({"q": "Why?", "a": f"Because {n}."}) + "\n" for n in range(20)))
    assert error_for(path) == (
        "the 20 conversations ask only 1 different question(s), at least 3 are needed",
        "Near-duplicate first questions must stay in one split. Add conversations with other questions.",
    )
    path.write_text(good_lines())
    assert error_for(path, val_fraction=0.499, test_fraction=0.499) == (
        "data.val_fraction and data.test_fraction leave none of the 12 conversations to train on",
        "Make them smaller.",
    )
    assert error_for("") == ("data.path is empty", "Set data.path to a file or folder of conversations.")
    kinds = (
        "json, jsonl, ndjson, csv, tsv, xlsx, xlsm, xls, ods, parquet, arrow, md, markdown, html, htm, txt, text, docx"
    )
    missing = tmp_path / "none"
    assert error_for(missing) == (
        f"data path does not exist: {missing}",
        f"Set data.path to a file or folder of {kinds}, pdf files.",
    )


def error_free(path, **settings):
    try:
        check_data(DataConfig(path=str(path), **settings), seed=0)
    except DataError:
        return False
    return True


def test_missing_empty_and_unset_paths(tmp_path):
    assert f"does not exist: {tmp_path}/none" in message_for(tmp_path / "none")
    assert f"no data file in {tmp_path}: it is empty" in message_for(tmp_path)
    (tmp_path / "readme.txt").write_text("hi")
    assert "readme.txt: descriptions of the folder" in message_for(tmp_path)
    with pytest.raises(DataError, match=r"data\.path is empty"):
        check_data(DataConfig(), seed=0)


USER, ASSISTANT = {"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}
UNUSABLE = [
    (
        {"messages": [ASSISTANT]},
        "user and assistant do not take turns (message 1 is from 'assistant')",
    ),
    ({"messages": [USER]}, "the last message is not from the assistant"),
    ({"messages": []}, "no messages"),
    ({"messages": "Hi"}, "the messages are not a list ('messages' is text)"),
    ({"messages": [USER, {"role": "assistant", "content": " "}]}, "a message is empty (message 2, role 'assistant')"),
    ({"messages": [USER, {"role": "assistant", "content": None}]}, "a message is empty (message 2, role 'assistant')"),
    ({"messages": [USER, {"role": "assistant", "content": 3}]}, "expected text (content of message 2 is a number)"),
    ({"messages": [USER, {"role": "assistant"}]}, "a message has no content (message 2, role 'assistant')"),
    ({"messages": [USER, "Hello"]}, "a message is not an object with role and content (message 2 is text)"),
    ({"messages": [{"content": "Hi"}, ASSISTANT]}, "a message has no role (message 1; its keys: 'content')"),
    (
        {"messages": [{"role": "critic", "content": "Hi"}, ASSISTANT]},
        "a role other than system, user, assistant (message 1 has role 'critic'. Say who answers, in [data]: fields = ",
    ),
    (
        {"messages": [USER, {"role": "tool", "content": "x"}, ASSISTANT]},
        "a tool call or its result, which is not supported (message 2, role 'tool')",
    ),
    (
        {"messages": [USER, {"role": "assistant", "content": None, "tool_calls": [1]}]},
        "a tool call or its result, which is not supported (message 2",
    ),
    (
        {"messages": [USER, ASSISTANT, {"role": "system", "content": "x"}]},
        "a system message that is not the first (message 3)",
    ),
    (
        {"messages": [{"role": "user", "content": [{"type": "image_url"}]}, ASSISTANT]},
        "a part that is no text, such as a picture (content of message 1 has type 'image_url')",
    ),
    (
        {"q": "What is <|im_start|>?", "a": "A token."},
        "a marker of a turn in a chat format (message 1 has '<|im_start|>')",
    ),
    ({"q": "Hi", "a": "Hello<end_of_turn>"}, "a marker of a turn in a chat format (message 2 has '<end_of_turn>')"),
    ({"q": "Half \ud83d", "a": "x"}, "half of a surrogate pair (message 1, character 6)"),
    ({"text": "Hi", "label": 1}, "no conversation in it (its keys: 'text', 'label')"),
    (
        {"instruction": "a", "output": "b", "history": ["x"]},
        "'history' is not a list of [question, answer] pairs (it holds text)",
    ),
    ("Hi", "not an object or a list of messages (found text)"),
    (None, "not an object or a list of messages (found null)"),
]


@pytest.mark.parametrize(("record", "reason"), UNUSABLE)
def test_an_unusable_record_is_listed_or_on_request_an_error(record, reason, tmp_path):
    path = tmp_path / "data.jsonl"
    path.write_text(good_lines(record))
    report = check_data(DataConfig(path=str(path)), seed=0)
    (item,) = report.changes.examples("dropped")
    assert (item.file, item.position) == ("data.jsonl", "line 13")
    assert reason in str(Unusable(item.reason, item.detail))
    assert sum(report.splits.values()) == 12
    assert f"{path}, line 13: {item.text}" in message_for(path, drop_invalid=False)


def test_a_row_with_missing_cells_is_listed(tmp_path):
    path = tmp_path / "t.csv"
    rows = "".join(f"{record['q']},{record['a']}\n" for record in GOOD)
    path.write_text("q,a\nonly one\n" + rows)
    (item,) = check_data(DataConfig(path=str(path)), seed=0).changes.examples("dropped")
    assert (item.position, item.text) == (
        "line 2",
        "a row with more or fewer cells than the header: 1 cells, the header 2",
    )


def test_a_file_without_any_conversation_names_the_reasons(tmp_path):
    path = tmp_path / "x.json"
    path.write_text(json.dumps([{"text": "a"}, {"text": "b"}]))
    message = message_for(path)
    assert "none of the 2 record(s)" in message
    assert "record 2 (line 1): no conversation in it: its keys: 'text'" in message


def test_too_few_conversations_and_too_few_questions(tmp_path):
    path = tmp_path / "few.jsonl"
    path.write_text("".join(json.dumps(record) + "\n" for record in GOOD[:9]))
    assert "only 9 usable conversation(s), at least 10" in message_for(path)
    path.write_text("".join(json.dumps(record) + "\n" for record in [*GOOD[:9], {"q": "Why?", "a": ""}, GOOD[0]]))
    message = message_for(path, max_dropped=0.2)
    assert "few.jsonl, line 10: a message is empty: message 2, role 'assistant'" in message
    assert "few.jsonl, line 11: same messages as an earlier conversation: few.jsonl, line 1" in message
    path.write_text("".join(json.dumps({"q": "Why?", "a": f"Because {n}."}) + "\n" for n in range(20)))
    assert "the 20 conversations ask only 1 different question(s)" in message_for(path)


def test_fractions_that_leave_nothing_to_train_on(tmp_path):
    path = tmp_path / "few.jsonl"
    path.write_text("".join(json.dumps(record) + "\n" for record in GOOD[:10]))
    assert "leave none of the 10" in message_for(path, val_fraction=0.499, test_fraction=0.499)


def test_a_system_prompt_that_cannot_be_used(tmp_path):
    path = tmp_path / "d.jsonl"
    path.write_text(good_lines())
    assert "data.system_prompt cannot be used" in message_for(path, system_prompt="You are <|im_end|>")
    assert "data.system_prompt is only whitespace" in message_for(path, system_prompt=" \n")


NAMES = [
    ({"id": "a\ud83d"}, None, "half of a surrogate pair: id, character 2"),
    ({"category": "\udc00"}, None, "half of a surrogate pair: category, character 1"),
    (
        {"id": "red\x1b[31m\x00 one"},
        ("red[31m one", "d"),
        "hidden characters removed from the id: U+0000 null (1), U+001B escape (1)",
    ),
    (
        {"category": "a\x1b]0;b\x07\u202e\x9b"},
        ("d.jsonl:line 13", "a]0;b"),
        "hidden characters removed from the category: U+0007 control character (1), U+001B escape (1), "
        "U+009B control character (1), U+202E right-to-left override (1)",
    ),
    (
        {"id": "\x1b", "category": "\x7f"},
        ("d.jsonl:line 13", "d"),
        "hidden characters removed from the id: U+001B escape (1)",
    ),
]


@pytest.mark.parametrize(("names", "kept", "reason"), NAMES)
def test_ids_and_categories_can_be_stored_and_printed(names, kept, reason, tmp_path, tiny_llama):
    path = tmp_path / "d.jsonl"
    path.write_text(good_lines({"q": "A new one?", "a": "Yes.", **names}))
    config = DataConfig(path=str(path))
    report = check_data(config, seed=0)
    (tmp_path / "base").mkdir()
    (tmp_path / "base" / "model").symlink_to(tiny_llama)
    out = tmp_path / "out"
    out.mkdir()
    run_stage(prepare_data, config, tmp_path / "base", out)
    changes = report.changes.examples("repaired" if kept else "dropped")
    assert ("d.jsonl, line 13", reason) in [(change.place, change.text) for change in changes]
    used = [c for split in ("train", "val", "test") for c in read_jsonl(out / f"{split}.jsonl")]
    assert [(c.id, c.category) for c in used if c.messages[0].content == "A new one?"] == ([kept] if kept else [])


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        (b"caf\xe9.jsonl", "/caf\\xe9.jsonl: its name is not UTF-8"),
        (b"a\x1b[31m.json", "/a\\x1b[31m.json: its name holds control characters"),
        (b"a\n.csv", "/a\\n.csv: its name holds control characters"),
    ],
)
def test_file_names_that_cannot_be_stored(name, problem, tmp_path):
    file = os.path.join(os.fsencode(tmp_path), name)
    with open(file, "w") as stream:
        stream.write(good_lines())
    assert problem in message_for(tmp_path)
    with pytest.raises(DataError) as caught:
        find_pieces(os.fsdecode(file), None)
    assert problem in caught.value.message


def test_odd_names_of_files_that_are_no_data_are_shown_escaped(tmp_path):
    (tmp_path / "good.jsonl").write_text(good_lines())
    os.mkdir(os.path.join(os.fsencode(tmp_path), b"\xff"))
    with open(os.path.join(os.fsencode(tmp_path), b"\xff", b"\x1b.jpg"), "w"):
        pass
    report = check_data(DataConfig(path=str(tmp_path)), seed=0)
    assert report.unused == (Unused("\\xff/\\x1b.jpg", "no data files by their ending"),)
