"""A disk error that a stage took for something else is still reported as what it is, with its place."""

import errno
import os
from dataclasses import replace

import pytest

from tinsmith.core.config import RunConfig
from tinsmith.core.errors import BaseModelError, UserError
from tinsmith.core.run_dir import RunDir
from tinsmith.pipeline import runner
from tinsmith.pipeline.stages import STAGES

UNEXPECTED = "tea/tokenizer.json: unexpected contents"
EIO = OSError(errno.EIO, os.strerror(errno.EIO), "/models/tea/tokenizer_config.json")
QUOTED = RuntimeError("Too many open files (os error 24)")
EXPLAINED = "/models/tea/tokenizer_config.json: cannot be read"


@pytest.mark.parametrize(
    ("cause", "message", "expected"),
    [
        (EIO, UNEXPECTED, "{run}: the run stopped: /models/tea/tokenizer_config.json: Input/output error"),
        (EIO, EXPLAINED, f"{EXPLAINED}: Input/output error"),
        (QUOTED, UNEXPECTED, "{run}: the run stopped: Too many open files"),
        (QUOTED, "{run}/tea.gguf: cannot be written", "{run}/tea.gguf: cannot be written: Too many open files"),
    ],
)
def test_the_disk_is_named_instead_of_the_model(monkeypatch, tmp_path, cause, message, expected):
    def fail(config, run, out_dir, context):
        raise BaseModelError(message.format(run=run.root), "Download it again.") from cause

    stage = replace(STAGES[0], run=fail, module="tinsmith.core.errors", outside=lambda config, run: None)
    monkeypatch.setattr(runner, "STAGES", (stage,))
    run = RunDir(tmp_path / "run")
    with pytest.raises(UserError) as error:
        runner.run_pipeline(RunConfig(), run, lambda text: None, "base", "base")
    assert error.value.message == expected.format(run=run.root)
    assert "Then run the same command again" in error.value.hint and "Download" not in error.value.hint
