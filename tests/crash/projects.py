"""Two projects to interrupt: a whole line on a tiny model, and a short one of stages that only write files."""

from pathlib import Path

from e2e.conftest import write_project


def write_whole_project(folder: Path) -> None:
    """Write a tiny model, forty conversations, a document, and a configuration."""
    config = write_project(folder, "llama")
    config.write_text(config.read_text().replace('name = "llama"', 'name = "tea"'))


def write_short_project(folder: Path) -> None:
    """Write a configuration; the stages read nothing."""
    (folder / "tinsmith.toml").write_text('name = "tea"\n[base]\nmodel = "smollm2-135m-instruct"\n')
