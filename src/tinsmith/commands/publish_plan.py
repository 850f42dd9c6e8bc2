"""What publishing would change at a target, and the mark by which tinsmith knows its own files there."""

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from tinsmith.core.errors import ArtifactError, UserError, listing

MARK_FILE = "tinsmith-published.json"
"""Beside the published files: which ones tinsmith wrote, with their digests."""

_SHOWN_KEPT = 5


@dataclass(frozen=True, slots=True)
class File:
    """One file to publish."""

    source: Path
    size_bytes: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Present:
    """One file at the target."""

    size_bytes: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Plan:
    """Differences between what is to be published and what is at the target. Paths are relative, with slashes."""

    files: dict[str, File]
    """Everything that the target holds afterwards, besides `kept` and the mark."""
    new: tuple[str, ...]
    changed: tuple[str, ...]
    removed: dict[str, int]
    """Files that tinsmith wrote earlier and the run no longer has, with their sizes in bytes."""
    kept: tuple[str, ...]
    """Files that tinsmith did not write; they stay."""
    place: str = ""
    """What the target is, such as `a new private repository`; empty for a folder."""
    commit: str | None = None
    """The commit of a repository that this was compared with; None for a folder, and where no repository exists."""

    @property
    def is_current(self) -> bool:
        """Whether nothing has to be written or removed."""
        return not (self.new or self.changed or self.removed)

    def lines(self) -> Iterator[str]:
        """Every file with its size and what happens to it, then the totals."""
        words = dict.fromkeys(self.new, "new") | dict.fromkeys(self.changed, "changed")
        for path, file in self.files.items():
            yield _row(words.get(path, ""), file.size_bytes, path)
        for path, size_bytes in self.removed.items():
            yield _row("removed", size_bytes, path)
        counts = [(self.new, "new"), (self.changed, "changed"), (self.removed, "removed")]
        differences = ", ".join(f"{len(paths)} {word}" for paths, word in counts if paths)
        total_bytes = sum(file.size_bytes for file in self.files.values())
        yield f"{len(self.files)} files, {size_text(total_bytes)}: {differences or 'all there already'}"
        if words:
            yield f"{size_text(sum(self.files[path].size_bytes for path in words))} to write"
        if self.kept:
            more = f" and {len(self.kept) - _SHOWN_KEPT} more" if len(self.kept) > _SHOWN_KEPT else ""
            yield f"not written by tinsmith, so left as they are: {', '.join(self.kept[:_SHOWN_KEPT])}{more}"


def compare(
    target: str,
    files: dict[str, File],
    written: Mapping[str, Iterable[str]],
    present: Mapping[str, Present],
    others: Iterable[str],
) -> Plan:
    """Find what to write and what to remove, and that all of it is tinsmith's.

    Args:
        target: Names the target in errors.
        files: What is to be published.
        written: Path -> digests of what tinsmith wrote there, from the mark.
        present: Files at the target whose path is in `files` or `written`.
        others: Paths of all files at the target besides the mark.

    Raises:
        UserError: a file that would be replaced is not as tinsmith wrote it.
    """
    changed = tuple(path for path in files if path in present and present[path].sha256 != files[path].sha256)
    foreign = [path for path in changed if present[path].sha256 not in written.get(path, ())]
    if foreign:
        raise UserError(
            f"{target}: {len(foreign)} file(s) that publishing would replace were changed or written by somebody else; "
            f"nothing was changed\n{listing(foreign)}",
            "Move them elsewhere, or delete them, then run the same command again.",
        )
    removed = {
        path: present[path].size_bytes
        for path in sorted(present.keys() - files.keys())
        if present[path].sha256 in written.get(path, ())
    }
    return Plan(
        files,
        new=tuple(path for path in files if path not in present),
        changed=changed,
        removed=removed,
        kept=tuple(sorted(path for path in others if path not in files and path not in removed)),
    )


def size_text(size_bytes: int) -> str:
    """A size for people, such as `84.5 MB`."""
    for unit, factor in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if size_bytes >= factor:
            return f"{size_bytes / factor:.1f} {unit}"
    return f"{size_bytes} B"


def _row(word: str, size_bytes: int, path: str) -> str:
    return f"  {word:<8}{size_text(size_bytes):>9}  {path}"


def mark_text(written: Mapping[str, Iterable[str]]) -> str:
    """The content of a mark.

    Args:
        written: Path -> every SHA-256 that the file may have: one, or several while a publication is under way.
    """
    files = {path: sorted(set(written[path])) for path in sorted(written)}
    return json.dumps({"made_by": "tinsmith", "files": files}, indent=2, ensure_ascii=False) + "\n"


def read_mark(text: str, place: str) -> dict[str, list[str]]:
    """Path -> digests, from the content of the mark at `place`.

    Raises:
        ArtifactError: it is not a mark, or names a path outside the target.
    """
    try:
        mark = json.loads(text)
    except ValueError:
        mark = None
    files = mark.get("files") if isinstance(mark, dict) else None
    if not isinstance(files, dict) or not all(map(_is_entry, files.items())):
        raise ArtifactError(
            f"{place}: not the list of published files that tinsmith writes", "Restore it, or publish to another place."
        )
    return files


def _is_entry(item: tuple[str, object]) -> bool:
    path, digests = item
    parts = PurePosixPath(path).parts
    is_inside = bool(parts) and not path.startswith("/") and ".." not in parts and "\\" not in path and ":" not in path
    return is_inside and isinstance(digests, list) and all(isinstance(digest, str) for digest in digests)
