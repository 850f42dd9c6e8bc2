"""`tinsmith card`: render the model card again, or verify it."""

from pathlib import Path

from tinsmith.commands.existing_run import config_of, existing_run
from tinsmith.commands.run import RunOptions, run_and_report
from tinsmith.commands.terminal import show, typed
from tinsmith.core.errors import ArtifactError, listing
from tinsmith.core.run_dir import RunDir
from tinsmith.pipeline.ownership import is_run


def card(run_path: Path, check_only: bool) -> None:
    """Render a run's card again, or only verify it if `check_only`. A published folder can only be verified.

    Raises:
        ArtifactError: a number or file has changed since it was recorded.
    """
    if check_only and _is_published(run_path):
        _require_true_copy(run_path)
        return
    run = existing_run(run_path)
    if not check_only:
        run_and_report(config_of(run), run, RunOptions(first="card", last="app", force=True))
        return
    require_true_card(run)
    show(f"{run.root}: every number on the card matches its source, every file its hash")


def _is_published(folder: Path) -> bool:
    from tinsmith.card.verify_published import is_published

    return not is_run(RunDir(folder)) and is_published(folder)


def _require_true_copy(folder: Path) -> None:
    from tinsmith.card.verify_published import check_published, derived_share

    problems = check_published(folder)
    if problems:
        raise ArtifactError(
            f"{folder}: the card does not match its evidence ({len(problems)} problem(s))\n{listing(problems)}",
            "Publish it again from the run.",
        )
    derived, total = derived_share(folder)
    show(
        f"{folder}: the card follows from its evidence, and every file has its hash; {derived} of {total} numbers were "
        "derived again, the others rest on texts that are not published"
    )


def require_true_card(run: RunDir) -> None:
    """Stop if a number or file of the run contradicts its card or its stamps.

    Raises:
        ArtifactError: one does; the message lists them.
    """
    from tinsmith.card.verify import check_card

    problems = check_card(run)
    if problems:
        raise ArtifactError(
            f"{run.root}: the card does not match the run ({len(problems)} problem(s))\n{listing(problems)}",
            f"If the change was intended, render it again: {typed('card', run.root)}",
        )
