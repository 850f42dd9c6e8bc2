"""Tables in every dialect, workbooks, Parquet and Arrow files, packed files and files whose name lies."""

import gzip
import json
import resource
import shutil
import signal
import sys
import zipfile
from datetime import date, datetime, time, timedelta
from decimal import Decimal

import pyarrow
import pyarrow.parquet
import pytest
import python_calamine

from reading import conversations, items
from table_files import write_parquet, write_saved_dataset, write_xlsx
from tinsmith.core.field_map import FieldMap
from tinsmith.data.read import find, source, table_reader, tables
from tinsmith.data.read.find import find_pieces
from tinsmith.data.read.piece import read_piece
from tinsmith.data.read.record import Note, Problem, Record, Unused

ROWS = [("Do you open on Sundays?", "No, from Monday to Saturday."), ("Wo? Größe", 'Am "Markt"; links, dann | rechts')]
RECORDS = [{"question": question, "answer": answer} for question, answer in ROWS]


def quoted(cells, delimiter):
    return delimiter.join('"' + cell.replace('"', '""') + '"' for cell in cells)


def table(delimiter, end="\n"):
    return end.join(quoted(row, delimiter) for row in (("question", "answer"), *ROWS)) + end


def pairs(path, fields=None):
    return [tuple(m.content for m in c.messages) for c in conversations(path, fields)]


DIALECTS = {
    "comma": table(",").encode(),
    "semicolon": table(";").encode(),
    "tab": table("\t").encode(),
    "bar": table("|").encode(),
    "sep line of Excel": b"sep=;\r\n" + table(";", "\r\n").encode(),
    "Windows line ends and mark": b"\xef\xbb\xbf" + table(";", "\r\n").encode(),
    "line ends of old Macs": table(",", "\r").encode(),
    "UTF-16 of Excel": table("\t", "\r\n").encode("utf-16"),
    "gzip": gzip.compress(table(",").encode()),
}


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize("ending", [".csv", ".tsv"])
def test_a_table_in_any_dialect(dialect, ending, tmp_path):
    (tmp_path / f"t{ending}").write_bytes(DIALECTS[dialect])
    assert pairs(tmp_path) == ROWS


def test_line_numbers_of_tables_with_a_sep_line_and_line_ends_inside_cells(tmp_path):
    (tmp_path / "t.csv").write_text('sep=;\nq;a\n"one\ntwo";b\nc;d\n')
    assert [record.position for record in items(tmp_path, Record)] == ["line 3", "line 5"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("SEP=:\nq:a\nx,1:y;2\n", [("x,1", "y;2")]),
        ("\n , \nq,a\n\n,\nx,y\n", [("x", "y")]),
        ("nr;q;a\n1,5;x;y\n", [("x", "y")]),
        (" Q \t a\nx\ty\n", [("x", "y")]),
    ],
    ids=["another delimiter", "empty rows", "more commas than semicolons in a cell", "space around names"],
)
def test_the_delimiter_and_the_names_of_columns(text, expected, tmp_path):
    (tmp_path / "t.csv").write_text(text)
    assert pairs(tmp_path) == expected


@pytest.mark.parametrize(
    ("text", "line", "problem"),
    [
        (
            "one,,Two  words\n1,2,3\n",
            1,
            "the first row must name columns question/answer or q/a or prompt/completion; found 'one', 'column 2', "
            "'two words'. Say which fields are which, in [data]: fields = "
            '{ question = "one", answer = "column 2" }',
        ),
        ("q,a,q\n1,2,3\n", 1, "column 'q' appears 2 times"),
        ('q,a\n\n"x"y,z\n', 3, "not a readable table: ',' expected after '\"'"),
        ('sep=;\nq;a\n"x"y;z\n', 3, "not a readable table: ';' expected after '\"'"),
        (
            'sep="\nq"a\n',
            1,
            "the first row must name columns question/answer or q/a or prompt/completion; found 'sep=\"'",
        ),
    ],
)
def test_what_is_wrong_with_a_table_and_where(text, line, problem, tmp_path):
    (tmp_path / "t.csv").write_text(text)
    (item,) = items(tmp_path, Problem)
    assert (item.file, item.line, item.column, item.text) == ("t.csv", line, 1, problem)


