"""Input that the machine cannot read: the advice is about the machine, not about the data."""

import errno
import os

import pytest

from tinsmith.core.config import DataConfig
from tinsmith.core.disk_errors import reading_advice
from tinsmith.core.errors import DataError
from tinsmith.core.scratch import scratch_folder
from tinsmith.core.stage_context import StageContext
from tinsmith.data import stage
from tinsmith.data.stage import check_data
from tinsmith.documents.reader_process import DocumentReader
from tinsmith.documents.unreadable import Unreadable
from tinsmith.knowledge.documents import passages_of_documents
from tinsmith.model.answers.questions import read_questions

LINES = "".join(f'{{"q": "Is {n} even or odd?", "a": "Look at {n}."}}\n' for n in range(12))


@pytest.fixture
def fails(monkeypatch):
    """Makes the system answer each opening or listing of `path` with an error, from the `first` on."""

    def fail(path, code, first=1):
        openings = 0

        def failing(function):
            def opened(name=".", *arguments, **keywords):
                nonlocal openings
                openings += str(name) == str(path)
                if str(name) == str(path) and openings >= first:
                    raise OSError(code, os.strerror(code), str(name))
                return function(name, *arguments, **keywords)

            return opened

        monkeypatch.setattr("io.open", failing(open))
        monkeypatch.setattr("os.scandir", failing(os.scandir))

    return fail


@pytest.mark.parametrize(
    ("code", "first"),
    [(errno.EIO, 1), (errno.EIO, 2), (errno.EIO, 3), (errno.EIO, 4), (errno.EACCES, 1), (errno.EMFILE, 1)],
)
def test_data_that_cannot_be_read(tmp_path, fails, code, first):
    path = tmp_path / "chats.jsonl"
    path.write_text(LINES)
    fails(path, code, first)
    with pytest.raises(DataError, match=rf"chats.jsonl: cannot be read \({os.strerror(code)}\)") as error:
        check_data(DataConfig(path=str(path)), seed=0)
    assert error.value.hint == reading_advice(OSError(code, ""), "")
    assert error.value.hint.endswith("Then run the same command again.")


def test_data_that_cannot_be_read_beside_broken_data(tmp_path, fails):
    (tmp_path / "broken.jsonl").write_text("{")
    (tmp_path / "chats.jsonl").write_text(LINES)
    fails(tmp_path / "chats.jsonl", errno.EIO)
    with pytest.raises(DataError, match=r"2 problem\(s\)") as error:
        check_data(DataConfig(path=str(tmp_path)), seed=0)
    assert error.value.hint.startswith("Correct these places. Check the disk")


def test_a_folder_that_cannot_be_listed(tmp_path, fails):
    """Part of the data would be missing; only a folder without permission is left out, and named."""
    (tmp_path / "chats.jsonl").write_text(LINES)
    (tmp_path / "faq.md").write_text("# Tea\n\nIt is brewed for three minutes.\n")
    (tmp_path / "more").mkdir()
    fails(tmp_path / "more", errno.EACCES)
    assert "folders that cannot be read (Permission denied)" in str(check_data(DataConfig(path=str(tmp_path)), 0))
    assert "folders that cannot be read (Permission denied)" in passages_of_documents(tmp_path).unused
    fails(tmp_path / "more", errno.EIO)
    with pytest.raises(OSError, match="Input/output error"):
        check_data(DataConfig(path=str(tmp_path)), seed=0)
    with pytest.raises(OSError, match="Input/output error"):
        passages_of_documents(tmp_path)


@pytest.mark.parametrize("code", [errno.EIO, errno.EMFILE, errno.EACCES])
def test_a_document_that_cannot_be_read(tmp_path, monkeypatch, code):
    """Others are not used without it, unless it is only not allowed to be read."""
    for name in ("a.md", "b.md"):
        (tmp_path / name).write_text(f"# Tea\n\nText of {name}.\n")
    read = DocumentReader.read

    def refuse_b(reader, path, ending):
        if path.name == "b.md":
            raise Unreadable("cannot be read", os.strerror(code)) from OSError(code, os.strerror(code), str(path))
        return read(reader, path, ending)

    monkeypatch.setattr(DocumentReader, "read", refuse_b)
    if code == errno.EACCES:
        assert passages_of_documents(tmp_path).unused["cannot be read"] == ["b.md: Permission denied"]
        with pytest.raises(DataError, match="no document in") as error:
            passages_of_documents(tmp_path / "b.md")
        assert error.value.__cause__.errno == code
    else:
        with pytest.raises(OSError, match=r"b\.md") as error:
            passages_of_documents(tmp_path)
        assert error.value.errno == code


def test_the_reader_of_documents_says_why_the_system_refused(tmp_path):
    (tmp_path / "folder.txt").mkdir()
    with DocumentReader() as reader, pytest.raises(Unreadable) as error:
        reader.read(tmp_path / "folder.txt", ".txt")
    assert error.value.__cause__.errno == errno.EISDIR and error.value.__cause__.filename.endswith("folder.txt")


def test_questions_that_cannot_be_read(tmp_path, fails):
    path = tmp_path / "questions.jsonl"
    path.write_text("{}")
    fails(path, errno.EMFILE)
    with pytest.raises(DataError, match="Too many open files") as error:
        read_questions(path)
    assert "ulimit" in error.value.hint
    with pytest.raises(DataError, match="No such file") as error:
        read_questions(tmp_path / "none.jsonl")
    assert error.value.hint == "Correct the path in the configuration."


def test_a_scratch_folder_that_must_go_is_not_left_in_a_result(tmp_path, monkeypatch):
    """It holds every conversation, and would be stamped with the splits."""
    with monkeypatch.context() as patch:
        patch.setattr("os.rmdir", refuse)
        with scratch_folder("left-", tmp_path) as folder:
            pass
        assert folder.exists()
        with pytest.raises(OSError, match="Input/output error"), scratch_folder("gone-", tmp_path, must_go=True):
            pass
        with pytest.raises(OSError, match="Input/output error"):
            stage.prepare_data(DataConfig(path=""), tmp_path, tmp_path, StageContext(0, print))
    assert [path.name[:7] for path in tmp_path.glob(".parts-*")] == [".parts-"]


def refuse(*arguments, **keywords):
    raise OSError(errno.EIO, os.strerror(errno.EIO))
