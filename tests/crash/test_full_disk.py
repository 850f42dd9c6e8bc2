"""A real disk that is full, and one that is read-only: a message, earlier results, and a next command that works."""

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from crash.conftest import SHORT, WHOLE
from crash.line import Line

MB = 1_000_000
_SIZE_MB = 400


@contextmanager
def _small_disk(folder: Path) -> Iterator[Path]:
    """`folder` as a file system of its own."""
    folder.mkdir(exist_ok=True)
    command = ["mount", "-t", "tmpfs", "-o", f"size={_SIZE_MB}m", "tmpfs", str(folder)]
    if shutil.which("mount") is None or subprocess.run(command, capture_output=True).returncode:
        pytest.skip("this machine does not let tests mount a small disk")
    try:
        yield folder
    finally:
        subprocess.run(["umount", folder], check=True)


@contextmanager
def _read_only(folder: Path) -> Iterator[None]:
    subprocess.run(["mount", "-o", "remount,ro", folder], check=True)
    try:
        yield
    finally:
        subprocess.run(["mount", "-o", "remount,rw", folder], check=True)


def _fill(folder: Path, free_bytes: int) -> Path:
    """Write a file that leaves so much space, and return it."""
    filler = folder / "filler"
    status = os.statvfs(folder)
    with filler.open("wb") as file:
        os.posix_fallocate(file.fileno(), 0, max(1, status.f_bavail * status.f_frsize - free_bytes))
    return filler


def _check_stop(line: Line, stage: str, reason: str) -> None:
    ended = line.bring_up_to(stage)
    assert ended.code == 2 and reason in ended.text, ended.text[-2000:]
    assert "Traceback" not in ended.text and len(re.findall(r"^error: .*runs", ended.text, re.MULTILINE)) == 1
    line.check_kept(stage)


def _fill_at_every_size(line: Line, stage: str, sizes: tuple[int, ...]) -> int:
    """Run the stage with so many bytes left, from none on, until it succeeds; returns how often it did not."""
    stopped = 0
    for free_bytes in sizes:
        line.go_back_to(stage)
        filler = _fill(line.folder / "runs", free_bytes)
        if line.bring_up_to(stage).code == 0:
            line.check_finished(stage)
            filler.unlink()
            break
        _check_stop(line, stage, "No space left on device")
        stopped += 1
        filler.unlink()
        assert line.bring_up_to(stage).code == 0
        line.check_finished(stage)
    return stopped


@pytest.fixture
def short_on_a_small_disk(short_line, tmp_path) -> Iterator[Line]:
    with _on_a_small_disk(replace(short_line.kind, stand_ins="replace_stages_and_know_no_space"), short_line) as line:
        yield line


@contextmanager
def _on_a_small_disk(kind, line: Line) -> Iterator[Line]:
    shutil.rmtree(line.folder / "runs", ignore_errors=True)
    with _small_disk(line.folder / "runs"):
        yield Line(kind, line.folder, line.snapshots)


def test_a_disk_that_fills_up(short_on_a_small_disk):
    assert _fill_at_every_size(short_on_a_small_disk, SHORT.stages[-1], (0, 40_000, 100_000, MB)) == 3


def test_a_read_only_disk(short_on_a_small_disk):
    line, stage = short_on_a_small_disk, SHORT.stages[-1]
    line.go_back_to(stage)
    with _read_only(line.folder / "runs"):
        _check_stop(line, stage, "Read-only file system")
    assert line.bring_up_to(stage).code == 0
    line.check_finished(stage)


@pytest.mark.long
@pytest.mark.parametrize("stage", WHOLE.stages)
def test_every_stage_on_a_disk_that_fills_up(whole_line, stage):
    sizes = (0, *(4096 * 3**power for power in range(9)))
    with _on_a_small_disk(replace(WHOLE, stand_ins="replace_browsers_and_know_no_space"), whole_line) as line:
        assert _fill_at_every_size(line, stage, sizes) >= 2


@pytest.mark.long
@pytest.mark.parametrize("stage", WHOLE.stages)
def test_every_stage_says_before_it_starts_that_a_disk_is_too_small(whole_line, stage):
    with _on_a_small_disk(WHOLE, whole_line) as line:
        line.go_back_to(stage)
        filler = _fill(line.folder / "runs", 20 * MB)
        _check_stop(line, stage, f"the stage {stage!r} needs about ")
        filler.unlink()
        assert line.bring_up_to(stage).code == 0
        line.check_finished(stage)
