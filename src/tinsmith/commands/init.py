"""`tinsmith init`: a configuration file to edit."""

from pathlib import Path

import click

from tinsmith.core.config import commented_toml
from tinsmith.core.errors import UserError
from tinsmith.core.run_dir import write_text


def init(folder: Path) -> None:
    """Write a commented `tinsmith.toml` into `folder`.

    Raises:
        UserError: there is one already.
    """
    path = folder / "tinsmith.toml"
    if path.exists():
        raise UserError(f"{path}: already there", "Edit it, or choose another folder.")
    write_text(path, commented_toml())
    click.echo(f"wrote {path}\nNext: set data.path in it, then: tinsmith check {path}", err=True)
