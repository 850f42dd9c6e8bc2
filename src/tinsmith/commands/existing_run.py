"""The run folder that a command names."""

from pathlib import Path

from tinsmith.core.config import RunConfig
from tinsmith.core.errors import ArtifactError, UserError
from tinsmith.core.run_dir import RunDir, read_json


def existing_run(path: Path) -> RunDir:
    """The run in `path`.

    Raises:
        UserError: `path` holds no run.
    """
    run = RunDir(path)
    if not run.config.is_file():
        raise UserError(f"{path}: not a run folder (no config.json)", "Such as runs/demo, made by: tinsmith demo")
    return run


def config_of(run: RunDir) -> RunConfig:
    """The configuration that a run was made with."""
    return RunConfig.model_validate(read_json(run.config))


def require_stage(run: RunDir, stage: str, problem: str) -> None:
    """Stop with `problem` unless `stage` has finished.

    Raises:
        ArtifactError: it has not.
    """
    if not run.stamp(stage).exists():
        raise ArtifactError(f"{run.root}: {problem}", "Finish the run first: tinsmith run CONFIG")
