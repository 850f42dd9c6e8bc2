"""Files are replaced whole or not at all, and nothing is written through a link."""

import errno
import os

import pytest

from fake_stages import files_end_at
from tinsmith.core.errors import ArtifactError
from tinsmith.core.run_dir import is_unfinished, read_json, read_stamp, tree_sha256s, write_json, write_text


def test_a_planted_link_is_replaced_and_its_target_left_alone(tmp_path):
    victim = tmp_path / "victim"
    victim.write_text("precious")
    path = tmp_path / "value.json"
    for planted in (path, tmp_path / "value.json.tmp"):
        planted.symlink_to(victim)
    write_json(path, {"a": 1})
    assert victim.read_text() == "precious"
    assert read_json(path) == {"a": 1} and not path.is_symlink()


def test_a_file_cannot_be_planted_under_the_name_of_an_unfinished_one(tmp_path, monkeypatch):
    monkeypatch.setattr("secrets.token_hex", lambda count: "0" * 2 * count)
    victim = tmp_path / "victim"
    victim.write_text("precious")
    (tmp_path / f".{'0' * 16}.tmp").symlink_to(victim)
    with pytest.raises(FileExistsError):
        write_text(tmp_path / "new.txt", "text")
    assert victim.read_text() == "precious"


def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "text.txt"
    write_text(path, "old")
    with files_end_at(1000), pytest.raises(OSError, match="too large"):
        write_text(path, "x" * 5000)
    assert path.read_text() == "old" and os.listdir(tmp_path) == ["text.txt"]


def test_a_killed_write_leaves_a_name_that_is_known(tmp_path, monkeypatch):
    names = []

    def killed(source, target):
        names.append(source)
        raise KeyboardInterrupt

    monkeypatch.setattr("os.replace", killed)
    with pytest.raises(KeyboardInterrupt):
        write_text(tmp_path / "text.txt", "new")
    assert is_unfinished(names[0]) and not is_unfinished(tmp_path / "notes.tmp")


def test_a_folder_that_cannot_be_listed_is_no_empty_folder(tmp_path, monkeypatch):
    (tmp_path / "adapter").mkdir()
    real = os.scandir

    def refuse(path):
        if str(path).endswith("adapter"):
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return real(path)

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(PermissionError):
        tree_sha256s(tmp_path)
    assert tree_sha256s(tmp_path / "missing") == {}


@pytest.mark.parametrize("content", ["{}", "[]", '{"fingerprint": "x"}'])
def test_a_damaged_stamp_is_named(tmp_path, content):
    path = tmp_path / "merge.json"
    path.write_text(content)
    with pytest.raises(ArtifactError, match=r"merge.json: no '") as error:
        read_stamp(path)
    assert "--from merge --force" in error.value.hint
