"""Word documents (DOCX) as blocks."""

import re
import zipfile
import zlib
from pathlib import Path

from tinsmith.documents.blocks import Document
from tinsmith.documents.html_blocks import html_document
from tinsmith.documents.unreadable import Unreadable

MAX_UNPACKED_BYTES = 50_000_000
"""Largest sum of the XML files in a document, unpacked. A novel has about 5 MB."""
_STYLES = "p[style-name='Title'] => title:fresh\np[style-name='Subtitle'] => p:fresh"
_DOCTYPE = re.compile(rb"<!\s*(?:DOCTYPE|ENTITY)", re.IGNORECASE)


def docx_document(path: Path) -> Document:
    """The blocks of a Word document. Pictures and text boxes are not read.

    Raises:
        Unreadable: the file is no DOCX, needs a password, or is too large.
    """
    import mammoth

    _check_archive(path)
    with path.open("rb") as file:
        html = mammoth.convert_to_html(
            file,
            style_map=_STYLES,
            convert_image=mammoth.images.img_element(lambda image: {}),
            external_file_access=False,
        ).value
    return html_document(html)


def _check_archive(path: Path) -> None:
    """Refuse an archive that is no document or would fill the memory, before anything is unpacked."""
    if path.open("rb").read(8) == bytes.fromhex("d0cf11e0a1b11ae1"):
        raise Unreadable("needs a password, or is in Word's old format; save it as .docx without a password")
    try:
        with zipfile.ZipFile(path) as archive:
            parts = [part for part in archive.infolist() if part.filename.endswith((".xml", ".rels"))]
            if not any(part.filename.endswith("document.xml") for part in parts):
                raise Unreadable("is not a Word document: it contains no document.xml")
            # Python's zipfile never unpacks more than the size that the archive declares.
            size = sum(part.file_size for part in parts)
            if size > MAX_UNPACKED_BYTES:
                raise Unreadable(f"unpacks to more than {MAX_UNPACKED_BYTES // 10**6} MB", f"{size / 1e6:.0f} MB")
            for part in parts:
                if _DOCTYPE.search(archive.read(part)):
                    raise Unreadable("declares entities, which Word never writes", part.filename)
    except (zipfile.BadZipFile, zlib.error, NotImplementedError, RuntimeError, EOFError, OSError) as error:
        raise Unreadable("is a damaged Word document; save it again as .docx", str(error)) from error
