"""A folder of documents becomes passages, and everything that does not is named with its reason."""

import json
import os
import resource
import signal
import subprocess
import sys
import zipfile
import zlib
from pathlib import Path

import pytest

from document_files import W, write_docx, write_docx_parts, write_pdf, write_pdf_objects
from tinsmith.commands.check import check
from tinsmith.core.errors import DataError
from tinsmith.documents import reader, reader_process
from tinsmith.documents.reader_process import DocumentReader
from tinsmith.documents.unreadable import Unreadable
from tinsmith.knowledge.documents import passages_of_documents

WORDS = "amber basil cedar delta ember fjord grove heron inlet jewel koala lemon".split()


def body_lines(texts, top=700, size=11):
    return [(50, top - 14 * index, size, False, text) for index, text in enumerate(texts)]


def test_sections_of_all_formats(tmp_path):
    (tmp_path / "returns.md").write_text(
        "---\nurl: https://shop.example/r\ndate: 2026-03-01\n---\n# Returns\n\n30 days.\n"
    )
    (tmp_path / "hire").mkdir()
    (tmp_path / "hire" / "prices.html").write_text(
        '<link rel=canonical href="https://shop.example/hire"><h1>Hire</h1><h2 id="day">Day</h2><p>$18.</p>'
    )
    (tmp_path / "notes.txt").write_text("We are closed in July.\n")
    write_docx(tmp_path / "terms.docx", [("Title", "Terms"), ("Rubrik1", "Deposit"), ("", "It is $50.")], [["a", "b"]])
    write_pdf(tmp_path / "z.pdf", [[(50, 800, 20, True, "Storage"), *body_lines(["We store bikes.", "For 14 days."])]])
    documents = passages_of_documents(tmp_path)
    found = [
        (p.id, p.title, p.text, p.source.name, p.source.place, p.source.url, p.source.date) for p in documents.passages
    ]
    day = ("Hire > Day", "$18.", "hire/prices.html", "Hire > Day", "https://shop.example/hire#day", "")
    assert found == [
        ("hire/prices.html#day", *day),
        ("notes.txt#notes", "notes", "We are closed in July.", "notes.txt", "notes", "", ""),
        ("returns.md#returns", "Returns", "30 days.", "returns.md", "Returns", "https://shop.example/r", "2026-03-01"),
        ("terms.docx#deposit", "Deposit", "It is $50.\n\na | b", "terms.docx", "Deposit", "", ""),
        ("z.pdf#storage", "Storage", "We store bikes. For 14 days.", "z.pdf", "page 1", "", ""),
    ]
    assert list(documents.files) == ["hire/prices.html", "notes.txt", "returns.md", "terms.docx", "z.pdf"]
    assert documents.notes == []


def test_a_file_may_be_given_by_itself(tmp_path):
    (tmp_path / "a.md").write_text("# A\n\nOne.\n\n# A\n\nTwo.\n")
    (tmp_path / "b.md").write_text("# B\n\nNo.\n")
    assert [p.id for p in passages_of_documents(tmp_path / "a.md").passages] == ["a.md#a", "a.md#a-2"]


