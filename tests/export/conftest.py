"""A data folder and exported tiny packages."""

import pickle
import shutil
from pathlib import Path

import pytest

from shared import build_once
from stage_runs import run_stage
from tinsmith.core.config import ExportConfig
from tinsmith.export.stage import export_int4
from tinsmith.model.conversations import write_jsonl
from tiny import tiny_conversations


@pytest.fixture(scope="session")
def data_dir(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    write_jsonl(folder / "train.jsonl", tiny_conversations(12))
    write_jsonl(folder / "val.jsonl", tiny_conversations(6, "You sell coffee. "))
    return folder


@pytest.fixture(scope="session", params=["llama", "gemma3"])
def exported(request, data_dir, tiny_llama, tiny_gemma, tmp_path_factory):
    """(kind, merge folder, export folder, stage result) for each architecture."""
    tiny = tiny_llama if request.param == "llama" else tiny_gemma

    def build(root: Path) -> None:
        shutil.copytree(tiny, root / "merge/model")
        (root / "export").mkdir()
        run = run_stage(export_int4, ExportConfig(recipe="gptq"), data_dir, root / "merge", root / "export", seed=1)
        (root / "run.pickle").write_bytes(pickle.dumps(run))

    root = build_once(tmp_path_factory, f"exported-{request.param}", build)
    return request.param, root / "merge", root / "export", pickle.loads((root / "run.pickle").read_bytes())
