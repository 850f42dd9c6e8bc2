"""Write docs/config.md and docs/cli.md from the code, so that they cannot disagree; `--check` only compares."""

import sys
from pathlib import Path

import click

from tinsmith.cli import main as cli
from tinsmith.core.config import RunConfig, Section, toml_value

DOCS = Path(__file__).parent


def config_page() -> str:
    """Every key with its default and meaning."""
    lines = [
        "# Configuration",
        "",
        "Generated from `src/tinsmith/core/config.py`. A `tinsmith.toml` may leave out every key but `data.path`;"
        " `tinsmith init DIR` writes one with all of them.",
        "",
        "| key | default | meaning |",
        "|---|---|---|",
    ]
    rows = [(name, field) for name, field in RunConfig.model_fields.items() if not isinstance(field.default, Section)]
    for name, field in rows:
        lines.append(_row(name, field))
    for name, field in RunConfig.model_fields.items():
        if isinstance(field.default, Section):
            section = type(field.default)
            lines += ["", f"## [{name}]", section.__doc__, "", "| key | default | meaning |", "|---|---|---|"]
            lines += [_row(key, inner) for key, inner in section.model_fields.items()]
    return "\n".join(lines) + "\n"


def _row(name: str, field) -> str:
    return f"| `{name}` | `{toml_value(field.default)}` | {' '.join((field.description or '').split())} |"


def cli_page() -> str:
    """`--help` of every command."""
    lines = ["# Commands", "", "Generated from `src/tinsmith/cli.py`.", ""]
    for name, command in {"": cli, **cli.commands}.items():
        context = click.Context(command, info_name=f"tinsmith {name}".strip(), max_content_width=100)
        lines += [f"## {context.info_name}", "", "```", command.get_help(context), "```", ""]
    return "\n".join(lines)


def main() -> None:
    """Write both pages, or with `--check` exit 1 if one is out of date."""
    stale = []
    for name, text in (("config.md", config_page()), ("cli.md", cli_page())):
        path = DOCS / name
        if "--check" in sys.argv:
            stale += [name] if not path.exists() or path.read_text(encoding="utf-8") != text else []
        else:
            path.write_text(text, encoding="utf-8")
    if stale:
        sys.exit(f"out of date: {', '.join(stale)}; run: make docs")


if __name__ == "__main__":
    main()