def test_rows_with_other_cells_than_the_header_are_named(tmp_path):
    (tmp_path / "t.csv").write_text("q,a\nx\ny,z\n1,2,3\n")
    values = {record.position: record.value for record in items(tmp_path, Record)}
    assert values["line 3"] == {"q": "y", "a": "z"}
    reason = "a row with more or fewer cells than the header"
    assert str(values["line 2"]) == f"{reason} (1 cells, the header 2)"
    assert str(values["line 4"]) == f"{reason} (3 cells, the header 2)"


def test_a_cell_longer_than_pythons_own_limit(tmp_path):
    (tmp_path / "t.csv").write_text(f'q,a\nWhy?,"{"long " * 60_000}"\n')
    ((_, answer),) = pairs(tmp_path)
    assert len(answer) == 5 * 60_000 - 1


def test_a_table_with_other_columns_proposes_the_line_and_is_read_with_it(tmp_path):
    (tmp_path / "t.csv").write_text("Nr;Frage;Antwort\n1;Wann?;Um neun.\n")
    (problem,) = items(tmp_path, Problem)
    assert problem.line == 1
    assert 'in [data]: fields = { question = "frage", answer = "antwort" }' in problem.text
    fields = FieldMap(question="frage", answer="antwort")
    assert pairs(tmp_path, fields) == [("Wann?", "Um neun.")]


def test_the_hint_for_text_in_windows_1252(tmp_path):
    (tmp_path / "t.csv").write_bytes("q,a\nWann?,Um neun.\nWo?,Im Café “Zur Post”.\n".encode("cp1252"))
    (problem,) = items(tmp_path, Problem)
    assert (problem.file, problem.line) == ("t.csv", 3)
    assert "0xe9" in problem.text and "Im Café “Zur" in problem.text and "save the file as UTF-8" in problem.text


SHEETS = {"FAQ": [["Question", "Answer", None], ["Open?", "From 9 to 5."], [], ["Price?", 12.0], ["Tax?", 0.5]]}


def test_a_workbook(tmp_path):
    sheets = {"Notes": [["to do"], ["call Ann"]], **SHEETS, "Old": [["question", "answer"], ["a", "b"]]}
    write_xlsx(tmp_path / "faq.xlsx", sheets, hidden=["Old"])
    assert pairs(tmp_path) == [("Open?", "From 9 to 5."), ("Price?", "12"), ("Tax?", "0.5")]
    assert [r.position for r in items(tmp_path, Record)] == [f"sheet 'FAQ', row {n}" for n in (2, 4, 5)]
    assert items(tmp_path, Unused) == [
        Unused("faq.xlsx: sheet 'Old'", "hidden sheets"),
        Unused("faq.xlsx: sheet 'Notes'", "sheets without columns for question and answer"),
    ]


def test_cells_are_written_as_their_owner_sees_them(tmp_path):
    """In this process: the one that reads workbooks is another."""
    write_xlsx(
        tmp_path / "faq.xlsx", {"FAQ": [["q", "a"], ["Open?", 12.0], [0.5, None, -3.0]], "Old": [["x"]]}, ["Old"]
    )
    assert list(table_reader.workbook_rows(tmp_path / "faq.xlsx")) == [
        {"sheet": "FAQ", "number": 1, "cells": ["q", "a", ""]},
        {"sheet": "FAQ", "number": 2, "cells": ["Open?", "12", ""]},
        {"sheet": "FAQ", "number": 3, "cells": ["0.5", "", "-3"]},
        {"unused": "sheet 'Old'", "reason": "hidden sheets", "count": 1},
    ]
    values = [
        True,
        False,
        2.0,
        2.5,
        date(2026, 1, 2),
        time(9, 30),
        datetime.combine(date(2026, 1, 2), time(9)),
        timedelta(hours=30),
        "x",
    ]
    assert [table_reader._cell(value) for value in values] == [
        *("TRUE", "FALSE", "2", "2.5", "2026-01-02", "09:30:00", "2026-01-02T09:00:00", "1 day, 6:00:00", "x")
    ]


def test_a_sheet_without_cells_is_named(tmp_path):
    write_xlsx(tmp_path / "a.xlsx", {"FAQ": [["q", "a"], ["x", "y"]], "Chart": []})
    with zipfile.ZipFile(tmp_path / "a.xlsx") as old, zipfile.ZipFile(tmp_path / "b.xlsx", "w") as new:
        for part in old.namelist():
            text = old.read(part).decode()
            if part == "xl/_rels/workbook.xml.rels":
                text = text.replace('worksheet" Target="worksheets/sheet2', 'chartsheet" Target="chartsheets/sheet2')
            new.writestr(part.replace("worksheets/sheet2", "chartsheets/sheet2"), text)
    (tmp_path / "a.xlsx").unlink()
    assert pairs(tmp_path) == [("x", "y")]
    assert items(tmp_path, Unused) == [Unused("b.xlsx: sheet 'Chart'", "sheets without cells, such as charts")]


