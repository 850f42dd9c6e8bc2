"""Large files are read in pieces, one record in memory at a time, with the right line numbers."""

import hashlib
import io
import json
import os
import random

import pytest

from reading import items
from tinsmith.data.read import find, json_files
from tinsmith.data.read.find import find_pieces
from tinsmith.data.read.piece import read_piece
from tinsmith.data.read.record import Note, Problem, Record, Unused
from tinsmith.data.read.strict_json import MAX_DEPTH, JsonReader, NotStrictJson, decode

TOO_DEEP = f"not usable: more than {MAX_DEPTH} lists or objects inside each other"
PAIRS = [{"q": f"Question {n}?", "a": f"Answer {n}, " * (n % 7)} for n in range(100)]


@pytest.mark.parametrize("size", [1, 50, 333, 4000, 10**6])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\n\n"])
def test_pieces_have_every_line_once_with_its_number(size, end, tmp_path, monkeypatch):
    monkeypatch.setattr(find, "PIECE_BYTES", size)
    monkeypatch.setattr(find, "_BLOCK_BYTES", 97)
    path = tmp_path / "d.jsonl"
    path.write_bytes(b"\xef\xbb\xbf" + end.join(map(json.dumps, PAIRS)).encode())
    pieces = find_pieces(str(path)).pieces
    assert len(pieces) >= min(len(PAIRS), path.stat().st_size // (size + 300))
    records = [record for piece in pieces for record in read_piece(piece)]
    assert [record.value for record in records] == PAIRS
    step = end.count("\n")
    assert [record.position for record in records] == [f"line {1 + step * n}" for n in range(len(PAIRS))]


def test_errors_in_a_later_piece_name_the_line_and_byte_of_the_file(tmp_path, monkeypatch):
    monkeypatch.setattr(find, "PIECE_BYTES", 500)
    lines = [json.dumps(pair).encode() for pair in PAIRS]
    lines[60], lines[80] = b'{"q": "caf\xe9"}', b'{"q": 1, "q": 2}'
    path = tmp_path / "d.jsonl"
    path.write_bytes(b"\n".join(lines))
    assert len(find_pieces(str(path)).pieces) > 5
    first, second = items(path, Problem)
    byte = len(b"\n".join(lines[:60])) + 1 + 10
    assert (first.line, second.line, second.column) == (61, 81, 10)
    assert f"at byte {byte} (found 0xe9)" in first.text


def test_pieces_end_at_the_first_line_after_their_size(tmp_path, monkeypatch):
    monkeypatch.setattr(find, "PIECE_BYTES", 20)
    monkeypatch.setattr(find, "_BLOCK_BYTES", 7)
    path = tmp_path / "d.jsonl"
    line = b'{"q":1}\n'  # of 8 bytes
    path.write_bytes(line * 10)
    found = find_pieces(str(path))
    assert [(piece.start, piece.line, piece.size) for piece in found.pieces] == [
        (0, 1, 24),
        (24, 4, 24),
        (48, 7, 24),
        (72, 10, 8),
    ]
    assert found.files == {"d.jsonl": hashlib.sha256(line * 10).hexdigest()}
    assert {(piece.file, piece.format) for piece in found.pieces} == {("d.jsonl", "lines")}


def test_only_some_files_of_a_folder_are_read_on_request(tmp_path):
    (tmp_path / "a.json").write_text(json.dumps(PAIRS[0]))
    (tmp_path / "b.json").write_text("")
    found = find_pieces(str(tmp_path), None, only={"a.json"})
    assert [piece.file for piece in found.pieces] == list(found.files) == ["a.json"] and not found.problems


def chunked(text, size):
    stream = io.StringIO(text)
    return JsonReader(lambda _: stream.read(size))


@pytest.mark.parametrize("size", [1, 2, 3, 7, 64])
def test_values_that_are_cut_anywhere_are_decoded_whole(size):
    values = [1, -2.5e10, True, None, '🍵 \\ " \u2028', {"a": [[], {}, ""], "b": {"c": 12345}}, [], "x" * 100]
    text = json.dumps(values, indent=1)
    reader = chunked(text, size)
    assert [reader.value().value for _ in reader.array()] == values
    reader.end()
    assert reader.line == text.count("\n") + 1


@pytest.mark.parametrize("size", [1, 5, 1000])
@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ('[{"a": 1},\n {"a": 1, "b": 2,\n  "a": 3}]', (3, 3, "key 'a' again, first on line 2")),
        ('[1,\n {"x": [NaN]}]', (2, 9, "NaN is not a JSON value")),
        ('[1,\n {"x": tru}]', (2, 8, "not JSON: Expecting value, found 'tru}]'")),
        ('[1,\n {"x": 1} 2]', (2, 11, "not JSON: expected ']', found '2]'")),
        ("[1] [2]", (1, 5, "not JSON: Extra data, found '[2]'")),
        ('["abc', (1, 2, "not JSON: Unterminated string starting at, found '\"abc'")),
        ("[1,\n\n 2 3]", (3, 4, "not JSON: expected ']', found '3]'")),
        ("[1,", (1, 4, "not JSON: Expecting value, found the end of the text")),
        (" 5", (1, 2, "not JSON: expected '[', found '5'")),
        ("[1]\n" + "x" * 30, (2, 1, f"not JSON: Extra data, found '{'x' * 20}'")),
        ('[{"a": {"b": [1, NaN]}}]', (1, 18, "NaN is not a JSON value")),
        ('[ {"k": 1,\n "k": 2}]', (2, 2, "key 'k' again, first on line 1")),
        ("[" + "[" * MAX_DEPTH + "5" + "]" * MAX_DEPTH + "]", None),
        ("[" + "[" * (MAX_DEPTH + 1) + "5", (1, MAX_DEPTH + 2, TOO_DEEP)),
        ("[\n " + "[" * (MAX_DEPTH + 1) + "]" * (MAX_DEPTH + 1) + "]", (2, MAX_DEPTH + 2, TOO_DEEP)),
        (
            "[1,\n" + "[" * 5000,
            (2, MAX_DEPTH + 1, TOO_DEEP),
        ),
    ],
)
def test_faults_have_their_place_however_the_text_is_cut(size, text, fault):
    reader = chunked(text, size)

    def read_all():
        for _ in reader.array():
            reader.value()
        reader.end()

    if fault is None:
        read_all()
        return
    with pytest.raises(NotStrictJson) as caught:
        read_all()
    (found,) = caught.value.faults
    assert (found.line, found.column, found.text) == fault


