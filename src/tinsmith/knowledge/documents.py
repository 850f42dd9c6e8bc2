"""The owner's documents as passages, and a list of everything in them that is not used."""

import os
import re
import stat
import unicodedata
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from tinsmith.core.disk_errors import is_refused
from tinsmith.core.errors import DataError, listing
from tinsmith.core.run_dir import file_sha256
from tinsmith.core.stage_context import Say, say_nothing
from tinsmith.documents.blocks import PATH_SEPARATOR, Document, Section, sections_of
from tinsmith.documents.reader import ENDINGS
from tinsmith.documents.reader_process import DocumentReader
from tinsmith.documents.unreadable import Unreadable
from tinsmith.model.passages import Passage, Source

MAX_PASSAGES = 100_000
"""More than this is no set of documents that a page can search."""
_MAX_SLUG_CHARACTERS = 80
_SHOWN_NAMES = 5


@dataclass(slots=True)
class Documents:
    """Contents of a document folder."""

    passages: list[Passage] = field(default_factory=list)
    files: dict[str, str] = field(default_factory=dict)
    """Name relative to the folder -> sha256 of every file with a passage."""
    unused: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    """Reason -> names of the files, or file and part, that are not used."""
    ids: set[str] = field(default_factory=set)
    texts: set[tuple[str, str]] = field(default_factory=set)
    """Last heading, without the document's own, and text of every passage."""

    @property
    def notes(self) -> list[str]:
        """What is not used, one line for each reason, with a count and the first names."""
        lines = []
        for reason, names in self.unused.items():
            more = f" and {len(names) - _SHOWN_NAMES} more" if len(names) > _SHOWN_NAMES else ""
            lines.append(f"{reason}: {len(names)} ({', '.join(names[:_SHOWN_NAMES])}{more})")
        return lines


def passages_of_documents(path: Path, say: Say = say_nothing) -> Documents:
    """The sections of a document, or of all documents below a folder, sorted by name.

    Args:
        path: A file or folder (`data.documents`).
        say: Told of every hundredth file.

    Raises:
        DataError: the path does not exist, or nothing in it can be used; every file is named with its reason.
        OSError: a file is there and allowed to be read, but the machine cannot read it.
    """
    hint = f"Set data.documents to a file or folder of {', '.join(ending[1:] for ending in ENDINGS)} files."
    if not path.exists():
        raise DataError(f"data.documents does not exist: {path}", hint)
    documents = Documents()
    refused: OSError | None = None
    with DocumentReader() as reader:
        for count, (name, file) in enumerate(_files(path, documents.unused), start=1):
            if count % 100 == 0:
                say(f"{count} documents read")
            try:
                document = reader.read(file, file.suffix.lower())
            except Unreadable as error:
                if isinstance(cause := error.__cause__, OSError):
                    if not is_refused(cause):
                        raise cause from None
                    refused = cause
                documents.unused[error.reason].append(f"{name}: {error.detail}" if error.detail else name)
                continue
            _add(documents, name, file, document)
            _refuse_too_many(documents, path)
    if not documents.passages:
        unused = listing(documents.notes) or "  it is empty"
        raise DataError(f"no document in {path} can be used\n{unused}", hint) from refused
    return documents


def _refuse_too_many(documents: Documents, path: Path) -> None:
    if len(documents.passages) > MAX_PASSAGES:
        raise DataError(
            f"{path} has more than {MAX_PASSAGES:,} sections",
            "Set data.documents to the documents that visitors ask about.",
        )


