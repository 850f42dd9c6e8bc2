"""A process that reads documents for the one that started it, so that a hostile or broken file cannot take it down.

Started with `python -m tinsmith.documents.reader`. Each line it gets is a JSON object with the `path` and `ending` of a
file. It answers each with a line: the document, or why it is `unreadable`. Memory and processor time are limited; if
the process dies, the file it was reading is to blame.
"""

import json
import logging
import re
import resource
import signal
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path

from tinsmith.documents.blocks import Document
from tinsmith.documents.docx_blocks import docx_document
from tinsmith.documents.html_blocks import html_document
from tinsmith.documents.pdf_blocks import pdf_document
from tinsmith.documents.text_blocks import markdown_document, plain_document
from tinsmith.documents.unreadable import Unreadable

MAX_TEXT_BYTES = 10_000_000
"""Largest text, Markdown or HTML file: ten long novels."""
MAX_PACKED_BYTES = 100_000_000
"""Largest PDF or DOCX file, pictures included."""
MAX_MEMORY_BYTES = 2_000_000_000
"""Address space of the process."""
MAX_CPU_SECONDS = 180
"""Processor time for one file. A PDF of a thousand pages takes about a minute."""
_CHARSET = re.compile(rb"<meta[^>]{1,200}?charset\s*=\s*[\"']?\s*([\w.:-]{1,40})", re.IGNORECASE)


def _text(path: Path) -> str:
    content = _content(path)
    try:
        return content.removeprefix(b"\xef\xbb\xbf").decode("utf-8")
    except UnicodeDecodeError as error:
        guess = ", it looks like UTF-16" if content[:2] in (b"\xff\xfe", b"\xfe\xff") else ""
        raise Unreadable("is not UTF-8 text; save it as UTF-8", f"byte {error.start}{guess}") from error


def _html_text(path: Path) -> str:
    """The text of a page in the character set that it declares, else UTF-8."""
    declared = _CHARSET.search(_content(path)[:4096])
    name = declared[1].decode() if declared else "utf-8"
    if name.lower().replace("-", "") == "utf8":
        return _text(path)
    try:
        return _content(path).decode(name)
    except (UnicodeDecodeError, LookupError) as error:
        raise Unreadable("is not in the character set that it declares; save it as UTF-8", name) from error


def _content(path: Path) -> bytes:
    content = path.read_bytes()
    if not content.strip():
        raise Unreadable("is empty")
    return content


_READERS: dict[str, tuple[int, Callable[[Path], Document]]] = {
    ".md": (MAX_TEXT_BYTES, lambda path: markdown_document(_text(path))),
    ".txt": (MAX_TEXT_BYTES, lambda path: plain_document(_text(path))),
    ".html": (MAX_TEXT_BYTES, lambda path: html_document(_html_text(path))),
    ".pdf": (MAX_PACKED_BYTES, pdf_document),
    ".docx": (MAX_PACKED_BYTES, docx_document),
}
_READERS |= {".markdown": _READERS[".md"], ".text": _READERS[".txt"], ".htm": _READERS[".html"]}
ENDINGS = tuple(sorted(_READERS))


def read_document(path: Path, ending: str) -> Document:
    """The blocks of a file.

    Raises:
        Unreadable: the file cannot be used.
    """
    max_bytes, read = _READERS[ending]
    try:
        size = path.stat().st_size
        if size > max_bytes:
            raise Unreadable(
                f"has more than {max_bytes // 10**6} MB; split it into smaller files", f"{size / 1e6:.0f} MB"
            )
        return read(path)
    except MemoryError as error:
        raise Unreadable(f"needs more than {MAX_MEMORY_BYTES / 1e9:.0f} GB of memory; split it") from error
    except RecursionError as error:
        raise Unreadable("is nested too deeply; save it in a simpler form") from error
    except OSError as error:
        raise Unreadable("cannot be read", error.strerror or str(error)) from error


def main() -> None:
    """Answer requests until the input ends."""
    logging.disable()  # stderr is for the traceback of a process that dies
    # macOS does not limit address space; size and time limits hold there too.
    with suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_AS, (MAX_MEMORY_BYTES, MAX_MEMORY_BYTES))
    for line in sys.stdin:
        request = json.loads(line)
        # SIGPROF ends the process when the time is over.
        signal.setitimer(signal.ITIMER_PROF, MAX_CPU_SECONDS)
        try:
            answer = asdict(read_document(Path(request["path"]), request["ending"]))
        except Unreadable as error:
            code = error.__cause__.errno if isinstance(error.__cause__, OSError) else None
            answer = {"unreadable": error.reason, "detail": error.detail, "code": code}
        signal.setitimer(signal.ITIMER_PROF, 0)
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