def test_a_workbook_without_a_question_names_what_each_sheet_lacks(tmp_path):
    write_xlsx(tmp_path / "a.xlsx", {"One": [[], ["Nr", "", "Text"], [1, 2, 3]], "Two": [["q", "a", "q"]]})
    first, second = items(tmp_path, Problem)
    assert (first.line, second.line) == (2, 1)
    assert first.text.startswith("sheet 'One': the first row must name columns")
    assert "found 'nr', 'column 2', 'text'" in first.text
    assert second.text == "sheet 'Two': column 'q' appears 2 times"


def test_rows_of_a_workbook_may_end_before_and_after_the_header(tmp_path):
    write_xlsx(tmp_path / "a.xlsx", {"S": [["q", "a", "", "x"], ["w", "z"], ["v", "y", None, None, "note"]]})
    short, long = items(tmp_path, Record)
    assert short.value == {"q": "w", "a": "z", "column 3": "", "x": ""}
    assert str(long.value) == "a row with more or fewer cells than the header (5 cells, the header 4)"


@pytest.mark.parametrize(
    ("error", "problem"),
    [
        (MemoryError(), "needs more than 2 GB of memory to read"),
        (
            table_reader.Unreadable("needs a password; save it without one"),
            "cannot be read: needs a password; save it ",
        ),
        (ValueError("a \n\n b" + "x" * 400), "cannot be read: a b" + "x" * 297),
        (OSError(), "cannot be read: OSError"),
        (zipfile.BadZipFile("bad"), "cannot be read: bad"),
        (NotImplementedError("new"), "cannot be read: new"),
    ],
    ids=repr,
)
def test_what_ends_the_reading_of_a_table_is_printed_after_its_rows(error, problem, tmp_path, monkeypatch, capsys):
    def rows(path, *groups):
        yield {"number": 1, "value": {"a": b"123", "b": date(2026, 1, 2), "c": Decimal("1.5"), "groups": groups}}
        raise error

    limits = []
    monkeypatch.setattr(table_reader.resource, "setrlimit", lambda *arguments: limits.append(arguments))
    monkeypatch.setattr(table_reader.signal, "setitimer", lambda *arguments: limits.append(arguments))
    monkeypatch.setitem(table_reader._READERS, "parquet", rows)
    (tmp_path / "a").write_bytes(bytes(400_000))
    table_reader.main("parquet", tmp_path / "a", 3, 5)
    row, last = map(json.loads, capsys.readouterr().out.splitlines())
    value = {"a": {"bytes": 3}, "b": "2026-01-02", "c": "1.5", "groups": [3, 5]}
    assert row == {"number": 1, "value": value}
    assert last.keys() == {"problem"} and last["problem"].startswith(problem)
    assert last["problem"] == problem or problem.endswith(" ")
    assert limits == [
        (resource.RLIMIT_AS, (2_000_000_000, 2_000_000_000)),
        (signal.ITIMER_PROF, 62),
    ]


def test_a_protected_and_a_broken_workbook_say_so(tmp_path, monkeypatch):
    def refuse(path):
        raise python_calamine.PasswordError("locked")

    (tmp_path / "a.xls").write_bytes(bytes.fromhex("d0cf11e0a1b11ae1") + bytes(600))
    with pytest.raises(table_reader.Unreadable, match=r"^not a readable workbook: "):
        list(table_reader.workbook_rows(tmp_path / "a.xls"))
    monkeypatch.setattr(python_calamine.CalamineWorkbook, "from_path", refuse, raising=False)
    with pytest.raises(table_reader.Unreadable, match=r"^needs a password; save it without one$"):
        list(table_reader.workbook_rows(tmp_path / "a.xls"))


