"""A folder that cannot be listed is never taken for an empty one."""

import errno
import os
from pathlib import Path

import pytest

import tinsmith
from tinsmith.core.disk_errors import disk_problem
from tinsmith.core.run_dir import entries, files_below
from tinsmith.derive.inventory import inventory
from tinsmith.export.models import StoredWeights
from tinsmith.model.private.published import text_files
from tinsmith.pipeline.stages import STAGE_NAMES


@pytest.fixture
def unlisted(tmp_path, monkeypatch):
    """A folder that the system refuses to list, with a file."""
    (tmp_path / "inner").mkdir()
    (tmp_path / "inner/file.txt").write_text("text")

    def refuse(folder="."):
        raise OSError(errno.EACCES, os.strerror(errno.EACCES), os.fspath(folder))

    monkeypatch.setattr(os, "listdir", refuse)
    monkeypatch.setattr(os, "scandir", refuse)
    return tmp_path / "inner"


@pytest.mark.parametrize("read", [entries, files_below, text_files, inventory, StoredWeights])
def test_a_folder_that_cannot_be_listed_is_an_error(unlisted, read):
    with pytest.raises(PermissionError) as error:
        read(unlisted)
    assert disk_problem(error.value).where == str(unlisted)


def test_what_is_in_a_folder(tmp_path):
    for name in ("b/two.json", "b/.hidden", "a.json"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    assert entries(tmp_path) == [tmp_path / "a.json", tmp_path / "b"]
    assert entries(tmp_path, "*.json") == [tmp_path / "a.json"]
    assert files_below(tmp_path) == [tmp_path / "a.json", tmp_path / "b/.hidden", tmp_path / "b/two.json"]
    for nothing in (tmp_path / "none", tmp_path / "a.json"):
        assert entries(nothing) == files_below(nothing) == []


def test_no_stage_lists_a_folder_in_another_way():
    """`Path.glob` takes what it cannot read for empty. Only estimates of free space may do so."""
    package = Path(tinsmith.__file__).parent
    places = (*STAGE_NAMES, "derive", "model", "pipeline", "assess", "documents", "app.py", "merge.py")
    files = [file for place in places for file in (package / place).rglob("*.py")]
    files += [package / place for place in places if (package / place).is_file()]
    assert len(files) > 100
    users = {file.relative_to(package).as_posix() for file in files if "glob(" in file.read_text(encoding="utf-8")}
    assert users == {"pipeline/free_space.py"}
