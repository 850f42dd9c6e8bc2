"""Folders that are built once a session, by whichever of pytest's processes asks first."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from filelock import FileLock


def build_once(factory: pytest.TempPathFactory, name: str, build: Callable[[Path], object]) -> Path:
    """A folder that `build(folder)` has filled, shared by all tests of the session; not to be written to.

    Args:
        factory: Says where the session's temporary files are.
        name: Names the folder within the session.
        build: Fills the folder it is given. Nothing is kept of one that raises.

    The environment variable `BUILT_ONCE` names a folder with some that earlier sessions built.
    """
    built = Path(os.environ.get("BUILT_ONCE", ""), name)
    if "BUILT_ONCE" in os.environ and built.is_dir():
        return built
    folder = shared_folder(factory) / name
    with FileLock(folder.with_name(f"{name}.lock")):
        if not folder.exists():
            unfinished = Path(factory.mktemp(f"building-{name}"))
            build(unfinished)
            unfinished.rename(folder)
    return folder


def shared_folder(factory: pytest.TempPathFactory) -> Path:
    """A folder that all of pytest's processes share."""
    session = factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        session = session.parent  # every worker has a folder of its own in the session's
    folder = session / "shared"
    folder.mkdir(parents=True, exist_ok=True)
    return folder