@pytest.mark.parametrize("size", [1, 4, 1000])
@pytest.mark.parametrize(
    ("text", "keys", "fault"),
    [
        ("{}", [], None),
        (' {\n"a" : [1], "b": {"c": 2} } ', ["a", "b"], None),
        ('{"a": 1,\n "a": 2}', ["a"], (2, 2, "key 'a' again, first on line 1")),
        ('{"a": 1, b: 2}', ["a"], (1, 10, "not JSON: expected a key in \"quotes\", found 'b: 2}'")),
        ('{"a" 1}', [], (1, 6, "not JSON: expected ':', found '1}'")),
        ('{"a": 1', ["a"], (1, 8, "not JSON: expected '}', found the end of the text")),
        ("{'a': 1}", [], (1, 2, 'not JSON: expected a key in "quotes", found "\'a\': 1}"')),
    ],
)
def test_keys_of_an_object_are_given_one_by_one(size, text, keys, fault):
    reader, seen = chunked(text, size), []

    def read_all():
        for key in reader.object():
            seen.append(key)
            reader.skip()
        reader.end()

    if fault:
        with pytest.raises(NotStrictJson) as caught:
            read_all()
        assert [(f.line, f.column, f.text) for f in caught.value.faults] == [fault]
        assert str(caught.value) == fault[2] and not caught.value.can_go_on
    else:
        read_all()
    assert seen == keys


