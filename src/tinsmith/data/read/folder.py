"""Walk a data folder, and name everything in it that is not opened."""

import os
import stat
import unicodedata
from collections.abc import Iterator
from pathlib import Path

from tinsmith.core.disk_errors import is_refused
from tinsmith.core.run_dir import RunDir
from tinsmith.data.read.record import Found, Unused


def files_below(root: Path, found: Found) -> Iterator[tuple[str, Path]]:
    """`(name relative to root, path)` of every regular file that may hold data, sorted. The others go to `found`."""
    for path in sorted(_walk(root, found), key=lambda path: path.relative_to(root).parts):
        name = path.relative_to(root).as_posix()
        if reason := _why_unused(path):
            found.unused.append(Unused(shown_name(name), reason))
        else:
            yield name, path


def shown_name(name: str | Path) -> str:
    """A printable form of a name, with escapes for unprintable characters and for bytes that are not UTF-8."""
    text = os.fsencode(name).decode("utf-8", "backslashreplace")
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def name_problem(name: str) -> str | None:
    """Why `name` cannot be part of ids and reports, or None. Python reads other bytes than UTF-8 as surrogates."""
    if any("\ud800" <= character <= "\udfff" for character in name):
        return "is not UTF-8"
    if any(unicodedata.category(character) == "Cc" for character in name):
        return "holds control characters"
    return None


def _walk(root: Path, found: Found) -> Iterator[Path]:
    """Every file below `root`. Linked folders are not followed, so that a loop ends."""

    def unused(path: Path, reason: str) -> None:
        found.unused.append(Unused(shown_name(path.relative_to(root).as_posix()), reason))

    def on_error(error: OSError) -> None:
        if not is_refused(error):
            raise error
        unused(Path(os.fsdecode(error.filename)), f"folders that cannot be read ({error.strerror})")

    for folder, folders, files in os.walk(root, onerror=on_error):
        kept = []
        for name in sorted(folders):
            path = Path(folder) / name
            if name.startswith("."):
                unused(path, "hidden folders")
            elif path.is_symlink():
                unused(path, "links to folders, which are not followed")
            elif RunDir(path).mark.is_file():
                unused(path, "run folders of tinsmith, which hold copies of data")
            else:
                kept.append(name)
        folders[:] = kept
        yield from (Path(folder) / name for name in files)


def _why_unused(path: Path) -> str:
    """Why a file is not even opened, or empty."""
    if path.name.startswith("."):
        return "hidden files"
    try:
        mode = path.stat().st_mode
    except OSError as error:
        return f"broken links ({error.strerror})" if path.is_symlink() else f"cannot be read ({error.strerror})"
    return "" if stat.S_ISREG(mode) else "no regular files, such as pipes and devices"
