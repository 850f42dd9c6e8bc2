"""`tinsmith card`: render the model card again, or verify it."""

from pathlib import Path

from tinsmith.commands.existing_run import config_of, existing_run
from tinsmith.commands.run import RunOptions, run_and_report
from tinsmith.commands.terminal import show, typed
from tinsmith.core.errors import ArtifactError, listing
from tinsmith.core.run_dir import RunDir


def card(run_path: Path, check_only: bool) -> None:
    """Render a run's card again, or only verify it if `check_only`.

    Raises:
        ArtifactError: a number or file has changed since it was recorded.
    """
    run = existing_run(run_path)
    if not check_only:
        run_and_report(config_of(run), run, RunOptions(first="card", last="app", force=True))
        return
    require_true_card(run)
    show(f"{run.root}: every number on the card matches its source, every file its hash")


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