def test_everything_unused_is_named_once(tmp_path):
    (tmp_path / "good.md").write_text("# Good\n\nText.\n\nimage: ![x](x.png)\n")
    (tmp_path / "again.md").write_text("# Good\n\nText.\n\nimage:\n")
    for name in ("a.xlsx", "b.jpg", ".hidden.md"):
        (tmp_path / name).write_text("x")
    (tmp_path / "empty.txt").write_text(" \n")
    (tmp_path / "latin.md").write_bytes("Måndag".encode("latin-1"))
    (tmp_path / "old.docx").write_bytes(bytes.fromhex("d0cf11e0a1b11ae1") + b"x" * 99)
    (tmp_path / "torn.docx").write_bytes(b"PK\x03\x04 torn")
    (tmp_path / "torn.pdf").write_bytes(b"%PDF-1.5\nnothing")
    write_pdf(tmp_path / "scan.pdf", [[], []])
    (tmp_path / "nothing.html").write_text("<script>x</script>")
    (tmp_path / "broken.md").symlink_to(tmp_path / "missing.md")
    (tmp_path / "loop").symlink_to(tmp_path)
    os.mkfifo(tmp_path / "pipe.txt")
    os.mkdir(os.fsencode(tmp_path) + b"/f\xff")
    Path(os.fsdecode(os.fsencode(tmp_path) + b"/f\xff/n.md")).write_text("x")
    documents = passages_of_documents(tmp_path)
    assert [p.id for p in documents.passages] == ["again.md#good"]
    unused = {reason: sorted(names) for reason, names in documents.unused.items()}
    assert unused.pop("is a damaged Word document; save it again as .docx")[0].startswith("torn.docx: ")
    assert unused.pop("is a damaged PDF; export it again")[0].startswith("torn.pdf: ")
    assert unused == {
        f"not read, since only {', '.join(reader.ENDINGS)} are": ["a.xlsx", "b.jpg"],
        "hidden files": [".hidden.md"],
        "is empty": ["empty.txt"],
        "is not UTF-8 text; save it as UTF-8": ["latin.md: byte 1"],
        "needs a password, or is in Word's old format; save it as .docx without a password": ["old.docx"],
        "has only pictures and no text; recognise its text (OCR) first": ["scan.pdf: 2 pages"],
        "broken links or files that cannot be read (No such file or directory)": ["broken.md"],
        "links to folders, which are not followed": ["loop"],
        "no regular files": ["pipe.txt"],
        "names that are not UTF-8 or hold control characters; rename them": ["f\\xff/n.md"],
        "sections that repeat another": ["good.md: Good"],
        "pictures, whose text is not read": ["good.md: 1"],
        "no text of their own": ["good.md", "nothing.html"],
    }
    assert f"not read, since only {', '.join(reader.ENDINGS)} are: 2 (a.xlsx, b.jpg)" in documents.notes