def test_rows_of_columns_are_numbered_through_batches_and_row_groups(tmp_path):
    rows = [{"n": number} for number in range(150)]
    expected = [{"number": number + 1, "value": row} for number, row in enumerate(rows)]
    table = pyarrow.Table.from_pylist(rows)
    pyarrow.parquet.write_table(table, tmp_path / "a.parquet", row_group_size=40)
    assert list(table_reader.parquet_rows(tmp_path / "a.parquet")) == expected
    part = list(table_reader.parquet_rows(tmp_path / "a.parquet", 1, 3))
    assert [row["value"]["n"] for row in part] == list(range(40, 120)) and part[0]["number"] == 1
    groups = list(table_reader.parquet_groups(tmp_path / "a.parquet"))
    assert [group["rows"] for group in groups] == [40, 40, 40, 30] and all(50 < g["bytes"] < 1000 for g in groups)
    for kind in (pyarrow.ipc.new_file, pyarrow.ipc.new_stream):
        with pyarrow.OSFile(str(tmp_path / "a.arrow"), "wb") as sink, kind(sink, table.schema) as out:
            out.write_table(table, max_chunksize=70)
        assert list(table_reader.arrow_rows(tmp_path / "a.arrow")) == expected
        assert [record.position for record in items(tmp_path / "a.arrow", Record)][-1] == "row 150"


def test_files_whose_name_lies_are_read_as_what_they_are(tmp_path):
    write_xlsx(tmp_path / "faq.csv", SHEETS)
    (tmp_path / "packed.jsonl").write_bytes(gzip.compress(json.dumps(RECORDS[0]).encode()))
    (tmp_path / "plain.jsonl.gz").write_text(json.dumps(RECORDS[1]))
    write_parquet(tmp_path / "p.json", RECORDS)
    assert len(conversations(tmp_path)) == 3 + 1 + 1 + 2
    assert items(tmp_path, Note) == [
        Note("faq.csv", "read as a workbook, though its name does not say so"),
        Note("p.json", "read as a parquet, though its name does not say so"),
        Note("packed.jsonl", "a gzip file, though its name does not say so"),
        Note("plain.jsonl.gz", "not packed, though its name ends in .gz"),
    ]


def test_a_workbook_that_would_fill_the_memory(tmp_path, monkeypatch):
    # One cell in the last corner makes a sheet of 17 billion cells.
    far = '<row r="1048576"><c r="XFD1048576"><v>1</v></c></row>'
    write_xlsx(tmp_path / "a.xlsx", {"s": [["question", "answer"], ["a", "b"]]})
    with zipfile.ZipFile(tmp_path / "a.xlsx") as old, zipfile.ZipFile(tmp_path / "b.xlsx", "w") as new:
        for part in old.namelist():
            new.writestr(part, old.read(part).decode().replace("</sheetData>", f"{far}</sheetData>"))
    with zipfile.ZipFile(tmp_path / "c.xlsx", "w", zipfile.ZIP_DEFLATED) as bomb:
        part = zipfile.ZipInfo("xl/workbook.xml")
        bomb.writestr(part, b"0")
        part.file_size = table_reader.MAX_UNPACKED_BYTES + 1  # as the directory at the end of the file says
    (tmp_path / "d.xlsx").write_bytes((tmp_path / "a.xlsx").read_bytes()[:300])
    (tmp_path / "e.xlsx").write_text("question,answer\n")
    problems = items(tmp_path, Problem)
    assert {problem.file for problem in problems} == {"b.xlsx", "c.xlsx", "d.xlsx", "e.xlsx"}
    texts = {problem.file: problem.text for problem in problems}
    assert "cannot be read" in texts["b.xlsx"] or "memory" in texts["b.xlsx"]
    assert "unpacks to 1.0 GB" in texts["c.xlsx"]
    assert "a damaged ZIP file" in texts["d.xlsx"]
    assert "not what its ending says" in texts["e.xlsx"]


def test_parquet_and_a_saved_dataset(tmp_path):
    chats = [{"messages": [{"role": "user", "content": q}, {"role": "assistant", "content": a}]} for q, a in ROWS]
    write_parquet(tmp_path / "train-00000-of-00002.parquet", chats)
    write_saved_dataset(tmp_path / "saved" / "train", [{**RECORDS[0], "picture": b"\x89PNG", "score": 0.5}])
    (tmp_path / "saved" / "dataset_dict.json").write_text('{"splits": ["train"]}')
    assert pairs(tmp_path) == [ROWS[0], *ROWS]
    assert [(r.position, r.category) for r in items(tmp_path, Record)] == [
        ("row 1", "data"),
        ("row 1", "train"),
        ("row 2", "train"),
    ]
    assert [unused.name for unused in items(tmp_path, Unused)] == [
        "saved/dataset_dict.json",
        "saved/train/dataset_info.json",
        "saved/train/state.json",
    ]