def test_every_fault_of_a_value_is_named_and_reading_goes_on_after_it():
    reader = chunked('[{"a": NaN, "b":\n Infinity, "a": -Infinity}, 7]', 5)
    values = []
    for _ in reader.array():
        try:
            values.append(reader.value().value)
        except NotStrictJson as error:
            assert error.can_go_on
            values += [(fault.line, fault.column, fault.text) for fault in error.faults]
    assert values == [
        (1, 8, "NaN is not a JSON value"),
        (2, 2, "Infinity is not a JSON value"),
        (2, 12, "key 'a' again, first on line 1"),
        (2, 17, "-Infinity is not a JSON value"),
        7,
    ]


def test_a_number_of_5000_digits_and_text_after_a_value_are_refused():
    with pytest.raises(NotStrictJson) as caught:
        decode(f'{{"q":\n {"7" * 5000}}}', line=4)
    (fault,) = caught.value.faults
    assert (fault.line, fault.column) == (4, 1) and fault.text.startswith("not usable: Exceeds the limit")
    with pytest.raises(NotStrictJson, match="Extra data, found '8'"):
        decode("7 8")
    assert decode(" 7\n", 3).line == 3 and decode('\n "x"', 3).line == 4


def test_an_object_inside_a_value_has_its_line():
    value = decode('{"a": [\n{"x": 1},\n[[{"y": "\\n{"}]], {}\n, {"z": [\n{"q": 2}]}], "b": 5}', 10)
    line_of = value.lines()
    first, nested, empty, last = value.value["a"]
    assert [line_of(one) for one in (value.value, first, nested, empty, last, last["z"])] == [10, 11, 12, 12, 13, 14]
    assert line_of([]) == line_of(5) == 10


def test_a_value_that_is_too_long_is_not_read_to_its_end():
    class Endless:
        given = 0

        def read(self, size):
            self.given += size
            return "x" * size

    endless = Endless()
    reader = JsonReader(endless.read, text='"')
    with pytest.raises(NotStrictJson, match="a value of more than 16 million characters"):
        reader.value()
    assert endless.given < 50_000_000


def test_broken_text_is_searched_in_linear_time():
    # Twice the text took four times as long where each quote was searched to the end again.
    with pytest.raises(NotStrictJson):
        decode('{"x": "' + '\\"' * 500_000)
    with pytest.raises(NotStrictJson):
        decode("[" * 2000 + '\\"' * 500_000)


WRAPPED = {
    "version": 2,
    "about": "pots",
    "category": "wrapped",
    "system_prompt": "Be kind.",
    "authors": [{"name": "Ann"}, {"name": "Bo"}],
    "conversations": PAIRS[:3],
    "examples": PAIRS[3:5],
}


def test_all_lists_of_records_are_read_and_the_rest_of_a_wrapper_is_named(tmp_path, monkeypatch):
    path = tmp_path / "w.json"
    path.write_text(json.dumps(WRAPPED, indent=1))
    (tmp_path / "n.jsonl").write_text(json.dumps(WRAPPED) + "\n" + json.dumps(WRAPPED))
    records = items(path, Record)
    assert [record.value for record in records] == [{"system_prompt": "Be kind.", **pair} for pair in PAIRS[:5]]
    assert {record.category for record in records} == {"wrapped"}
    lines = path.read_text().split("\n")
    assert [lines[int(record.position[:-1].split("line ")[1]) - 1].strip() for record in records] == ["{"] * 5
    assert items(path, Unused) == [
        Unused("w.json: version", "fields around the records"),
        Unused("w.json: about", "fields around the records"),
        Unused("w.json: authors", "lists beside the records, which do not look like conversations", 2),
    ]
    assert [unused.count for unused in items(tmp_path / "n.jsonl", Unused)] == [2, 2, 4]


