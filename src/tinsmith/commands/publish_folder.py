"""Publish to a folder: compare, copy what differs, remove what tinsmith wrote earlier, and touch nothing else."""

import os
from collections.abc import Generator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from tinsmith.commands.publish_plan import MARK_FILE, File, Plan, Present, compare, mark_text, read_mark
from tinsmith.core.errors import ArtifactError, UserError
from tinsmith.core.run_dir import copy_file, file_sha256, is_unfinished, replacing, write_text

_GIT = ".git"
"""Static hosts often publish a git repository; tinsmith never looks into its history."""


@dataclass(frozen=True, slots=True)
class PublishedFolder:
    """A folder that tinsmith made, or that is new or empty. It may be a link; nothing in it may be."""

    root: Path

    def plan(self, files: dict[str, File]) -> Plan:
        """Compare `files` with the folder, by digest; changes nothing.

        Raises:
            UserError: the folder is somebody else's, or a file in the way is, or is a link.
            ArtifactError: the folder's mark is damaged.
        """
        written = self._written()
        paths = [path for path in sorted(files.keys() | written.keys()) if self._is_file(path, path in files)]
        present = {path: _present(self.root / path) for path in paths}
        return compare(str(self.root), files, written, present, self._listed())

    def publish(self, plan: Plan) -> None:
        """Copy and remove what `plan` says. Each file is complete and verified before it gets its name.

        The mark is written first, with the old and new digests of every file, so that a call after a kill knows which
        files are tinsmith's; and last, with the new ones.

        Raises:
            UserError: the folder changed since the plan was made, or another tinsmith is publishing to it.
            ArtifactError: a file of the run changed meanwhile.
        """
        self.root.mkdir(parents=True, exist_ok=True)
        with self._locked():
            if self.plan(plan.files) != plan:
                raise UserError(
                    f"{self.root}: changed since its files were compared; nothing was published",
                    "Run the same command again.",
                )
            written = self._written()
            self._remove_unfinished(plan.files.keys() | written.keys())
            expected = {path: [file.sha256] for path, file in plan.files.items()}
            both = {path: written.get(path, []) + expected.get(path, []) for path in written.keys() | expected.keys()}
            self._write_mark(both)
            for path in sorted((*plan.new, *plan.changed), key=_pages_last):
                _copy(plan.files[path], self.root / path)
            for path in plan.removed:
                self._remove(path)
            self._write_mark(expected)

    def _written(self) -> dict[str, list[str]]:
        """What the mark lists; empty for a folder that is new or empty."""
        mark = self.root / MARK_FILE
        if mark.is_file() and not mark.is_symlink():
            return read_mark(mark.read_text(encoding="utf-8", errors="replace"), str(mark))
        if not os.path.lexists(self.root):
            return {}
        if not self.root.is_dir():
            raise UserError(f"{self.root}: there is a file or a broken link, not a folder", "Name another folder.")
        names = sorted(path.name for path in self.root.iterdir() if path.name != _GIT and not is_unfinished(path))
        if names:
            raise UserError(
                f"{self.root}: not published by tinsmith (it has no {MARK_FILE}) and not empty (it contains "
                f"{names[0]!r}); nothing was changed",
                "Name a folder that is new or empty.",
            )
        return {}

    def _write_mark(self, written: dict[str, list[str]]) -> None:
        write_text(self.root / MARK_FILE, mark_text(written))

    def _is_file(self, path: str, must_be_file: bool) -> bool:
        """Whether `path` is a file in the folder.

        Raises:
            UserError: it is a link or lies in one, or something else stands where a file must be.
        """
        for part in reversed((PurePosixPath(path), *PurePosixPath(path).parents[:-1])):
            place = self.root / part
            if place.is_symlink():
                raise UserError(
                    f"{place}: a link; tinsmith follows no links inside a published folder; nothing was changed",
                    "Remove the link. The published folder as a whole may be a link.",
                )
            is_right = place.is_file() if str(part) == path else place.is_dir()
            if must_be_file and not is_right and place.exists():
                raise UserError(
                    f"{place}: stands where publishing would write {path}; nothing was changed", "Move it elsewhere."
                )
        return (self.root / path).is_file()

    def _listed(self) -> list[str]:
        """Every file and link in the folder besides the mark and git's own; links are not followed."""
        paths = []
        for folder, folders, names in os.walk(self.root):
            here = Path(folder)
            if here == self.root and _GIT in folders:
                folders.remove(_GIT)
            linked = [name for name in folders if (here / name).is_symlink()]
            paths += [(here / name).relative_to(self.root) for name in (*names, *linked)]
        return [path.as_posix() for path in paths if str(path) != MARK_FILE and not is_unfinished(path)]

    def _remove_unfinished(self, paths: set[str]) -> None:
        """Remove what a killed process was copying beside these files."""
        for folder in {(self.root / path).parent for path in paths}:
            for path in [path for path in folder.glob(".*.tmp") if is_unfinished(path)]:
                path.unlink()

    def _remove(self, path: str) -> None:
        """Remove a file, and its folders if they are then empty."""
        (self.root / path).unlink()
        for parent in PurePosixPath(path).parents[:-1]:
            with suppress(OSError):  # it still has files
                (self.root / parent).rmdir()

    @contextmanager
    def _locked(self) -> Generator[None]:
        """Keep other processes from publishing to the folder. The system releases the lock, even after a kill."""
        if os.name != "posix":  # Windows cannot lock folders
            yield
            return
        import fcntl

        descriptor = os.open(self.root, os.O_RDONLY)
        try:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise UserError(f"{self.root}: another tinsmith is publishing to it", "Wait for it.") from None
            yield
        finally:
            os.close(descriptor)


def _pages_last(path: str) -> tuple[bool, bool, str]:
    """Order of copying: what the pages load, then the pages, then the page that visitors open."""
    return "/" not in path, path == "index.html", path


def _present(path: Path) -> Present:
    return Present(path.stat().st_size, file_sha256(path))


def _copy(file: File, target: Path) -> None:
    """Copy one file and verify its digest before it replaces `target`.

    Raises:
        ArtifactError: the copy has another digest; `target` is unchanged.
    """
    with replacing(target) as unfinished:
        copy_file(file.source, unfinished)
        if file_sha256(unfinished) != file.sha256:
            raise ArtifactError(
                f"{file.source}: changed while it was published; {target} is as it was", "Run the same command again."
            )