def test_a_large_parquet_file_is_cut_at_row_groups(tmp_path, monkeypatch):
    path = tmp_path / "t.parquet"
    rows = [{"question": f"What is {number}?", "answer": f"Number {number}."} for number in range(50)]
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), path, row_group_size=7, compression="none")
    (whole,) = find_pieces(str(path)).pieces
    expected = [(record.position, record.value) for record in read_piece(whole)]
    assert expected == [(f"row {number}", row) for number, row in enumerate(rows, start=1)]
    monkeypatch.setattr(find, "PIECE_BYTES", 600)
    found = find_pieces(str(path))
    assert [piece.groups for piece in found.pieces] == [(0, 2), (2, 4), (4, 6), (6, 8)]
    assert [(record.position, record.value) for piece in found.pieces for record in read_piece(piece)] == expected
    path.write_bytes(path.read_bytes()[:-40])
    assert [problem.file for problem in items(tmp_path, Problem)] == ["t.parquet"]


def test_damaged_parquet_and_arrow_files_are_problems(tmp_path):
    write_parquet(tmp_path / "a.parquet", RECORDS)
    content = (tmp_path / "a.parquet").read_bytes()
    (tmp_path / "a.parquet").write_bytes(content[:-40])
    write_saved_dataset(tmp_path / "s", RECORDS)
    stream = next((tmp_path / "s").glob("*.arrow"))
    stream.write_bytes(stream.read_bytes()[:-200])
    problems = items(tmp_path, Problem)
    assert [problem.file for problem in problems] == ["a.parquet", "s/data-00000-of-00001.arrow"]
    assert all("cannot be read" in problem.text for problem in problems)


def test_a_gzip_bomb_and_a_cut_gzip_file_are_problems(tmp_path):
    (tmp_path / "bomb.jsonl.gz").write_bytes(gzip.compress(b" " * 100_000_000, 9))
    (tmp_path / "cut.csv.gz").write_bytes(gzip.compress(table(",").encode() * 5000)[:-20])
    problems = items(tmp_path, Problem)
    assert {(problem.file, problem.text[:18]) for problem in problems} == {
        ("bomb.jsonl.gz", "unpacks to more th"),
        ("cut.csv.gz", "a damaged gzip fil"),
    }


def test_a_bomb_in_a_table_and_damage_after_the_beginning_are_problems(tmp_path, monkeypatch):
    monkeypatch.setattr(source, "_FREE_BYTES", 100_000)
    (tmp_path / "bomb.csv.gz").write_bytes(gzip.compress(b"q,a\n" + b"x,y\n" * 500_000))
    rows = "".join(f'{{"q": "{n}", "a": "{n * n}"}}\n' for n in range(20_000)).encode()
    (tmp_path / "cut.jsonl.gz").write_bytes(gzip.compress(rows)[:-20])
    (tmp_path / "end.json.gz").write_bytes(gzip.compress(b'{"q": "x",\n "a": "y"}')[:-9])
    (tmp_path / "head.csv.gz").write_bytes(b"\x1f\x8b\x08" + bytes(20))
    assert {problem.file: problem.text for problem in items(tmp_path, Problem)} == {
        "bomb.csv.gz": "unpacks to more than 200 times its size; unpack it yourself if that is right",
        "cut.jsonl.gz": "a damaged gzip file: Compressed file ended before the end-of-stream marker was reached",
        "end.json.gz": "a damaged gzip file: Compressed file ended before the end-of-stream marker was reached",
        "head.csv.gz": "a damaged gzip file: Error -3 while decompressing data: invalid stored block lengths",
    }


def test_what_is_inside_gzip_or_of_other_programs_is_named(tmp_path):
    write_xlsx(tmp_path / "a.xlsx", {"FAQ": [["q", "a"], ["x", "y"]]})
    (tmp_path / "a.xlsx.gz").write_bytes(gzip.compress((tmp_path / "a.xlsx").read_bytes()))
    (tmp_path / "faq.md.gz").write_bytes(gzip.compress(b"## Open?\n\nAt nine.\n"))
    (tmp_path / "letter.doc").write_bytes(bytes.fromhex("d0cf11e0a1b11ae1") + bytes(600))
    (tmp_path / "cache-1.arrow").write_bytes(b"ARROW1")
    (tmp_path / "state.json").write_text('{"q": "Why?", "a": "No Arrow file but a cache is beside it."}')
    (tmp_path / "LICENSE.txt").write_text("Q: May I?\nA: Yes.")
    (tmp_path / "song.mp3").write_bytes(b"\xff\xfb")
    (tmp_path / "empty.md").write_text(" \n")
    (tmp_path / "x.7z").write_bytes(b"7z\xbc\xaf\x27\x1c")
    assert {unused.name: unused.reason for unused in items(tmp_path, Unused)} == {
        "a.xlsx.gz": "workbooks and other binary files inside gzip; unpack them",
        "faq.md.gz": "pages and documents inside gzip; unpack them",
        "letter.doc": "no data files by their ending",
        "cache-1.arrow": "what the datasets library cached",
        "state.json": "descriptions of a Hugging Face data set",
        "LICENSE.txt": "descriptions of the folder, such as a README",
        "song.mp3": "no data files by their ending",
        "empty.md": "empty pages and documents",
        "x.7z": "archives of another kind than gzip; unpack them",
    }


