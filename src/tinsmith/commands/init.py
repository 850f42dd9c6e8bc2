"""`tinsmith init`: a configuration file to edit."""

import os
import re
import unicodedata
from pathlib import Path

from tinsmith.commands.terminal import say, typed
from tinsmith.core.config import MAX_NAME_LENGTH, RunConfig
from tinsmith.core.config_file import CONFIG_NAME, commented_toml
from tinsmith.core.errors import UserError
from tinsmith.core.run_dir import write_text


def init(folder: Path, data: Path | None) -> None:
    """Write a commented `tinsmith.toml` into `folder`; the run is named after the folder.

    Raises:
        UserError: `folder` already contains one, or is a file; or there is no such `data`.
    """
    if data and not data.exists():
        raise UserError(f"{data}: no such file or folder", "--data names the conversations that a run will read.")
    if folder.exists() and not folder.is_dir():
        raise UserError(f"{folder}: a file, not a folder", "Choose another folder.")
    path = folder / CONFIG_NAME
    if path.exists() or path.is_symlink():
        raise UserError(f"{path}: already there", "Edit it, or choose another folder.")
    # Relative, so that a folder with both can be moved.
    data_path = Path(os.path.relpath(data.resolve(), folder.resolve())).as_posix() if data else ""
    write_text(path, commented_toml(run_name(folder.resolve().name), data_path))
    say(f"wrote {path}\nNext: {'' if data else 'set data.path in it, then: '}{typed('check', path)}")


def run_name(folder_name: str) -> str:
    """A valid run name that is close to `folder_name`; the default name if no character of it is valid."""
    ascii_name = unicodedata.normalize("NFKD", folder_name.casefold()).encode("ascii", "ignore").decode()
    name = re.sub(r"[^a-z0-9._]+", "-", ascii_name).strip("-._")[:MAX_NAME_LENGTH]
    return name or RunConfig().name
