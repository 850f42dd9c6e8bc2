"""Which folders tinsmith may replace: a run folder that carries a mark, and in it the folders of stamped stages.

The mark, `tinsmith-run.json`, is written when a run starts in a place that did not exist or was empty. It also says
which configuration file the run belongs to. Everything else that happens to lie at a run's place is somebody's work:
tinsmith stops with a message and touches nothing.
"""

import os
import shutil
from pathlib import Path

from tinsmith.core.errors import ArtifactError, UserError
from tinsmith.core.run_dir import RunDir, combined_sha256, is_unfinished, read_json, sync_folder, write_json

LOCK = ".lock"
_ELSEWHERE = 'Choose another name (name = "..." in the configuration, or --set name=...) or another folder with --runs.'


def configuration_id(config_path: Path, run: RunDir) -> str:
    """Identifies a configuration file by where it lies relative to a run folder.

    A project that is moved as a whole keeps its id, and the id gives no path away.
    """
    try:
        place = os.path.relpath(config_path.resolve(), run.root.resolve())
    except ValueError:  # another drive on Windows
        place = str(config_path.resolve())
    return combined_sha256(Path(place).as_posix())[:16]


def check_run_folder(run: RunDir, configuration: str | None) -> None:
    """Stop unless the run's folder is new, empty, or tinsmith's own and made for `configuration`; changes nothing.

    Args:
        run: The run folder.
        configuration: A `configuration_id`; None accepts a run of any configuration. So does a run of none.

    Raises:
        UserError: the folder is somebody else's, or the run belongs to another configuration file.
    """
    if not os.path.lexists(run.root):
        return
    if not run.root.is_dir():
        raise UserError(f"{run.root}: there is a file or a broken link where the run folder should be", _ELSEWHERE)
    if not is_run(run):
        names = sorted(path.name for path in run.root.iterdir() if path.name != LOCK and not is_unfinished(path))
        if names:
            raise UserError(
                f"{run.root}: not made by tinsmith (it has no {run.mark.name}) and not empty (it holds {names[0]!r}); "
                "nothing was changed",
                _ELSEWHERE,
            )
        return
    for folder in (run.stamps, run.environments, run.work, run.received):
        _refuse_link(folder)
    owner = _marked_configuration(run)
    if None not in (configuration, owner) and configuration != owner:
        raise UserError(
            f"{run.root}: this run belongs to another configuration file; nothing was changed",
            f"{_ELSEWHERE} If that file was only moved or renamed, add --adopt.",
        )


def mark_run(run: RunDir, configuration: str | None) -> None:
    """Make `run` a run of `configuration`; None keeps the configuration that it has."""
    if not is_run(run) or configuration not in (None, _marked_configuration(run)):
        write_json(run.mark, {"made_by": "tinsmith", "configuration": configuration})


def is_run(run: RunDir) -> bool:
    """Whether tinsmith made this folder."""
    return run.mark.is_file() and not run.mark.is_symlink()


def _marked_configuration(run: RunDir) -> str | None:
    mark = read_json(run.mark)
    if not isinstance(mark, dict) or "configuration" not in mark:
        raise ArtifactError(f"{run.mark}: not the mark of a run", "Restore it from a copy, or choose another name.")
    return mark["configuration"]


def check_stage_folder(run: RunDir, stage: str) -> None:
    """Stop if something lies in the place of a stage's output that tinsmith did not put there; changes nothing.

    Raises:
        UserError: it is a link or a file, or the stage has never finished in this run.
    """
    folder = run.stage(stage)
    _refuse_link(folder)
    if folder.exists() and not (folder.is_dir() and run.stamp(stage).is_file()):
        raise UserError(
            f"{folder}: the stage {stage!r} would replace it, but no stamp says that tinsmith made it; "
            "nothing was changed",
            "Move it elsewhere, then run the same command again.",
        )


def _refuse_link(path: Path) -> None:
    if path.is_symlink():
        raise UserError(
            f"{path}: a link; tinsmith follows no links inside a run folder",
            "Put the folder itself in its place, or remove the link. The run folder as a whole may be a link.",
        )


def replace_stage_folder(run: RunDir, stage: str, work_dir: Path) -> None:
    """Move the complete output in `work_dir` to its place. The stage's stamp must have been written already.

    Raises:
        UserError: something else lies there (see `check_stage_folder`).
    """
    check_stage_folder(run, stage)
    folder, outdated = run.stage(stage), run.work / f"{stage}-outdated"
    remove(outdated)
    if folder.exists():
        os.replace(folder, outdated)
    os.replace(work_dir, folder)
    sync_folder(run.root)
    remove(outdated)


def remove(path: Path) -> None:
    """Remove a file, a link (not its target), or a folder with all it holds; does nothing if there is none."""
    if path.is_symlink() or path.is_file():
        path.unlink()
    elif path.exists():
        shutil.rmtree(path)
