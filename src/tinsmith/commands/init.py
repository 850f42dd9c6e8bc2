"""`tinsmith init`: a configuration file to edit."""

import re
import unicodedata
from pathlib import Path

from tinsmith.commands.terminal import say, typed
from tinsmith.core.config import MAX_NAME_LENGTH, RunConfig
from tinsmith.core.config_file import commented_toml
from tinsmith.core.errors import UserError
from tinsmith.core.run_dir import write_text


def init(folder: Path) -> None:
    """Write a commented `tinsmith.toml` into `folder`; the run is named after the folder.

    Raises:
        UserError: `folder` already contains one, or is a file.
    """
    if folder.exists() and not folder.is_dir():
        raise UserError(f"{folder}: a file, not a folder", "Choose another folder.")
    path = folder / "tinsmith.toml"
    if path.exists() or path.is_symlink():
        raise UserError(f"{path}: already there", "Edit it, or choose another folder.")
    write_text(path, commented_toml(run_name(folder.resolve().name)))
    say(f"wrote {path}\nNext: set data.path in it, then: {typed('check', path)}")


def run_name(folder_name: str) -> str:
    """A valid run name that is close to `folder_name`; the default name if no character of it is valid."""
    ascii_name = unicodedata.normalize("NFKD", folder_name.casefold()).encode("ascii", "ignore").decode()
    name = re.sub(r"[^a-z0-9._]+", "-", ascii_name).strip("-._")[:MAX_NAME_LENGTH]
    return name or RunConfig().name
