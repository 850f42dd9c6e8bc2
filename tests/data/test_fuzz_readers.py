"""Generated files of conversations: each gives records and problems with their place, and never another error."""

import csv
import io
import json

import pytest
from hypothesis import strategies as some

from fuzzing import COUNTS, changed, damaged, for_each
from tinsmith.core.errors import DataError
from tinsmith.core.field_map import FieldMap
from tinsmith.data.read.find import find_pieces
from tinsmith.data.read.piece import read_piece
from tinsmith.data.read.record import Problem, Record, Unusable
from tinsmith.data.read.shapes import shaped

pytestmark = pytest.mark.parametrize("count", COUNTS)
FIELDS = FieldMap(question="frage", answer="antwort.de", messages="log", assistant="Shop")
CHAT = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": [{"type": "text", "text": "Hello"}]}]
NODES = {
    "a": {"parent": None, "message": None},
    "b": {"parent": "a", "message": {"author": {"role": "user"}, "content": {"content_type": "text", "parts": ["Hi"]}}},
}
RECORDS = [
    {"messages": CHAT, "tools": [], "system_prompt": "Be kind."},
    {"conversations": [{"from": "human", "value": "Hi"}, {"from": "gpt", "value": "Hello", "weight": 0}]},
    {"instruction": "Hi", "context": "x", "response": "Hello", "history": [["a", "b"]]},
    {"question": "Hi", "choices": {"text": ["a", "b"], "label": ["A", "B"]}, "answerKey": "A"},
    {"question": "Hi", "answers": {"text": ["a"], "answer_start": [1]}},
    {"prompt": "Hi", "chosen": CHAT, "rejected": CHAT},
    {"chosen": "\n\nHuman: Hi\n\nAssistant: Hello", "rejected": ""},
    {"input": {"messages": CHAT[:1]}, "preferred_output": CHAT[1:]},
    {"mapping": NODES, "current_node": "b", "id": "1"},
    {"frage": "Hi", "antwort": {"de": "Hello"}, "log": None},
    {"data": [{"title": "T", "paragraphs": [{"context": "c", "qas": [{"question": "q", "answers": ["a"]}]}]}]},
]


def read(path, fields=None):
    """Read a file and shape its records; returns how many were conversations."""
    used = 0
    try:
        found = find_pieces(str(path), fields)
    except DataError as error:  # such as an archive, which is not opened
        assert path.name in error.message and error.hint
        return 0
    assert all(problem.file == path.name and problem.text for problem in found.problems)
    for piece in found.pieces:
        for item in read_piece(piece, fields):
            assert item.file == path.name if not hasattr(item, "name") else item.name.startswith(path.name)
            if isinstance(item, Problem):
                assert item.text and item.line >= 0
            elif isinstance(item, Record):
                try:
                    used += bool(shaped(item, fields).messages)
                except Unusable as error:
                    assert error.reason
    return used


@pytest.mark.parametrize("name", ["a.json", "a.jsonl"])
def test_changed_json(count, name, tmp_path):
    path, used = tmp_path / name, []

    def check(records: object) -> None:
        lines = records if name.endswith("l") and isinstance(records, list) else [records]
        path.write_text("\n".join(json.dumps(line) for line in lines), encoding="utf-8")
        used.append(read(path, FIELDS if len(used) % 2 else None))

    for_each(count, changed(RECORDS), check)
    assert sum(used) > count, "most records stay readable"


GOOD_JSON = json.dumps(RECORDS, indent=1, ensure_ascii=False).encode()
GOOD_LINES = "\n".join(map(json.dumps, RECORDS)).encode()


@pytest.mark.parametrize(("name", "good"), [("a.json", GOOD_JSON), ("a.jsonl", GOOD_LINES)])
def test_damaged_json(count, name, good, tmp_path):
    path = tmp_path / name

    def check(content: bytes) -> None:
        path.write_bytes(content or b" x")
        read(path)

    for_each(count, damaged(good, len(good)), check)


def test_tables(count, tmp_path):
    path = tmp_path / "a.csv"
    cells = some.one_of(
        some.text(max_size=20), some.sampled_from(["question", "answer", "q", "a", '"', '""', "\r", "\0"])
    )

    def check(value: tuple[list[list[str]], str, bytes]) -> None:
        rows, delimiter, junk = value
        text = io.StringIO()
        csv.writer(text, delimiter=delimiter).writerows([["question", "answer"], *rows])
        path.write_bytes(text.getvalue().encode("utf-8", "surrogatepass") + junk)
        read(path)

    rows = some.lists(some.lists(cells, max_size=3), max_size=5)
    for_each(count, some.tuples(rows, some.sampled_from(",;\t|"), some.binary(max_size=4)), check)


CHAT_LINES = [
    "31.12.23, 22:15 - Shop: Hello",
    "[1/2/24, 9:00:00 AM] Ann: Hi",
    "99/99/9999, 99:99 - : ",
    "2024-01-02 10:00 - Shop: x",
    "more",
    "",
]


def test_chats(count, tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("x")
    lines = some.lists(some.one_of(some.sampled_from(CHAT_LINES), some.text(max_size=40)), max_size=12)

    def check(value: list[str]) -> None:
        text = "\n".join([*CHAT_LINES[:2], *value])
        path.write_text(text, encoding="utf-8", errors="replace")
        read(path, FIELDS)

    for_each(count, lines, check)
