"""Write the generated pages from the code and the experiments, so that they cannot disagree.

Pages: config.md, cli.md, and the index in experiments/README.md; and the JSON schema of `card.json`. `--check` writes
nothing and exits 1 if one is stale.
"""

import re
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Literal, get_args, get_origin

import click
from pydantic.fields import FieldInfo

from tinsmith.card import schema
from tinsmith.cli import main as cli
from tinsmith.core.config import RunConfig
from tinsmith.core.config_file import toml_value
from tinsmith.core.section import Section

DOCS = Path(__file__).parent
INDEX_START = "<!-- The index below is written by docs/generate.py. -->\n"


def config_page() -> str:
    """Every key with its default, its other values and its meaning.

    Raises:
        SystemExit: A key has no description.
    """
    blank = [key for key, field in keys() if not field.description]
    if blank:
        sys.exit(f"keys without a docstring in src/tinsmith/core/config.py: {', '.join(blank)}; write one below each")
    lines = [
        "# Configuration",
        "",
        *wrapped(
            "Generated from `src/tinsmith/core/config.py`. A `tinsmith.toml` may leave out every key except"
            " `data.path`; `tinsmith init DIR` writes one with all of them. After each key stands its default."
        ),
        "",
    ]
    section = ""
    for key, field in keys():
        if "." in key and key.split(".")[0] != section:
            section = key.split(".")[0]
            lines += ["", f"## [{section}]", *wrapped(type(RunConfig.model_fields[section].default).__doc__ or ""), ""]
        lines += wrapped(
            f"- **`{key}`** = `{toml_value(field.default)}`{other_values(field)}: {field.description}", "  "
        )
    return "\n".join(lines) + "\n"


def keys() -> Iterator[tuple[str, FieldInfo]]:
    """Yield every key as `name` or `section.name`, with its field."""
    for name, field in RunConfig.model_fields.items():
        if not isinstance(field.default, Section):
            yield name, field
    for name, field in RunConfig.model_fields.items():
        if isinstance(field.default, Section):
            for key, inner in type(field.default).model_fields.items():
                yield f"{name}.{key}", inner


def other_values(field: FieldInfo) -> str:
    """` (or ...)` with the values of a choice besides its default, else nothing."""
    if get_origin(field.annotation) is not Literal:
        return ""
    others = [value for value in get_args(field.annotation) if value != field.default]
    return f" (or {', '.join(f'`{toml_value(value)}`' for value in others)})"


def cli_page() -> str:
    """`--help` of every command."""
    lines = ["# Commands", "", "Generated from `src/tinsmith/cli.py`.", ""]
    for name, command in {"": cli, **cli.commands}.items():
        context = click.Context(command, info_name=f"tinsmith {name}".strip(), max_content_width=100)
        lines += [f"## {context.info_name}", "", "```", command.get_help(context), "```", ""]
    return "\n".join(lines)


def experiments_page() -> str:
    """The hand-written head of the experiments' page, then one line for each experiment."""
    head, _, _ = (DOCS / "experiments/README.md").read_text(encoding="utf-8").partition(INDEX_START)
    lines = []
    for path in sorted(DOCS.glob("experiments/*.md")):
        if path.name == "README.md":
            continue
        text = path.read_text(encoding="utf-8")
        title = text.split("\n", 1)[0].removeprefix("# ").removeprefix("Experiments: ")
        lines += ["", f"### [{title[0].upper()}{title[1:]}]({path.name})"]
        lines += [f"- {title}" for title in re.findall(r"^## (.+)$", text, flags=re.MULTILINE)]
    return head + INDEX_START + "\n".join(lines) + "\n"


def wrapped(text: str, indent: str = "") -> list[str]:
    """`text` in lines of at most 120 characters, none of which ends inside a code span."""
    text = re.sub(r"`[^`]+`", lambda span: span[0].replace(" ", "\N{NO-BREAK SPACE}"), " ".join(text.split()))
    lines = textwrap.wrap(text, 120, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False)
    return [line.replace("\N{NO-BREAK SPACE}", " ") for line in lines]


def main() -> None:
    """Write the pages, or with `--check` exit 1 if one is out of date."""
    stale = []
    pages = {
        DOCS / "config.md": config_page(),
        DOCS / "cli.md": cli_page(),
        DOCS / "experiments/README.md": experiments_page(),
        Path(schema.__file__).with_name(schema.SCHEMA_FILE): schema.schema_text(),
    }
    for path, text in pages.items():
        if "--check" in sys.argv:
            stale += [path.name] if not path.exists() or path.read_text(encoding="utf-8") != text else []
        else:
            path.write_text(text, encoding="utf-8")
    if stale:
        sys.exit(f"out of date: {', '.join(stale)}; run: make docs")


if __name__ == "__main__":
    main()
