"""`tinsmith demo`: the whole line on a small base model and public questions and answers."""

import importlib.resources
from pathlib import Path

from tinsmith.commands.run import run_and_report
from tinsmith.core.config import load_config


def demo(runs_dir: Path, settings: tuple[str, ...], first: str, last: str, force: bool, as_json: bool) -> None:
    """Bring the demo's run up to date."""
    questions = importlib.resources.files("zaragoza_construction_faq") / "data" / "faq-en.jsonl"
    config = load_config(Path(__file__).with_name("demo.toml"), (f"data.path='{questions}'", *settings))
    run_and_report(config, runs_dir, first, last, force, as_json)
