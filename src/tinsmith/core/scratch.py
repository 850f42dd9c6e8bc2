"""Temporary folders. What a killed process leaves behind, the next one removes."""

import os
import shutil
import stat
import sys
import tempfile
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

_MIN_AGE_SECONDS = 60
"""A younger folder may belong to a process that has not locked it yet."""


@contextmanager
def scratch_folder(prefix: str, parent: Path | None = None, must_go: bool = False) -> Generator[Path]:
    """A new folder below `parent`, removed on exit.

    The folder is locked while it is in use. An unlocked folder of this user with the same prefix was left by a killed
    process, and is removed first.

    Args:
        prefix: Start of the folder's name, such as `tinsmith-browser-`.
        parent: Created if it is missing; by default the system's folder for temporary files.
        must_go: Whether it is an error if the folder cannot be removed, such as in a folder that will be published.

    Raises:
        OSError: the folder cannot be made, or cannot be removed and `must_go`.
    """
    parent = parent or Path(tempfile.gettempdir())
    parent.mkdir(parents=True, exist_ok=True)
    _remove_abandoned(prefix, parent)
    with tempfile.TemporaryDirectory(prefix=prefix, dir=parent, ignore_cleanup_errors=not must_go) as name:
        descriptor = _lock(Path(name))
        try:
            yield Path(name)
        finally:
            if descriptor is not None:
                os.close(descriptor)


def _remove_abandoned(prefix: str, parent: Path) -> None:
    if sys.platform == "win32":  # Windows cannot lock folders
        return
    for path in parent.glob(f"{prefix}*"):
        try:
            status = path.lstat()
        except FileNotFoundError:
            continue
        is_own_folder = stat.S_ISDIR(status.st_mode) and status.st_uid == os.getuid()
        if not is_own_folder or time.time() - status.st_mtime < _MIN_AGE_SECONDS:
            continue
        descriptor = _lock(path)
        if descriptor is not None:
            shutil.rmtree(path, ignore_errors=True)
            os.close(descriptor)


def _lock(folder: Path) -> int | None:
    """Lock the folder until the returned descriptor is closed. None if it is gone or another process has locked it."""
    if sys.platform == "win32":
        return None
    import fcntl

    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    except OSError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        return None
    return descriptor
