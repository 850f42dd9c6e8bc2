"""`tinsmith run`: all stages or some of them, and the table of results. Other commands that update a run use it too."""

import json
import sys
from pathlib import Path

import click

from tinsmith.commands.browser_check import require_browser
from tinsmith.commands.results_table import as_document, results_table
from tinsmith.core.config import RunConfig, load_config
from tinsmith.core.errors import UserError
from tinsmith.core.parallel import is_leader, join, leading
from tinsmith.core.run_dir import RunDir
from tinsmith.pipeline.runner import run_pipeline


def run(
    config_path: Path, runs_dir: Path, settings: tuple[str, ...], first: str, last: str, force: bool, as_json: bool
) -> None:
    """Bring the run of a configuration file up to date."""
    from tinsmith.data.stage import check_data

    config = load_config(config_path, settings)
    if first in ("base", "data"):
        check_data(config.data, config.seed)  # before a base model is fetched
    run_and_report(config, runs_dir, first, last, force, as_json)


def run_and_report(
    config: RunConfig, runs_dir: Path, first: str, last: str, force: bool = False, as_json: bool = False
) -> None:
    """Run the stages from `first` to `last`, print the results, and name the next command."""
    if not is_leader():
        _follow()
        return
    folder = RunDir(runs_dir / config.name)
    require_browser(folder, first, last)
    with leading():
        measurements = run_pipeline(config, folder, lambda line: click.echo(line, err=True), first, last, force)
    click.echo(results_table(measurements))
    is_finished = folder.stamp("app").exists()
    next_command = f"tinsmith serve {folder.root}" if is_finished else f"tinsmith run ... (continues after {last!r})"
    click.echo(f"\nNext: {next_command}", err=True)
    if as_json:
        click.echo(json.dumps(as_document(folder.root, measurements)))


def _follow() -> None:
    """Help the leader train. What fails here fails in the leader too, which reports it."""
    from tinsmith.train.stage import follow_leader

    join()
    try:
        follow_leader()
    except UserError:
        sys.exit(2)
