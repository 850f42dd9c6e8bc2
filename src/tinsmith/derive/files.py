"""Raw files of a run by run-relative path, wherever the folders of its stages lie."""

import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

from tinsmith.core.errors import ArtifactError
from tinsmith.core.run_dir import files_below, read_json

T = TypeVar("T")


class Files:
    """Reads each file once. Contents are shared, so callers must not change them."""

    def __init__(self, folder_of: Callable[[str], Path], seed: int) -> None:
        """Read files of these stages.

        Args:
            folder_of: Folder of a stage, such as `run.stage`; the work folder of one that is running.
            seed: The run's, which drives every interval.
        """
        self.seed = seed
        self._folder_of = folder_of
        self._cache: dict[Any, Any] = {}

    @classmethod
    def of_stage(cls, stage: str, folder: Path, seed: int = 0) -> "Files":
        """The files of one stage, which may still be running, in `folder`."""
        return cls({stage: folder}.__getitem__, seed)

    @classmethod
    def of_stages(cls, folders: Mapping[str, Path], seed: int = 0) -> "Files":
        """The files of several stages, of which one may still be running, by stage."""
        return cls(folders.__getitem__, seed)

    def path(self, name: str) -> Path:
        """Where the file with a run-relative path lies, such as `train/log.jsonl`."""
        stage, _, rest = name.partition("/")
        return self._folder_of(stage) / rest

    def has(self, name: str) -> bool:
        """Whether the file exists."""
        return self.path(name).is_file()

    def names(self, folder: str) -> list[str]:
        """Sorted names of the files directly in a run-relative folder; none if there is no such folder."""
        path = self.path(folder)
        return sorted(file.name for file in path.iterdir() if file.is_file()) if path.is_dir() else []

    def sizes(self, stage: str) -> dict[str, int]:
        """Bytes of every file below a stage's folder, by path in it."""
        folder = self._folder_of(stage)
        return {path.relative_to(folder).as_posix(): path.stat().st_size for path in files_below(folder)}

    def json(self, name: str) -> Any:
        """The JSON value of a file.

        Raises:
            ArtifactError: the file is missing or not JSON.
        """
        return self._once(name, lambda: read_json(self.path(name)))

    def lines(self, name: str) -> list[Any]:
        """The JSON values of a JSONL file.

        Raises:
            ArtifactError: the file is missing or not JSONL.
        """
        return self._once(name, lambda: list(self.each_line(name)))

    def each_line(self, name: str) -> Iterator[Any]:
        """The JSON values of a JSONL file one by one, read again at every call. For files too large to keep.

        Raises:
            ArtifactError: the file is missing or not JSONL.
        """
        path, hint = self.path(name), "Run its stage again with --force."
        try:
            with path.open(encoding="utf-8", newline="\n") as lines:
                for number, line in enumerate(lines, start=1):
                    if line != "\n":
                        yield _parsed(line, f"{path}:{number}", hint)
        except (OSError, UnicodeDecodeError) as error:
            raise ArtifactError(f"{path}: cannot be read ({error})", hint) from error

    def once(self, function: Callable[["Files"], T]) -> T:
        """`function(self)`, computed at the first call."""
        return self._once(function, lambda: function(self))

    def _once(self, key: Any, compute: Callable[[], Any]) -> Any:
        if key not in self._cache:
            self._cache[key] = compute()
        return self._cache[key]


def _parsed(line: str, place: str, hint: str) -> Any:
    try:
        return json.loads(line)
    except ValueError as error:
        raise ArtifactError(f"{place}: not JSON ({error})", hint) from error