def _add(documents: Documents, name: str, file: Path, document: Document) -> None:
    """Add the passages of one document. A text that is already there, such as a page's footer, is not repeated."""
    added = 0
    for section in sections_of(document):
        if not any(character.isalnum() for character in section.text):
            continue
        headings = section.headings or (_title_from_name(file),)
        # A page's own title differs from page to page, while the footer below it does not.
        key = (headings[-1] if len(headings) > 1 else "", section.text)
        if key in documents.texts:
            documents.unused["sections that repeat another"].append(f"{name}: {PATH_SEPARATOR.join(headings)}")
            continue
        documents.texts.add(key)
        documents.passages.append(_passage(section, headings, name, document, documents.ids))
        added += 1
    for part, count in document.notes.items():
        documents.unused[part].append(f"{name}: {count}")
    if added:
        documents.files[name] = file_sha256(file)
    else:
        documents.unused["no text of their own"].append(name)


def _passage(section: Section, headings: tuple[str, ...], name: str, document: Document, ids: set[str]) -> Passage:
    title = PATH_SEPARATOR.join(headings)
    url = document.url
    if url and section.anchor and "#" not in url:
        url = f"{url}#{section.anchor}"
    source = Source(name, section.place or title, url, document.date)
    return Passage(_unique(f"{name}#{_slug(headings[1:] or headings)}", ids), "document", title, section.text, source)


def _unique(wanted: str, ids: set[str]) -> str:
    """`wanted`, with a number if it is taken; added to `ids`."""
    number, unique = 1, wanted
    while unique in ids:
        number += 1
        unique = f"{wanted}-{number}"
    ids.add(unique)
    return unique


def _slug(headings: tuple[str, ...]) -> str:
    """Headings in letters, digits and hyphens, such as `returns-refunds`."""
    return "-".join(re.findall(r"\w+", " ".join(headings).casefold()))[:_MAX_SLUG_CHARACTERS].strip("-")


def _title_from_name(file: Path) -> str:
    """The file's name in words: `03_opening-hours.md` is `opening hours`."""
    words = re.sub(r"[_\-.\s]+", " ", re.sub(r"^[\d_\-. ]+", "", file.stem) or file.stem)
    return words.strip() or file.stem


def _files(path: Path, unused: dict[str, list[str]]) -> Iterator[tuple[str, Path]]:
    """`(relative name, file)` of every regular file with a known ending, sorted. The others go to `unused`."""
    if path.is_file():
        candidates, root = [path], path.parent
    else:
        candidates, root = sorted(_walk(path, unused)), path
    for file in candidates:
        name = file.relative_to(root).as_posix()
        reason = _why_unused(file)
        if reason:
            unused[reason].append(_printable(name))
        else:
            yield name, file


def _walk(root: Path, unused: dict[str, list[str]]) -> Iterator[Path]:
    """Every file below `root`. Linked folders are not followed, so that a loop ends."""

    def on_error(error: OSError) -> None:
        if not is_refused(error):
            raise error
        folder = Path(os.fsdecode(error.filename)).relative_to(root).as_posix()
        unused[f"folders that cannot be read ({error.strerror})"].append(_printable(folder))

    for folder, folders, files in os.walk(root, onerror=on_error):
        for name in folders:
            if (Path(folder) / name).is_symlink():
                unused["links to folders, which are not followed"].append(
                    _printable((Path(folder) / name).relative_to(root).as_posix())
                )
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        yield from (Path(folder) / name for name in files)


def _why_unused(file: Path) -> str:
    """Why `file` is not even opened, or empty."""
    name = file.name
    if name.startswith("."):
        return "hidden files"
    if any("\ud800" <= c <= "\udfff" or unicodedata.category(c) == "Cc" for c in file.as_posix()):
        return "names that are not UTF-8 or hold control characters; rename them"
    if file.suffix.lower() not in ENDINGS:
        return f"not read, since only {', '.join(ENDINGS)} are"
    try:
        mode = file.stat().st_mode
    except OSError as error:
        return f"broken links or files that cannot be read ({error.strerror})"
    return "" if stat.S_ISREG(mode) else "no regular files"


def _printable(name: str) -> str:
    """`name` with escapes for bytes that are not UTF-8 and for characters that a terminal would obey."""
    text = os.fsencode(name).decode("utf-8", "backslashreplace")
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
