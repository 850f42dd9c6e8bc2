"""Arguments and options that several commands share."""

from pathlib import Path

import click

from tinsmith.pipeline.stages import STAGE_NAMES

PATH = click.Path(path_type=Path)


def _in_folder(context: click.Context, parameter: click.Parameter, path: Path) -> Path:
    """The `tinsmith.toml` of a folder; any other path as it is."""
    from tinsmith.core.config_file import CONFIG_NAME

    del context, parameter
    inner = path / CONFIG_NAME
    return inner if inner.is_file() else path


CONFIG = click.argument("config_path", metavar="CONFIG", type=PATH, callback=_in_folder)
RUN = click.argument("run_path", metavar="RUN", type=PATH)
RUNS = click.option(
    "--runs", "runs_dir", type=PATH, default=Path("runs"), show_default=True, help="Folder that contains the runs."
)
SET = click.option(
    "--set",
    "settings",
    multiple=True,
    metavar="KEY=VALUE",
    help="Change one key, such as train.epochs=1.",
)
FROM = click.option("--from", "first", type=click.Choice(STAGE_NAMES), default="base", help="First stage to run.")
TO = click.option("--to", "last", type=click.Choice(STAGE_NAMES), default="app", help="Last stage to run.")
FORCE = click.option("--force", is_flag=True, help="Run the stages even if they are up to date.")
ADOPT = click.option(
    "--adopt",
    is_flag=True,
    help="Continue a run even if its configuration file was replaced, moved or renamed.",
)
GROUPS = click.option(
    "--group",
    "groups",
    type=click.Choice(("trained", "reworded", "held_out")),
    multiple=True,
    default=("held_out",),
    show_default=True,
    help="Which questions: trained on, trained on in other words, or held out. May be repeated.",
)
JSON = click.option("--json", "as_json", is_flag=True, help="Also print the results as one line of JSON.")
