"""The runtime that pages load: whole, patched, a copy, and without Node."""

import os

import pytest

from tinsmith.browser import runtime
from tinsmith.browser.runtime import WEB_DIR, file_digests, pinned_digests, runtime_folders, write_runtime
from tinsmith.core.errors import MissingDependency
from tinsmith.core.run_dir import copy_file, file_sha256


def test_files_and_their_sums(tmp_path):
    write_runtime(tmp_path)
    sums = dict(reversed(line.split("  ")) for line in (tmp_path / "SHA256SUMS").read_text().splitlines())
    assert sums.keys() == {path.name for path in tmp_path.iterdir()} - {"SHA256SUMS"}
    assert all(file_sha256(tmp_path / name) == digest for name, digest in sums.items())
    write_runtime(tmp_path)
    assert (tmp_path / "SHA256SUMS").read_text().count("\n") == len(sums)


def test_changing_a_written_runtime_changes_no_installed_file(tmp_path):
    write_runtime(tmp_path)
    installed = [path for folder in (*runtime_folders().values(), WEB_DIR) for path in folder.rglob("*")]
    inodes = {path.stat().st_ino for path in installed if path.is_file() and "node_modules" not in path.parts}
    assert inodes and not inodes & {path.stat().st_ino for path in tmp_path.iterdir()}


def test_no_node_and_no_node_modules_are_needed(tmp_path, monkeypatch):
    (tmp_path / "web").mkdir()
    for name in ("package-lock.json", "LICENSE.onnxruntime.txt"):
        copy_file(WEB_DIR / name, tmp_path / "web" / name)
    monkeypatch.setattr(runtime, "WEB_DIR", tmp_path / "web")
    monkeypatch.setenv("PATH", str(tmp_path))
    write_runtime(tmp_path / "runtime")
    assert (tmp_path / "runtime/ort-wasm-simd-threaded.wasm").stat().st_size > 10_000_000


def test_a_library_that_the_patches_do_not_fit_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(runtime, "_PATCHES", {"no such text": ""})
    with pytest.raises(MissingDependency, match="does not contain no such text exactly once"):
        write_runtime(tmp_path)


def test_every_file_is_compared_with_its_pinned_digest(tmp_path, monkeypatch):
    write_runtime(tmp_path / "good")
    pinned = pinned_digests()
    assert pinned == file_digests(tmp_path / "good") and pinned.keys() > set(runtime._SERVED)
    assert runtime.DIGESTS_FILE.read_text() == runtime.digests_script(pinned)
    original = runtime.copy_file

    def tampered(source, target):
        original(source, target)
        if target.name == "ort-wasm-simd-threaded.wasm":
            content = bytearray(target.read_bytes())
            content[len(content) // 2] ^= 1
            target.write_bytes(content)

    monkeypatch.setattr(runtime, "copy_file", tampered)
    with pytest.raises(MissingDependency, match=r"browser runtime: ort-wasm-simd-threaded\.wasm differ") as refusal:
        write_runtime(tmp_path / "bad")
    assert "npm" in refusal.value.hint


@pytest.mark.parametrize("size", [0, 1, 3_000_001])
def test_a_copy_has_the_bytes_and_none_of_the_ties(tmp_path, size):
    (tmp_path / "a").write_bytes(os.urandom(size))
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep/b").write_text("what was there")
    copy_file(tmp_path / "a", tmp_path / "deep/b")
    assert (tmp_path / "a").read_bytes() == (tmp_path / "deep/b").read_bytes()
    assert (tmp_path / "a").stat().st_ino != (tmp_path / "deep/b").stat().st_ino


def test_a_copy_works_where_the_kernel_cannot_make_it(tmp_path, monkeypatch):
    def refuse(*_):
        raise OSError(18, "Invalid cross-device link")

    monkeypatch.setattr(os, "copy_file_range", refuse, raising=False)
    (tmp_path / "a").write_bytes(b"tea" * 1000)
    copy_file(tmp_path / "a", tmp_path / "b")
    assert (tmp_path / "b").read_bytes() == b"tea" * 1000
