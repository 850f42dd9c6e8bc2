"""Files are replaced whole or not at all, and nothing is written through a link."""

import errno
import hashlib
import os
import stat
from contextlib import suppress
from pathlib import Path

import pytest

from fake_stages import files_end_at
from tinsmith.core.errors import ArtifactError
from tinsmith.core.run_dir import (
    RunDir,
    cache_dir,
    combined_sha256,
    copy_file,
    file_sha256,
    is_unfinished,
    link_or_copy,
    read_json,
    read_stamp,
    replacing,
    sync_tree,
    tree_sha256s,
    write_bytes,
    write_checksums,
    write_json,
    write_text,
)


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


def test_parts_of_a_run_have_the_names_that_finished_runs_have(tmp_path):
    run = RunDir(tmp_path)
    files = {
        run.mark: "tinsmith-run.json",
        run.config: "config.json",
        run.measurements: "measurements.jsonl",
        run.failed_gates: "failed_gates.jsonl",
        run.environments: "environments",
        run.received: "received",
        run.reviews: "imported/reviews",
        run.judgements: "imported/judgements",
        run.stamp("data"): "stamps/data.json",
        run.work: ".work",
        run.stage("data"): "data",
    }
    assert {path.relative_to(tmp_path).as_posix(): name for path, name in files.items()} == {
        name: name for name in files.values()
    }


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def test_checksums_are_of_every_other_file_below_the_folder(tmp_path):
    for name in ("b.txt", "a/c.txt"):
        write_bytes(tmp_path / name, name.encode())
    sha256s = {"a/c.txt": sha256(b"a/c.txt"), "b.txt": sha256(b"b.txt")}
    assert list(tree_sha256s(tmp_path).items()) == sorted(sha256s.items())
    for _ in range(2):  # an old list is no part of the new one
        write_checksums(tmp_path)
        lines = (tmp_path / "SHA256SUMS").read_text()
        assert lines == "".join(f"{digest}  {name}\n" for name, digest in sorted(sha256s.items()))
    assert file_sha256(tmp_path / "b.txt") == sha256s["b.txt"]
    (tmp_path / "a" / "link").symlink_to(tmp_path / "b.txt")
    with pytest.raises(ArtifactError, match=r"a/link: symbolic link in a run folder") as error:
        tree_sha256s(tmp_path)
    assert error.value.hint == "Replace it with the file itself."


def test_a_combined_digest_does_not_depend_on_the_order_of_keys():
    one, other = {"a": 1, "b": {"c": "é", "d": [2]}}, {"b": {"d": [2], "c": "é"}, "a": 1}
    text = '{"a": 1, "b": {"c": "é", "d": [2]}}'
    assert combined_sha256(one) == combined_sha256(other) == sha256(text.encode())


@pytest.fixture
def operations(monkeypatch):
    """What reaches the disk, in order: names of files and folders that are flushed, and renames."""
    happened = []
    sync, replace = os.fsync, os.replace

    def fsync(descriptor):
        happened.append(Path(os.readlink(f"/proc/self/fd/{descriptor}")).name)
        sync(descriptor)

    def rename(source, target):
        happened.append(f"rename to {Path(target).name}")
        replace(source, target)

    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(os, "replace", rename)
    return happened


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="reads the names of open files in /proc")
def test_content_is_flushed_before_the_rename_and_the_folder_after_it(operations, tmp_path):
    write_text(tmp_path / "folder" / "a.txt", "a")
    unfinished, *others = operations
    assert is_unfinished(Path(unfinished)) and others == ["rename to a.txt", "folder"]
    assert os.listdir(tmp_path / "folder") == ["a.txt"]


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="reads the names of open files in /proc")
def test_a_tree_is_flushed_with_every_file_and_folder_and_itself_last(operations, tmp_path):
    (tmp_path / "in" / "deep").mkdir(parents=True)
    (tmp_path / "in" / "deep" / "a.txt").write_text("a")
    (tmp_path / "in" / "b.txt").write_text("b")
    sync_tree(tmp_path / "in")
    assert sorted(operations) == ["a.txt", "b.txt", "deep", "in"] and operations[-1] == "in"


def test_a_new_file_has_the_permissions_that_the_user_wants(tmp_path):
    old = os.umask(0o027)
    try:
        write_text(tmp_path / "a.txt", "é")
    finally:
        os.umask(old)
    assert stat.S_IMODE((tmp_path / "a.txt").stat().st_mode) == 0o640
    assert (tmp_path / "a.txt").read_bytes() == "é".encode()


def test_an_error_inside_the_block_leaves_no_file(tmp_path):
    with suppress(KeyboardInterrupt), replacing(tmp_path / "new" / "a.txt") as path:
        path.write_text("half")
        raise KeyboardInterrupt
    assert os.listdir(tmp_path / "new") == []


