"""Two lines of stages to interrupt: the whole one on a tiny model, and a short one of stages that only write files."""

import shutil
from pathlib import Path

import pytest

from crash.line import Kind, Line
from crash.projects import write_short_project, write_whole_project
from crash.system_calls import unsupported
from shared import build_once
from tinsmith.pipeline.stages import STAGE_NAMES

WHOLE = Kind(STAGE_NAMES, "replace_browsers", "crash.preloaded")
SHORT = Kind(("base", "data"), "replace_stages", "crash.preloaded_short")


@pytest.fixture(scope="session")
def whole_line(tmp_path_factory) -> Line:
    """The whole line, finished once."""
    return _line(WHOLE, tmp_path_factory, write_whole_project)


@pytest.fixture(scope="session")
def short_line(tmp_path_factory) -> Line:
    """The short line, finished once."""
    return _line(SHORT, tmp_path_factory, write_short_project)


def _line(kind: Kind, factory: pytest.TempPathFactory, write) -> Line:
    """A line of this process's own, from a project and snapshots that all of pytest's processes share."""
    if reason := unsupported():
        pytest.skip(reason)

    def build(folder: Path) -> None:
        (folder / "project").mkdir()
        write(folder / "project")
        Line(kind, folder / "project", folder / "snapshots").complete()

    built = build_once(factory, f"crash-{kind.stand_ins}", build)
    folder = factory.mktemp("crash") / "project"
    shutil.copytree(built / "project", folder)
    return Line(kind, folder, built / "snapshots")
