"""`tinsmith demo`: the whole line on a small base model and public questions and answers."""

import importlib.resources
import importlib.util
from pathlib import Path

from tinsmith.commands.run import run_and_report
from tinsmith.core.config import load_config, toml_value
from tinsmith.core.errors import MissingDependency

DATA_PACKAGE = "zaragoza_construction_faq"
INSTALL_HINT = "pip install 'tinsmith[demo]'"


def demo(runs_dir: Path, settings: tuple[str, ...], first: str, last: str, force: bool, as_json: bool) -> None:
    """Bring the demo's run up to date.

    Raises:
        MissingDependency: the package with the demo's data is not installed.
    """
    if importlib.util.find_spec(DATA_PACKAGE) is None:
        raise MissingDependency("the demo's questions and answers are not installed", INSTALL_HINT)
    questions = importlib.resources.files(DATA_PACKAGE) / "data" / "faq-en.jsonl"
    config = load_config(Path(__file__).with_name("demo.toml"), (f"data.path={toml_value(str(questions))}", *settings))
    run_and_report(config, runs_dir, first, last, force, as_json)
