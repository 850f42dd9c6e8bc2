"""A data folder and exported tiny packages."""

import shutil

import pytest

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
    merge_dir = tmp_path_factory.mktemp("merge")
    shutil.copytree(tiny_llama if request.param == "llama" else tiny_gemma, merge_dir / "model")
    out_dir = tmp_path_factory.mktemp("export")
    return (
        request.param,
        merge_dir,
        out_dir,
        run_stage(export_int4, ExportConfig(recipe="gptq"), data_dir, merge_dir, out_dir, seed=1),
    )
