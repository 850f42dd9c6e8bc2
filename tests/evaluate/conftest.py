"""A tiny base, a tiny tuned model, and the INT4 package the real exporter makes of it."""

from dataclasses import dataclass
from pathlib import Path

import pytest

from shared import build_once
from stage_runs import run_stage
from tinsmith.core.config import ExportConfig
from tinsmith.model.conversations import write_jsonl
from tiny import build_tiny, tiny_conversations


@dataclass(frozen=True)
class Line:
    """Folders of the stages before evaluation."""

    base: Path
    data: Path
    merge: Path
    export: Path

    @property
    def package(self) -> Path:
        return self.export / "package"

    @classmethod
    def below(cls, root: Path) -> "Line":
        return cls(*(root / name for name in ("base", "data", "merge", "export")))


def line_of(kind: str, factory: pytest.TempPathFactory) -> Line:
    return Line.below(build_once(factory, f"line-{kind}", lambda root: build_line(kind, root)))


def build_line(kind: str, root: Path) -> None:
    from tinsmith.export.stage import export_int4

    line = Line.below(root)
    build_tiny(kind, line.base / "model")
    build_tiny(kind, line.merge / "model", seed=1)
    line.data.mkdir()
    conversations = tiny_conversations(30)
    for name, part in (("train", conversations[:14]), ("val", conversations[14:20]), ("test", conversations[20:])):
        write_jsonl(line.data / f"{name}.jsonl", part)
    line.export.mkdir()
    run_stage(export_int4, ExportConfig(recipe="rtn"), line.data, line.merge, line.export, seed=1)


@pytest.fixture(scope="session")
def llama_line(tmp_path_factory) -> Line:
    return line_of("llama", tmp_path_factory)


@pytest.fixture(scope="session")
def gemma_line(tmp_path_factory) -> Line:
    """Its sliding window of 16 is shorter than every conversation."""
    return line_of("gemma3", tmp_path_factory)


@pytest.fixture(scope="session", params=["llama", "gemma3"])
def line(request) -> Line:
    return request.getfixturevalue({"llama": "llama_line", "gemma3": "gemma_line"}[request.param])
