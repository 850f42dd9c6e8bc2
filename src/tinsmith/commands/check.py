"""`tinsmith check`: report which records a run would use, drop or repair, and why."""

from pathlib import Path

from tinsmith.commands.terminal import say_next, set_options, show
from tinsmith.core.config_file import load_config
from tinsmith.data.report import report_lines
from tinsmith.data.stage import check_data


def check(config_path: Path, settings: tuple[str, ...]) -> None:
    """Print the data report of a configuration file.

    Raises:
        ConfigError: keys or values are invalid.
        DataError: the data cannot be used.
    """
    config = load_config(config_path, settings)
    for line in report_lines(check_data(config.data, config.seed)):
        show(line)
    say_next("run", config_path, *set_options(settings))