@pytest.mark.parametrize(
    ("name", "content", "problem"),
    [
        ("a.json", b'{\0"\0q\0"\0', "holds a NUL byte beside every other one: it looks like UTF-16 without a mark; "),
        ("a.csv", b"q,a\nx,y\0\n", "holds a NUL byte (byte 7), so it is no text; save it again as UTF-8 text"),
        ("a.parquet", b"question,answer", "not what its ending says: it starts with b'question'"),
        ("a.pdf", b"PDF", "not what its ending says: it starts with b'PDF'"),
        ("a.xlsx", b"PK\x03\x04", "a damaged ZIP file: File is not a zip file"),
        ("a.jsonl", b"\xef\xbb\xbf\r\n", "empty file"),
    ],
)
def test_a_file_that_is_not_what_its_name_says(name, content, problem, tmp_path):
    (tmp_path / name).write_bytes(content)
    (item,) = items(tmp_path, Problem)
    assert (item.file, item.line, item.column) == (name, 0, 0)
    assert item.text == problem or (problem.endswith(" ") and item.text == problem + "save it as UTF-8")


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be", "utf-32-le", "utf-32-be"])
def test_text_with_the_mark_of_another_unicode_encoding_is_read_and_noted(encoding, tmp_path):
    (tmp_path / "a.csv").write_bytes(("\ufeff" + table(",")).encode(encoding))
    assert pairs(tmp_path) == ROWS
    name = encoding[:6].upper()
    assert items(tmp_path, Note) == [Note("a.csv", f"in {name}, read as such; UTF-8 is the usual encoding")]


def test_a_file_that_cannot_be_read_or_is_gone_is_a_problem(tmp_path, monkeypatch):
    path = tmp_path / "a.csv"
    path.write_text(table(","))
    (piece,) = find_pieces(str(path)).pieces
    path.unlink()
    assert list(read_piece(piece)) == [Problem("a.csv", 0, 0, "cannot be read (No such file or directory)")]

    def refuse(name, file):
        raise PermissionError(13, "Permission denied")

    path.write_text(table(","))
    monkeypatch.setattr(find, "format_of", refuse)
    advice = "Correct the permissions, or choose another folder. Then run the same command again."
    assert find_pieces(str(tmp_path)).problems == [Problem("a.csv", 0, 0, "cannot be read (Permission denied)", advice)]


def test_archives_are_named_and_not_opened(tmp_path):
    (tmp_path / "good.jsonl").write_text(json.dumps(RECORDS[0]))
    with zipfile.ZipFile(tmp_path / "chats.zip", "w") as archive:
        archive.writestr("conversations.json", "[]")
    shutil.make_archive(str(tmp_path / "more"), "xztar", tmp_path, "good.jsonl")
    assert items(tmp_path, Unused) == [
        Unused("chats.zip", "ZIP archives; unpack them"),
        Unused("more.tar.xz", "archives of another kind than gzip; unpack them"),
    ]


@pytest.mark.parametrize(
    ("ending", "problem"),
    [
        ("os.kill(os.getpid(), signal.SIGPROF)", "takes too long to read for its size; save it in another format"),
        ("print('1\\n2', file=sys.stderr); sys.exit(3)", "cannot be read; save it in another format (2)"),
        ("sys.exit(3)", "cannot be read; save it in another format (the reader ended with code 3)"),
    ],
)
def test_the_death_of_a_reader_is_a_problem_of_its_file(ending, problem, tmp_path, monkeypatch):
    write_parquet(tmp_path / "d.parquet", RECORDS)
    monkeypatch.setattr(tables, "_COMMAND", (sys.executable, "-c", f"import os, signal, sys; {ending}"))
    assert items(tmp_path, Problem) == [Problem("d.parquet", 0, 0, problem)]