def test_check_counts_documents_and_names_those_it_cannot_use(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    records = [{"q": f"Do you sell {word} {word[::-1]}?", "a": f"About {word}."} for word in WORDS]
    (tmp_path / "faq.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))
    (tmp_path / "shop").mkdir()
    (tmp_path / "shop" / "hire.md").write_text("# Hire\n\n## Day\n\n$18.\n\n## Week\n\n$80.\n")
    (tmp_path / "shop" / "empty.txt").write_text("")
    (tmp_path / "tinsmith.toml").write_text('[data]\npath = "faq.jsonl"\ndocuments = "shop"\n')
    check(tmp_path / "tinsmith.toml", (), None)
    shown = capsys.readouterr().out
    assert "documents: 2 sections in 1 file(s)\n  not used: is empty: 1 (empty.txt)\n" in shown


def test_a_folder_without_a_usable_document_is_an_error(tmp_path):
    with pytest.raises(DataError, match="does not exist"):
        passages_of_documents(tmp_path / "missing")
    (tmp_path / "a.xlsx").write_text("x")
    (tmp_path / "b.txt").write_text("")
    with pytest.raises(DataError) as error:
        passages_of_documents(tmp_path)
    assert "a.xlsx" in error.value.message and "is empty: 1 (b.txt)" in error.value.message
    assert "docx" in error.value.hint


def test_pdf_headings_tables_paragraphs_and_running_lines(tmp_path):
    def page(number, *pieces):
        return [(50, 830, 9, False, "Spoke & Pedal price list"), *pieces, (290, 20, 9, False, str(number))]

    table = [
        (50, 600, 11, True, "Service"),
        (300, 600, 11, True, "Price"),
        (50, 586, 11, False, "Puncture"),
        (300, 586, 11, False, "$14"),
        (50, 572, 11, False, "Brake bleed"),
        (300, 572, 11, False, "$38"),
    ]
    prose = [
        "Prices include value added tax and all of the small parts, and we never re-",
        "pair what you did not order.",
    ]
    more = ["We repair what you order and"]
    write_pdf(
        tmp_path / "p.pdf",
        [
            page(
                1,
                (50, 780, 22, True, "Workshop"),
                *body_lines([*prose, "Rules . . . . . . . . . 2"], 750),
                (50, 640, 15, True, "Services"),
                *table,
            ),
            page(2, (50, 780, 15, True, "Rules"), *body_lines(more, 750)),
            page(3, *body_lines(["nothing else.", "Ask us before."], 750)),
        ],
    )
    passages = passages_of_documents(tmp_path).passages
    assert [(p.title, p.source.place, p.text) for p in passages] == [
        (
            "Workshop",
            "page 1",
            "Prices include value added tax and all of the small parts, and we never repair what you did not order.",
        ),
        ("Workshop > Services", "page 1", "Service | Price\nPuncture | $14\nBrake bleed | $38"),
        ("Workshop > Rules", "page 2", "We repair what you order and nothing else.\n\nAsk us before."),
    ]


def test_a_narrow_table_is_known_by_its_columns(tmp_path):
    """Three lines begin at the same places, without a wide gap. Prose that is placed word by word does not count."""
    header = [(70, 700, 11, True, "Fitting"), (182, 700, 11, True, "Length"), (230, 700, 11, True, "Price")]
    rows = [
        ("Quick check of the saddle", "20 minutes", "$25"),
        ("Standard", "90 minutes", "$120"),
        ("Video", "2 h", "$9"),
    ]
    cells = [
        (x, 686 - 14 * number, 11, False, text)
        for number, row in enumerate(rows)
        for x, text in zip((50, 176, 232), row, strict=True)
    ]
    words = [(50 + 50 * column, 600 - 14 * line, 11, False, "word") for line in range(4) for column in range(8)]
    write_pdf(tmp_path / "p.pdf", [[(50, 800, 18, True, "Fitting"), *header, *cells, *words]])
    (passage,) = passages_of_documents(tmp_path).passages
    assert passage.text.split("\n")[:4] == [
        "Fitting | Length | Price",
        "Quick check of the saddle | 20 minutes | $25",
        "Standard | 90 minutes | $120",
        "Video | 2 h | $9",
    ]
    assert passage.text.count("word") == 32


def test_pages_without_text_are_counted(tmp_path):
    write_pdf(tmp_path / "p.pdf", [body_lines(["Some text."]), [], []])
    assert passages_of_documents(tmp_path).notes == ["pages without text: 1 (p.pdf: 2 (2, 3))"]


@pytest.mark.parametrize("password", ["", "secret"])
def test_encrypted_pdfs_are_read_only_without_a_password(tmp_path, password):
    from pypdf import PdfWriter

    write_pdf(tmp_path / "plain.pdf", [body_lines(["Some text."])])
    writer = PdfWriter(clone_from=tmp_path / "plain.pdf")
    writer.encrypt(user_password=password, owner_password="owner", algorithm="AES-256")
    writer.write(tmp_path / "locked.pdf")
    (tmp_path / "plain.pdf").unlink()
    if not password:
        assert [p.text for p in passages_of_documents(tmp_path).passages] == ["Some text."]
        return
    with pytest.raises(DataError, match="needs a password"):
        passages_of_documents(tmp_path)


def test_word_files_that_unpack_to_too_much_are_refused_unread(tmp_path):
    with (
        zipfile.ZipFile(tmp_path / "bomb.docx", "w", zipfile.ZIP_DEFLATED) as archive,
        archive.open("word/document.xml", "w") as part,
    ):
        for _ in range(reader.MAX_TEXT_BYTES // 1_000_000 * 6):
            part.write(b" " * 1_000_000)
    assert (tmp_path / "bomb.docx").stat().st_size < 100_000
    with DocumentReader() as documents, pytest.raises(Unreadable, match="unpacks to more than 50 MB"):
        documents.read(tmp_path / "bomb.docx", ".docx")


def test_word_files_with_entities_are_refused(tmp_path):
    entities = '<!DOCTYPE d [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;">]>'
    write_docx_parts(tmp_path / "e.docx", f'{entities}<w:document xmlns:w="{W}"><w:body>&b;</w:body></w:document>')
    with DocumentReader() as documents, pytest.raises(Unreadable, match="declares entities"):
        documents.read(tmp_path / "e.docx", ".docx")


def test_pdf_streams_that_unpack_to_too_much_end_with_a_reason(tmp_path):
    stream = zlib.compress(b"BT /R 11 Tf 50 700 Td (x) Tj ET\n" * 3_000_000, 9)
    objects = [
        b"<< /Type /Catalog /Pages 2 0 R >>",
        b"<< /Type /Pages /Kids [4 0 R] /Count 1 >>",
        b"<< /Length %d /Filter /FlateDecode >>\nstream\n%s\nendstream" % (len(stream), stream),
        b"<< /Type /Page /Parent 2 0 R /Resources << /Font << /R 5 0 R >> >> /Contents 3 0 R >>",
        b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>",
    ]
    write_pdf_objects(tmp_path / "bomb.pdf", objects)
    with DocumentReader() as documents, pytest.raises(Unreadable, match="more than 75 MB"):
        documents.read(tmp_path / "bomb.pdf", ".pdf")


def test_large_files_are_refused_by_size(tmp_path):
    for name, size in (("a.pdf", reader.MAX_PACKED_BYTES + 1), ("b.txt", reader.MAX_TEXT_BYTES + 1)):
        with (tmp_path / name).open("wb") as file:
            file.truncate(size)
        with pytest.raises(Unreadable, match="has more than 10"):
            reader.read_document(tmp_path / name, Path(name).suffix)


def test_a_file_that_takes_too_long_or_kills_the_reader_does_not_stop_the_others(tmp_path, monkeypatch):
    """The process is replaced by one that spins, dies or answers, as the file's name says."""
    program = """if 1:
        import json, os, signal, sys
        for line in sys.stdin:
            name = json.loads(line)["path"]
            if "spin" in name:
                signal.setitimer(signal.ITIMER_PROF, 0.2)
                while True:
                    pass
            if "die" in name:
                raise MemoryError("out of ideas")
            print(json.dumps({"unreadable": "", "detail": str(os.getpid())}), flush=True)
    """
    (tmp_path / "stand_in.py").write_text(program)
    monkeypatch.setattr(reader_process, "_COMMAND", ("-P", str(tmp_path / "stand_in.py")))
    answers = []
    with DocumentReader() as documents:
        for name in ("a", "spin", "b", "c", "die", "d"):
            with pytest.raises(Unreadable) as error:
                documents.read(Path(name), ".md")
            answers.append(str(error.value))
    assert "more than 180 seconds" in answers[1]
    assert "MemoryError: out of ideas" in answers[4]
    assert answers[2] == answers[3]
    assert len({answers[0], answers[2], answers[5]}) == 3


def test_the_reader_ends_when_a_file_takes_too_long():
    code = """if 1:
        import sys, tinsmith.documents.reader as r

        def spin(path):
            while True:
                pass

        r.MAX_CPU_SECONDS = 0.2
        r._READERS[".md"] = (10**9, spin)
        sys.stdin = ['{"path": "/dev/null", "ending": ".md"}']
        r.main()
    """
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (ended.returncode, ended.stdout) == (-signal.SIGPROF, "")


def test_deeply_nested_pages_are_refused_at_once(tmp_path):
    (tmp_path / "deep.html").write_text("<div>x" * 300_000)
    with pytest.raises(Unreadable, match="inside each other"):
        reader.read_document(tmp_path / "deep.html", ".html")


def test_the_reader_has_little_memory(tmp_path):
    """An allocation of three gigabytes fails in the reader, whose limit is two."""
    code = "import tinsmith.documents.reader as r, resource, sys; sys.stdin = []; r.main(); bytearray(3 * 10**9)"
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert "MemoryError" in ended.stderr
    assert resource.getrlimit(resource.RLIMIT_AS)[0] != reader.MAX_MEMORY_BYTES  # this process is not limited


def test_html_is_read_in_the_character_set_it_declares(tmp_path):
    (tmp_path / "a.html").write_bytes('<meta charset="windows-1252"><p>Öppet måndag'.encode("cp1252"))
    (tmp_path / "b.html").write_bytes(b'<meta charset="rot13"><p>x')
    documents = passages_of_documents(tmp_path)
    assert [p.text for p in documents.passages] == ["Öppet måndag"]
    assert list(documents.unused.values()) == [["b.html: rot13"]]