def nested(value, lists):
    for _ in range(lists):
        value = [value]
    return value


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ({"conversations": []}, []),
        ({"questions": [[PAIRS[0]], PAIRS[1]]}, PAIRS[:2]),
        ({"tags": [["x"]], "rows": [{"who": 1}, {"who": 2}]}, [{"who": 1}, {"who": 2}]),
        ({"mine": [{"who": 1}]}, [{"who": 1}]),
        ({"mine": [{"who": 1}], "yours": [{"who": 2}]}, [{"mine": [{"who": 1}], "yours": [{"who": 2}]}]),
        ({"mine": [[]], "yours": [{"inner": [PAIRS[0]]}]}, [PAIRS[0]]),
        ({"mine": [{"inner": {"x": 1}}], "yours": [[5]], "data": [{}]}, [{}]),
        (nested(PAIRS[0], 9), [PAIRS[0]]),
        ([{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}], None),
        ([], []),
        (5, [5]),
        ("text", ["text"]),
    ],
)
def test_where_the_records_are(value, expected, tmp_path):
    """The same in a document and in a line."""
    expected = [value] if expected is None else expected
    for name, text in (("a.json", json.dumps(value, indent=1)), ("b.jsonl", json.dumps(value))):
        (tmp_path / name).write_text(text)
        assert [record.value for record in items(tmp_path / name, Record)] == expected


def test_lists_inside_each_other_are_opened_to_some_depth(tmp_path):
    for name, lists in (("a.json", 10), ("a.jsonl", 9)):
        (tmp_path / name).write_text(json.dumps(nested(PAIRS[0], lists)))
        assert [record.value for record in items(tmp_path / name, Record)] == [PAIRS[0]]
        (tmp_path / name).write_text(json.dumps(nested(PAIRS[0], lists + 1)))
        assert [record.value for record in items(tmp_path / name, Record)] == [[PAIRS[0]]]


def test_what_a_record_inherits_from_its_wrappers_and_what_it_has_itself(tmp_path):
    inner = {"category": " b\n", "passage": "P", "context": 5, "conversations": [{**PAIRS[0], "passage": "own"}, ["x"]]}
    outer = {"category": "a", "system": "S", "groups": [inner, {"examples": [PAIRS[1]]}]}
    (tmp_path / "a.json").write_text(json.dumps(outer))
    first, second, third = items(tmp_path, Record)
    assert (first.value, first.category) == ({"system": "S", **PAIRS[0], "passage": "own"}, "b")
    assert (second.value, second.category) == ("x", "b")
    assert (third.value, third.category) == ({"system": "S", **PAIRS[1]}, "a")
    assert items(tmp_path, Unused) == [Unused("a.json: context", "fields around the records")]


def test_counts_of_wrappers_are_compared(tmp_path):
    (tmp_path / "a.json").write_text(json.dumps({"count": 1, "conversations": PAIRS[:1]}))
    (tmp_path / "b.json").write_text(json.dumps({"count": 3, "conversations": PAIRS[:2]}))
    (tmp_path / "c.json").write_text(json.dumps({"count": "3", "conversations": PAIRS[:2]}))
    (tmp_path / "d.json").write_text(json.dumps({"count": 3, "questions": PAIRS[:2], "conversations": PAIRS[2:3]}))
    lines = [{"count": 2, "rows": PAIRS[:1], "beside": [{"n": 1}] * 3}, {"beside": [{"n": 1}], "rows": PAIRS[:1]}]
    (tmp_path / "e.jsonl").write_text("\n".join(map(json.dumps, lines)))
    assert items(tmp_path, Note) == [
        Note("b.json", "count says 3, 'conversations' holds 2 records"),
        Note("e.jsonl", "count says 2, 'rows' holds 1 records"),
    ]
    assert items(tmp_path, Unused) == [
        Unused("e.jsonl: beside", "lists beside the records, which do not look like conversations", 4)
    ]


