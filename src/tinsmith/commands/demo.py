"""`tinsmith demo`: the whole pipeline on a small base model and public questions and answers."""

import importlib.resources
import importlib.util
from pathlib import Path

from tinsmith.commands.run import RunOptions, run_and_report
from tinsmith.core.config_file import load_config
from tinsmith.core.errors import MissingDependency
from tinsmith.core.run_dir import RunDir

DATA_PACKAGE = "zaragoza_construction_faq"
INSTALL_HINT = "pip install 'tinsmith[demo]'"

_CONFIGURATION = "tinsmith demo"
"""Id in place of the configuration file's, because the file's path differs between installations."""


def demo(options: RunOptions) -> None:
    """Bring the demo's run up to date.

    Raises:
        MissingDependency: the package with the demo's data is not installed.
    """
    if importlib.util.find_spec(DATA_PACKAGE) is None:
        raise MissingDependency("the demo's questions and answers are not installed", INSTALL_HINT)
    questions = importlib.resources.files(DATA_PACKAGE) / "data" / "faq-en.jsonl"
    config = load_config(Path(__file__).with_name("demo.toml"), options.settings, {"data.path": str(questions)})
    run = RunDir(options.runs_dir / config.name)
    run_and_report(config, run, options, _CONFIGURATION, ("demo", *options.to_continue()))
