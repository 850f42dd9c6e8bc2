"""Two lines of stages to interrupt: the whole one on a tiny model, and a short one of stages that only write files."""

import shutil
from pathlib import Path

import pytest

from crash.line import Kind, Line
from crash.system_calls import unsupported
from e2e.conftest import write_project
from shared import build_once
from tinsmith.pipeline.stages import STAGE_NAMES

WHOLE = Kind(STAGE_NAMES, "replace_browsers", "crash.preloaded")
SHORT = Kind(("base", "data"), "replace_stages", "crash.preloaded_short")


def write_whole_project(folder: Path) -> None:
    """A tiny model, forty conversations, a document, and a configuration."""
    config = write_project(folder, "llama")
    config.write_text(config.read_text().replace('name = "llama"', 'name = "tea"'))


def write_short_project(folder: Path) -> None:
    """A configuration; the stages read nothing."""
    (folder / "tinsmith.toml").write_text('name = "tea"\n[base]\nmodel = "smollm2-135m-instruct"\n')


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