@pytest.mark.parametrize(
    ("name", "is_one"),
    [
        (".0123456789abcdef.tmp", True),
        ("x.0123456789abcdef.tmp", False),
        (".0123456789abcde.tmp", False),
        (".0123456789abcdef.tmp2", False),
        (".0123456789abcdeg.tmp", False),
    ],
)
def test_names_of_unfinished_files(name, is_one):
    assert is_unfinished(Path("folder") / name) is is_one


def test_json_is_indented_readable_and_without_nan(tmp_path):
    path = tmp_path / "a.json"
    write_json(path, {"b": "é", "a": [1]})
    assert path.read_bytes() == '{\n  "b": "é",\n  "a": [\n    1\n  ]\n}\n'.encode()
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(path, float("nan"))
    assert read_json(path) == {"b": "é", "a": [1]}


def test_json_that_is_missing_or_damaged_is_named_with_what_to_do(tmp_path):
    path = tmp_path / "a.json"
    with pytest.raises(ArtifactError) as error:
        read_json(path)
    assert (error.value.message, error.value.hint) == (
        f"{path}: missing",
        "Run the stage that writes it: tinsmith run",
    )
    for content in (b"{", b'"\xff"'):
        path.write_bytes(content)
        with pytest.raises(ArtifactError) as error:
            read_json(path)
        assert error.value.message.startswith(f"{path}: not JSON (")
        assert error.value.hint == "Run its stage again with --force."


def test_a_stamp_has_three_keys(tmp_path):
    stamp = {"fingerprint": "x", "outputs": {}, "measurements": 3}
    write_json(tmp_path / "merge.json", stamp)
    assert read_stamp(tmp_path / "merge.json") == stamp
    for key in stamp:
        write_json(tmp_path / "merge.json", {name: value for name, value in stamp.items() if name != key})
        with pytest.raises(ArtifactError, match=f"no '{key}'"):
            read_stamp(tmp_path / "merge.json")


CONTENT = bytes(range(256)) * 5000  # more than the blocks that are copied at a time


@pytest.fixture
def source(tmp_path) -> Path:
    (tmp_path / "source.bin").write_bytes(CONTENT)
    return tmp_path / "source.bin"


def test_a_copy_replaces_a_link_and_is_a_file_of_its_own(source, tmp_path):
    target, other = tmp_path / "new" / "copy.bin", tmp_path / "other"
    other.write_text("precious")
    target.parent.mkdir()
    target.symlink_to(other)
    copy_file(source, target)
    assert target.read_bytes() == CONTENT and not target.is_symlink() and other.read_text() == "precious"
    target.write_text("changed")
    copy_file(source, tmp_path / "deep" / "er" / "copy.bin")
    assert source.read_bytes() == (tmp_path / "deep" / "er" / "copy.bin").read_bytes() == CONTENT


@pytest.mark.parametrize("code", [errno.EXDEV, errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP])
def test_what_the_kernel_cannot_copy_is_copied_by_hand_from_the_start(source, tmp_path, monkeypatch, code):
    calls = []

    def half(source_descriptor, target_descriptor, count):
        if calls:
            raise OSError(code, "cannot")
        calls.append(count)
        return os.sendfile(target_descriptor, source_descriptor, None, 1000)

    monkeypatch.setattr(os, "copy_file_range", half)
    copy_file(source, tmp_path / "copy.bin")
    assert calls and (tmp_path / "copy.bin").read_bytes() == CONTENT


def test_other_errors_of_the_kernel_and_other_systems(source, tmp_path, monkeypatch):
    def full(*arguments):
        raise OSError(errno.ENOSPC, "full")

    monkeypatch.setattr(os, "copy_file_range", full)
    with pytest.raises(OSError, match="full"):
        copy_file(source, tmp_path / "copy.bin")
    monkeypatch.setattr("sys.platform", "darwin")
    copy_file(source, tmp_path / "copy.bin")
    assert (tmp_path / "copy.bin").read_bytes() == CONTENT


def test_a_link_saves_space_and_a_copy_stands_in_for_it(source, tmp_path, monkeypatch):
    target = tmp_path / "deep" / "er" / "link.bin"
    for _ in range(2):  # the second replaces the first
        link_or_copy(source, target)
        assert target.samefile(source)

    def refuse(*arguments):
        raise OSError(errno.EPERM, "no links here")

    monkeypatch.setattr(os, "link", refuse)
    link_or_copy(source, target)
    assert target.read_bytes() == CONTENT and not target.samefile(source)


def test_where_the_cache_is(tmp_path, monkeypatch):
    monkeypatch.setenv("TINSMITH_CACHE", str(tmp_path / "own"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache_dir() == tmp_path / "own"
    monkeypatch.delenv("TINSMITH_CACHE")
    assert cache_dir() == tmp_path / "xdg" / "tinsmith"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert cache_dir() == tmp_path / "home" / ".cache" / "tinsmith"