def test_faults_in_a_wrapper_are_named_before_its_records(tmp_path):
    path = tmp_path / "a.json"
    path.write_text('{"about": {"x": NaN},\n "rows": [{"q": 1, "q": 2}, {"q": "a", "a": "b"}]}')
    assert items(path, Problem) == [
        Problem("a.json", 1, 17, "NaN is not a JSON value"),
        Problem("a.json", 2, 20, "key 'q' again, first on line 2"),
    ]
    assert items(path, Record) == []
    path.write_text('{"rows": [{"q": "a", "a": "b"},\n {"q" 5}]}')
    assert items(path, Problem) == [Problem("a.json", 2, 7, "not JSON: Expecting ':' delimiter, found '5}]}'")]


@pytest.mark.parametrize(
    ("name", "text", "format"),
    [
        ("a.jsonl", json.dumps({"conversations": PAIRS[:2]}, indent=1), "document"),
        ("a.jsonl", json.dumps({"about": 5, "conversations": PAIRS[:2]}, indent=1), "document"),
        ("a.jsonl", json.dumps(PAIRS[:2], indent=1), "document"),
        ("a.jsonl", '{"q": "a", "a":\n{"q": "b", "a": "c"}\n', "document"),
        ("a.jsonl", "{\n", "lines"),
        ("a.json", "\n\n" + json.dumps(PAIRS[0]) + "\n", "document"),
        ("a.json", json.dumps(PAIRS[0]) + "\n" + json.dumps(PAIRS[1]), "lines"),
        ("a.json", '{"q": NaN}\n' + json.dumps(PAIRS[1]), "lines"),
        ("a.json", '{"q": "x" 5}\n' + json.dumps(PAIRS[1]), "document"),
        ("a.json", "[\n" + json.dumps(PAIRS[1]) + "]", "document"),
        ("a.ndjson", json.dumps(PAIRS[0]), "lines"),
        ("a.jsonl", "caf\xe9", "lines"),
        ("a.json", "caf\xe9", "document"),
    ],
)
def test_lines_are_told_from_one_document(name, text, format, tmp_path):
    (tmp_path / name).write_bytes(text.encode("latin-1"))
    (piece,) = find_pieces(str(tmp_path)).pieces
    assert piece.format == format


def test_a_folder_that_cannot_be_read_is_named(tmp_path, monkeypatch):
    (tmp_path / "locked").mkdir()
    (tmp_path / "a.json").write_text(json.dumps(PAIRS[0]))
    scandir = os.scandir

    def refuse(path):
        if os.fspath(path).endswith("locked"):
            raise PermissionError(13, "Permission denied", os.fspath(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    assert items(tmp_path, Unused) == [Unused("locked", "folders that cannot be read (Permission denied)")]


def test_a_document_of_one_line_takes_the_memory_of_a_record(tmp_path):
    tracemalloc = pytest.importorskip("tracemalloc")
    texts = [random.Random(n).randbytes(150).hex() for n in range(4_000)]
    path = tmp_path / "one-line.json"
    path.write_text(json.dumps({"conversations": [{"q": text, "a": text} for text in texts]}))
    piece = find_pieces(str(path)).pieces[0]
    assert piece.format == "document" and piece.size > 2_000_000
    tracemalloc.start()
    count = sum(isinstance(item, Record) for item in read_piece(piece))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert count == len(texts)
    assert peak < piece.size / 2


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.jsonl", json.dumps(PAIRS[1])),
        ("a.json", json.dumps(PAIRS[1:3], indent=1)),
        ("a.csv", "q,a\nWhy?,So\n"),
        ("a.txt", "31.12.23, 22:15 - Shop: Hello\n31.12.23, 22:16 - Ann: Hi\n"),
    ],
)
def test_a_tiny_file_sets_no_large_buffer_aside(name, content, tmp_path):
    tracemalloc = pytest.importorskip("tracemalloc")
    path = tmp_path / name
    path.write_text(content)
    assert items(path, Record | Problem), "all is imported"
    tracemalloc.start()
    items(path, Record)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 150_000


