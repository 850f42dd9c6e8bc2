"""The real pipeline's stages with plain functions in place of the work, and a disk that ends files early."""

import resource
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import pytest

from tinsmith.core.measure import Measurement
from tinsmith.pipeline import runner
from tinsmith.pipeline.stages import STAGES


def write_epochs(config, run, out_dir, context):
    """A stage's work: one file, one measurement, one line of summary."""
    (out_dir / "file.txt").write_text(f"epochs {config.train.epochs}")
    context.recorder.take(Measurement(f"{out_dir.name.split('-')[0]}.n", 1, "count", 1, "calls", "test"))
    return ("done",)


def replace_stages(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every stage of the pipeline do `write_epochs`, and nobody look for data or a browser first."""
    stages = tuple(
        replace(stage, run=write_epochs, module="tinsmith.core.errors", outside=lambda config, run: None)
        for stage in STAGES
    )
    monkeypatch.setattr(runner, "STAGES", stages)
    monkeypatch.setattr("tinsmith.data.stage.check_data", lambda config, seed: None)
    monkeypatch.setattr("tinsmith.commands.run.require_browser", lambda *arguments: None)


@contextmanager
def files_end_at(size_bytes: int) -> Iterator[None]:
    """Let the system cut off every write past `size_bytes` of a file, as a full disk does."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
