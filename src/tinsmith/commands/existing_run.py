"""The run folder that a command names."""

from pathlib import Path

from tinsmith.core.config import RunConfig
from tinsmith.core.config_file import validated
from tinsmith.core.errors import ArtifactError, UserError
from tinsmith.core.run_dir import RunDir, read_json
from tinsmith.pipeline.ownership import is_run


def existing_run(path: Path) -> RunDir:
    """The run in `path`.

    Raises:
        UserError: `path` holds no run.
    """
    run = RunDir(path)
    if not is_run(run):
        raise UserError(
            f"{path}: not a run folder (it has no {run.mark.name})",
            "Name one such as runs/demo, which this command makes: tinsmith demo",
        )
    return run


def config_of(run: RunDir) -> RunConfig:
    """The configuration that a run was made with.

    Raises:
        ArtifactError: its `config.json` is missing or not JSON.
        ConfigError: its keys or values do not fit.
    """
    return validated(read_json(run.config), str(run.config))


def require_stage(run: RunDir, stage: str, problem: str) -> None:
    """Stop with `problem` unless `stage` has finished.

    Raises:
        ArtifactError: it has not.
    """
    if not (run.stamp(stage).is_file() and run.stage(stage).is_dir()):
        raise ArtifactError(f"{run.root}: {problem}", "Finish the run first: tinsmith run CONFIG")