def test_many_records_in_a_line_are_not_held_at_once(tmp_path):
    tracemalloc = pytest.importorskip("tracemalloc")
    path = tmp_path / "a.jsonl"
    path.write_text("[" + ",".join(["{}"] * 20_000) + "]\n[[{}]]\n")
    piece = find_pieces(str(path)).pieces[0]
    tracemalloc.start()
    places = [item.position for item in read_piece(piece)]
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert (places[0], places[-2:]) == ("line 1, record 1", ["line 1, record 20000", "line 2"])
    assert peak < 100 * 20_000 + 100 * len(places), "an empty dict takes 64 bytes, a place about 80"


def test_lines_of_utf_16_and_of_old_macs(tmp_path):
    text = "".join(
        json.dumps(pair, ensure_ascii=False) + "\n" for pair in [{"q": "Größe?\u2028", "a": "m"}, *PAIRS[:2]]
    )
    (tmp_path / "a.jsonl").write_bytes(text.encode("utf-16"))
    (tmp_path / "b.jsonl").write_bytes(text.replace("\n", "\r").encode())
    records = items(tmp_path, Record)
    assert [record.position for record in records] == ["line 1", "line 2", "line 3"] * 2
    assert records[0].value == records[3].value == {"q": "Größe?\u2028", "a": "m"}
    assert items(tmp_path, Note) == [Note("a.jsonl", "in UTF-16, read as such; UTF-8 is the usual encoding")]


def test_a_line_that_never_ends_is_a_problem_and_the_next_is_read(tmp_path, monkeypatch):
    monkeypatch.setattr(json_files, "_MAX_LINE_BYTES", 1000)
    path = tmp_path / "a.jsonl"
    path.write_text(json.dumps(PAIRS[0]) + "\n" + json.dumps({"q": "x" * 3500, "a": "b"}) + "\n" + json.dumps(PAIRS[1]))
    assert items(path, Problem) == [Problem("a.jsonl", 2, 0, "a line of more than 0 MB")]
    assert [record.position for record in items(path, Record)] == ["line 1", "line 3"]


def test_everything_in_a_folder_that_is_not_opened_is_named(tmp_path):
    root = tmp_path / "data"
    for folder in (".hidden", "locked", "runs/demo/data", "deep/er"):
        (root / folder).mkdir(parents=True)
    (root / "deep" / "er" / "good.jsonl").write_text(json.dumps(PAIRS[0]))
    (root / "runs" / "demo" / "tinsmith-run.json").write_text("{}")
    (root / "runs" / "demo" / "data" / "train.jsonl").write_text(json.dumps(PAIRS[1]))
    (root / ".secret.json").write_text("{}")
    (root / "linked.jsonl").symlink_to(root / "deep" / "er" / "good.jsonl")
    (root / "loop").symlink_to(root)
    (root / "gone.jsonl").symlink_to(tmp_path / "gone")
    os.mkfifo(root / "pipe.jsonl")
    (root / "photo.jpeg").write_bytes(b"\xff\xd8")
    assert [record.file for record in items(root, Record)] == ["deep/er/good.jsonl", "linked.jsonl"]
    assert {(unused.name, unused.reason) for unused in items(root, Unused)} == {
        (".hidden", "hidden folders"),
        (".secret.json", "hidden files"),
        ("gone.jsonl", "broken links (No such file or directory)"),
        ("loop", "links to folders, which are not followed"),
        ("photo.jpeg", "no data files by their ending"),
        ("pipe.jsonl", "no regular files, such as pipes and devices"),
        ("runs/demo", "run folders of tinsmith, which hold copies of data"),
    }
