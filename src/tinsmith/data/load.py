"""Read files into records with file, position and category. All files are read before any problem is raised."""

import csv
import hashlib
import io
import os
import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tinsmith.core.errors import DataError
from tinsmith.data.shapes import QUESTION_ANSWER_KEYS, Unusable, plain_name, unwrap
from tinsmith.data.strict_json import NotStrictJson, Problem, parse

_DELIMITERS = {".csv": ",", ".tsv": "\t"}
ENDINGS = (".json", ".jsonl", ".ndjson", *_DELIMITERS)


@dataclass(frozen=True, slots=True)
class Record:
    """One record as read. It may or may not be a conversation."""

    file: str
    """Relative to the data folder."""
    position: str
    """`line 12`, or `record 3 (line 40)` in a JSON document."""
    value: Any
    """The JSON value or table row; an `Unusable` if the row itself is malformed."""
    category: str
    """From the record, its wrapper, or the file name, in that order."""


@dataclass(slots=True)
class Loaded:
    """Contents of the data path."""

    records: list[Record] = field(default_factory=list)
    files: dict[str, str] = field(default_factory=dict)
    """Relative name -> sha256 of every file read."""
    notes: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    """Such as `file:line:column: empty file`. Any of them makes the data unusable."""


def load_records(path: Path) -> Loaded:
    """All records of a file, or of all data files below a folder, sorted by name.

    Raises:
        DataError: the path does not exist, its name cannot be stored, or nothing in it has a known ending.
    """
    hint = f"Set data.path to a file or folder of {', '.join(ending[1:] for ending in ENDINGS)} files."
    if not path.exists():
        raise DataError(f"data path does not exist: {path}", hint)
    if problem := _name_problem(path.name):
        raise DataError(f"{shown_name(path)}: its name {problem}", "Rename it, and set data.path to the new name.")
    loaded = Loaded()
    root = path if path.is_dir() else path.parent
    for file in _data_files(path, loaded.notes):
        _load_file(file, file.relative_to(root).as_posix(), loaded)
    if not loaded.files and not loaded.problems:
        contents = f"found {'; '.join(loaded.notes)}" if loaded.notes else "it is empty"
        raise DataError(f"no data file in {path}: {contents}", hint)
    return loaded


def shown_name(path: Path) -> str:
    """A printable form of `path`, with escapes for unprintable characters and for bytes that are not UTF-8."""
    text = os.fsencode(path).decode("utf-8", "backslashreplace")
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def _name_problem(name: str) -> str | None:
    """Why `name` cannot be part of ids and reports, or None. Python reads other bytes than UTF-8 as surrogates."""
    if any("\ud800" <= character <= "\udfff" for character in name):
        return "is not UTF-8"
    if any(unicodedata.category(character) == "Cc" for character in name):
        return "holds control characters"
    return None


def _data_files(path: Path, notes: list[str]) -> list[Path]:
    """Files with a known ending, sorted. Adds the names of the others to `notes`."""
    if path.is_file():
        candidates, root = [path], path.parent
    else:
        candidates, root = sorted(file for file in path.rglob("*") if file.is_file()), path
    usable, skipped = [], []
    for file in candidates:
        name = file.relative_to(root)
        is_hidden = any(part.startswith(".") for part in name.parts)
        (skipped if is_hidden or file.suffix.lower() not in ENDINGS else usable).append(file)
    if skipped:
        notes.append("skipped, not data files: " + ", ".join(shown_name(file.relative_to(root)) for file in skipped))
    return usable


def _load_file(file: Path, name: str, loaded: Loaded) -> None:
    if problem := _name_problem(name):
        loaded.problems.append(f"{shown_name(file)}: its name {problem}; rename it")
        return
    try:
        content = file.read_bytes()
    except OSError as error:
        loaded.problems.append(f"{file}: cannot be read ({error.strerror})")
        return
    loaded.files[name] = hashlib.sha256(content).hexdigest()
    text = _decoded(content, file, loaded.problems)
    if text is None:
        return
    notes: list[str] = []
    category = category_from_name(Path(name))
    try:
        for position, value, wrapper_category in _values(text, file.suffix.lower(), notes):
            own = plain_name(value.get("category")) if isinstance(value, dict) else ""
            loaded.records.append(Record(name, position, value, own or wrapper_category or category))
    except NotStrictJson as error:
        loaded.problems += [f"{file}:{p.line}:{p.column}: {p.text}" for p in error.problems]
    loaded.notes += [f"{name}: {note}" for note in notes]


