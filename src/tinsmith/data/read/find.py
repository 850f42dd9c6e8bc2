"""Find the files below the data path, hash them, and cut large ones into pieces."""

import hashlib
from collections.abc import Container, Iterator
from dataclasses import replace
from pathlib import Path

from tinsmith.core.disk_errors import reading_advice
from tinsmith.core.errors import DataError, listing
from tinsmith.core.field_map import FieldMap
from tinsmith.data.read.folder import files_below, name_problem, shown_name
from tinsmith.data.read.formats import ENDINGS, Broken, Unread, format_of
from tinsmith.data.read.record import Found, Note, Piece, Problem, Unused
from tinsmith.data.read.tables import row_groups

PIECE_BYTES = 8_000_000
"""Size of the pieces that JSON lines and Parquet files are cut into."""
_BLOCK_BYTES = 1 << 16


def find_pieces(path: str, fields: FieldMap | None = None, only: Container[str] | None = None) -> Found:
    """The pieces of a file, or of all data files below a folder, sorted by name.

    Args:
        path: `data.path`.
        fields: `data.fields`.
        only: Names of the files below a folder to read, None for all; others are not mentioned.

    Raises:
        DataError: the path does not exist, its name cannot be stored, or nothing in it can be read.
    """
    root = Path(path)
    hint = f"Set data.path to a file or folder of {', '.join(ending[1:] for ending in ENDINGS)} files."
    if not root.exists():
        raise DataError(f"data path does not exist: {root}", hint)
    if problem := name_problem(root.name):
        raise DataError(f"{shown_name(root)}: its name {problem}", "Rename it, and set data.path to the new name.")
    found = Found()
    for name, file in [(root.name, root)] if root.is_file() else files_below(root, found):
        if only is None or name in only:
            _add(name, file, found)
    if not found.pieces and not found.problems:
        unused = listing([f"{item.name}: {item.reason}" for item in found.unused])
        raise DataError(f"no data file in {root}" + (f"\n{unused}" if unused else ": it is empty"), hint)
    return found


def _add(name: str, file: Path, found: Found) -> None:
    try:
        format = format_of(name, file)
        if problem := name_problem(name):
            raise Broken(f"its name {problem}; rename it")
        digest, pieces = _pieces(format.piece)
    except Unread as error:
        found.unused.append(Unused(shown_name(name), str(error)))
    except Broken as error:
        found.problems.append(Problem(shown_name(name), 0, 0, str(error)))
    except OSError as error:
        text = f"cannot be read ({error.strerror or error})"
        found.problems.append(Problem(shown_name(name), 0, 0, text, reading_advice(error, "")))
    else:
        found.pieces += pieces
        found.files[name] = digest
        found.notes += [Note(name, text) for text in format.notes]


def _pieces(whole: Piece) -> tuple[str, list[Piece]]:
    """The file's sha256, and its pieces: JSON lines are cut at ends of lines, Parquet files at row groups."""
    is_cut = whole.format == "lines" and not whole.is_gzip and whole.encoding == "utf-8-sig" and whole.newline == "\n"
    digest = hashlib.sha256()
    starts = [(0, 1)]
    position, line = 0, 1
    with whole.path.open("rb") as stream:
        while block := stream.read(_BLOCK_BYTES):
            digest.update(block)
            if is_cut:
                at = counted = 0
                while (at := block.find(b"\n", max(at, starts[-1][0] + PIECE_BYTES - position)) + 1) > 0:
                    line += block.count(b"\n", counted, at)
                    counted = at
                    starts.append((position + at, line))
                line += block.count(b"\n", counted)
            position += len(block)
    if whole.format == "parquet" and whole.size > PIECE_BYTES:
        return digest.hexdigest(), list(_row_ranges(whole))
    ends = [start for start, _ in starts[1:]] + [position]
    return digest.hexdigest(), [
        replace(whole, start=start, line=line, size=end - start)
        for (start, line), end in zip(starts, ends, strict=True)
    ]


def _row_ranges(whole: Piece) -> Iterator[Piece]:
    """Pieces of whole row groups; the file itself if it cannot be read, so that its reader says why."""
    first, row, rows, size = 0, 1, 0, 0
    groups = row_groups(whole.path)
    for number, (group_rows, group_bytes) in enumerate(groups, start=1):
        rows, size = rows + group_rows, size + group_bytes
        if size >= PIECE_BYTES or number == len(groups):
            yield replace(whole, line=row, size=size, groups=(first, number))
            first, row, rows, size = number, row + rows, 0, 0
    if not groups:
        yield whole
