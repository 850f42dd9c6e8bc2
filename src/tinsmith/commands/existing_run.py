"""Open the run folder that the user names on the command line."""

from pathlib import Path

from tinsmith.core.config import RunConfig
from tinsmith.core.config_file import validate_config
from tinsmith.core.errors import ArtifactError, UserError
from tinsmith.core.run_dir import RunDir, read_json
from tinsmith.pipeline.ownership import is_run


def existing_run(path: Path) -> RunDir:
    """The run in folder `path`.

    Raises:
        UserError: `path` is not a run folder.
    """
    run = RunDir(path)
    if not is_run(run):
        raise UserError(
            f"{path}: not a run folder (it has no {run.mark.name})",
            "Name a run folder, such as runs/demo. To create that one: tinsmith demo",
        )
    return run


def config_of(run: RunDir) -> RunConfig:
    """The configuration that a run was last run with.

    Raises:
        ArtifactError: its `config.json` is missing or not JSON.
        ConfigError: a key or value in it is invalid.
    """
    return validate_config(read_json(run.config), str(run.config))


def require_stage(run: RunDir, stage: str, problem: str) -> None:
    """Stop with `problem` unless `stage` has finished.

    Raises:
        ArtifactError: `stage` has not finished.
    """
    if not (run.stamp(stage).is_file() and run.stage(stage).is_dir()):
        raise ArtifactError(f"{run.root}: {problem}", "Finish the run first: tinsmith run CONFIG")