def category_from_name(file: Path) -> str:
    """The file's name without ending and leading numbers: `03_taste_discovery.json` is `taste_discovery`."""
    return re.sub(r"^[\d_\-. ]+", "", file.stem) or file.stem


def _decoded(content: bytes, file: Path, problems: list[str]) -> str | None:
    content = content.removeprefix(b"\xef\xbb\xbf")
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        guess = "; it looks like UTF-16" if content[:2] in (b"\xff\xfe", b"\xfe\xff") else ""
        problems.append(f"{file}:{line}: not UTF-8 at byte {error.start} (found 0x{content[error.start]:02x}){guess}")
        return None
    if not text.strip():
        problems.append(f"{file}: empty file")
        return None
    return text


def _values(text: str, ending: str, notes: list[str]) -> Iterator[tuple[str, Any, str]]:
    """`(position, record, category of its wrapper)` of every record in the text of a file."""
    if ending in _DELIMITERS:
        for line, row in _rows(text, _DELIMITERS[ending]):
            yield f"line {line}", row, ""
    elif ending == ".json":
        yield from _document(text, notes)
    else:
        yield from _lines(text, notes)


def _document(text: str, notes: list[str]) -> Iterator[tuple[str, Any, str]]:
    try:
        parsed = parse(text, with_lines=True)
    except NotStrictJson as error:
        if error.is_extra_data and _is_json(text.lstrip().split("\n", 1)[0]):
            # The first line is a whole value and more follow: JSON lines in a file called .json.
            yield from _lines(text, notes)
            return
        raise
    for number, wrapped in enumerate(unwrap(parsed.value, notes), start=1):
        line = parsed.line_of(wrapped.value)
        yield f"record {number}" + (f" (line {line})" if line else ""), wrapped.value, wrapped.category


def _is_json(text: str) -> bool:
    try:
        parse(text)
    except NotStrictJson:
        return False
    return True


def _lines(text: str, notes: list[str]) -> Iterator[tuple[str, Any, str]]:
    # Only \n ends a line: str.splitlines would also cut at U+2028, which JSON allows inside text.
    lines = [(number, line) for number, line in enumerate(text.split("\n"), start=1) if line.strip()]
    values, problems = [], []
    for number, line in lines:
        try:
            values.append((number, parse(line).value))
        except NotStrictJson as error:
            problems += [Problem(number, p.column, p.text) for p in error.problems]
    if problems:
        if problems[0].line == lines[0][0] and _is_json(text):
            # One document over several lines in a file called .jsonl.
            yield from _document(text, notes)
            return
        raise NotStrictJson(problems)
    for number, value in values:
        records = list(unwrap(value, notes))
        for index, wrapped in enumerate(records, start=1):
            part = f", record {index}" if len(records) > 1 else ""
            yield f"line {number}{part}", wrapped.value, wrapped.category


def _rows(text: str, delimiter: str) -> Iterator[tuple[int, Any]]:
    """`(first line, row as an object)` of every row of a table."""
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    header: list[str] | None = None
    line = 1
    try:
        for row in reader:
            first_line, line = line, reader.line_num + 1
            if not any(cell.strip() for cell in row):
                continue
            if header is None:
                header = _header(row, first_line)
            elif len(row) != len(header):
                yield first_line, Unusable(f"the row has {len(row)} cells, the header {len(header)}")
            else:
                yield first_line, dict(zip(header, row, strict=True))
    except csv.Error as error:
        raise NotStrictJson([Problem(line, 1, f"not a readable table: {error}")]) from error


def _header(row: list[str], line: int) -> list[str]:
    names = [" ".join(cell.split()).lower() for cell in row]
    pairs = [pair for pair in QUESTION_ANSWER_KEYS if set(pair) <= set(names)]
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        raise NotStrictJson([Problem(line, 1, f"column {repeated[0]!r} appears {names.count(repeated[0])} times")])
    if not pairs:
        expected = " or ".join("/".join(pair) for pair in QUESTION_ANSWER_KEYS[:4])
        columns = ", ".join(map(repr, names))
        raise NotStrictJson([Problem(line, 1, f"the first row must name columns {expected}; found {columns}")])
    return names
