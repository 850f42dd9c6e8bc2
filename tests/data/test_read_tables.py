"""Tables in every dialect, workbooks, Parquet and Arrow files, packed files and files whose name lies."""

import gzip
import json
import shutil
import sys
import zipfile

import pyarrow
import pyarrow.parquet
import pytest

from reading import conversations, items
from table_files import write_parquet, write_saved_dataset, write_xlsx
from tinsmith.core.field_map import FieldMap
from tinsmith.data.read import find, table_reader, tables
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
