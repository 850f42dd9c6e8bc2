"""`tinsmith check`: what would be used of the data, dropped and repaired, and why."""

from pathlib import Path

import click

from tinsmith.core.config import load_config
from tinsmith.data.report import report_lines
from tinsmith.data.stage import check_data


def check(config_path: Path, settings: tuple[str, ...]) -> None:
    """Print the data report of a configuration file."""
    config = load_config(config_path, settings)
    for line in report_lines(check_data(config.data, config.seed)):
        click.echo(line)
    click.echo(f"\nNext: tinsmith run {config_path}", err=True)
