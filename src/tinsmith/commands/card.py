"""`tinsmith card`: the model card rendered again, or verified."""

from pathlib import Path

import click

from tinsmith.commands.existing_run import config_of, existing_run
from tinsmith.commands.run import run_and_report
from tinsmith.core.errors import ArtifactError, listing


def card(run_path: Path, check_only: bool) -> None:
    """Render a run's card, or with `check_only` verify the one that is there.

    Raises:
        ArtifactError: a number or file is not what it was.
    """
    from tinsmith.card.verify import check_card

    run = existing_run(run_path)
    if not check_only:
        run_and_report(config_of(run), run.root.parent, "card", "app", force=True)
        return
    problems = check_card(run)
    if problems:
        raise ArtifactError(
            f"{run.root}: the card does not hold ({len(problems)} problem(s))\n{listing(problems)}",
            f"If a change was meant: tinsmith card {run.root}",
        )
    click.echo(f"{run.root}: every number on the card matches its source, every file its hash")
