"""Decide which folders tinsmith may replace: a run folder with its mark, and in it the folders of stamped stages.

The mark, `tinsmith-run.json`, is written when a run starts in a folder that is new or empty. It also says which
configuration file the run belongs to. Any other folder or file belongs to the user: tinsmith stops with a message and
touches nothing.
"""

import os
import shutil
from pathlib import Path

from tinsmith.core.errors import ArtifactError, UserError
from tinsmith.core.run_dir import RunDir, combined_sha256, is_unfinished, read_json, sync_folder, write_json

LOCK = ".lock"
_ELSEWHERE = 'Choose another name (name = "..." in the configuration, or --set name=...) or another folder with --runs.'


def configuration_id(config_path: Path, run: RunDir) -> str:
    """Id of a configuration file, from its path relative to the run folder.

    A project that is moved as a whole keeps its id. The id is a hash, so it reveals no path.
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
        configuration: A `configuration_id`. None matches every run, and a run without an id matches every id.

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
                f"{run.root}: not made by tinsmith (it has no {run.mark.name}) and not empty (it contains "
                f"{names[0]!r}); nothing was changed",
                _ELSEWHERE,
            )
        return
    for folder in (run.stamps, run.environments, run.work, run.received, run.imported, run.reviews, run.judgements):
        _refuse_link(folder)
    owner = _marked_configuration(run)
    if None not in (configuration, owner) and configuration != owner:
        raise UserError(
            f"{run.root}: this run belongs to another configuration file; nothing was changed",
            f"{_ELSEWHERE} If that file was only moved or renamed, add --adopt.",
        )


def mark_run(run: RunDir, configuration: str | None) -> None:
    """Mark the folder as a run of `configuration`. None leaves an existing mark unchanged."""
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
    """Stop if a stage would replace something that tinsmith did not write; changes nothing.

    Raises:
        UserError: the stage's folder is a link or a file, or the stage has never finished in this run.
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


def remove_unfinished(run: RunDir) -> None:
    """Remove files that a killed process has not finished writing, outside the stages' own folders."""
    for folder in (run.root, run.stamps, run.environments):
        for path in folder.iterdir() if folder.is_dir() else ():
            if is_unfinished(path):
                path.unlink()


def replace_stage_folder(run: RunDir, stage: str, work_dir: Path) -> None:
    """Move the complete output in `work_dir` to the stage's folder. Write the stage's stamp before you call this.

    Raises:
        UserError: the folder is not tinsmith's to replace (see `check_stage_folder`).
    """
    check_stage_folder(run, stage)
    folder, outdated = run.stage(stage), run.work / f"{stage}-outdated"
    remove(outdated)
    if folder.exists():
        os.replace(folder, outdated)
    try:
        os.replace(work_dir, folder)
    except OSError:
        if outdated.exists():
            os.replace(outdated, folder)
        raise
    sync_folder(run.root)
    remove(outdated)


def remove(path: Path) -> None:
    """Remove a file, a link (not its target), or a folder with its contents; ignores a missing path."""
    if path.is_symlink() or path.is_file():
        path.unlink()
    elif path.exists():
        shutil.rmtree(path)
