"""Read a piece, whatever its format, and turn everything that can go wrong in a file into a `Problem`."""

import re
import zlib
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

from tinsmith.core.disk_errors import reading_advice
from tinsmith.core.field_map import FieldMap
from tinsmith.data.read.csv_table import read_table
from tinsmith.data.read.json_files import read_document, read_lines
from tinsmith.data.read.pages import read_page
from tinsmith.data.read.record import Item, Piece, Problem, Record
from tinsmith.data.read.shapes import plain_name
from tinsmith.data.read.source import Bomb, undecodable
from tinsmith.data.read.strict_json import NotStrictJson
from tinsmith.data.read.tables import read_columns, read_workbook
from tinsmith.data.read.whatsapp import read_whatsapp

Reader = Callable[[Piece, FieldMap], Iterator[Item]]
READERS: dict[str, Reader] = {
    "lines": read_lines,
    "document": read_document,
    "table": read_table,
    "workbook": read_workbook,
    "parquet": read_columns,
    "arrow": read_columns,
    "whatsapp": read_whatsapp,
    "page": read_page,
}
"""Format of a piece -> its reader. A reader yields records one at a time and keeps none of them."""
_SHARD = re.compile(r"-\d{5}-of-\d{5}$")


def read_piece(piece: Piece, fields: FieldMap | None = None) -> Iterator[Item]:
    """The records of a piece in order, and everything in it that is broken or not used."""
    category = category_from_name(Path(piece.file))
    try:
        for item in READERS[piece.format](piece, fields or FieldMap()):
            if isinstance(item, Record):
                own = plain_name(item.value.get("category")) if isinstance(item.value, dict) else ""
                yield replace(item, category=own or item.category or category)
            else:
                yield item
    except NotStrictJson as error:
        yield from (Problem(piece.file, fault.line, fault.column, fault.text) for fault in error.faults)
    except UnicodeDecodeError:
        line, text = undecodable(piece)
        yield Problem(piece.file, line, 0, text)
    except Bomb as error:
        yield Problem(piece.file, 0, 0, str(error))
    except (EOFError, zlib.error) as error:
        yield Problem(piece.file, 0, 0, f"a damaged gzip file: {error}")
    except OSError as error:
        text = f"cannot be read ({error.strerror or error})"
        yield Problem(piece.file, 0, 0, text, reading_advice(error, ""))


def category_from_name(file: Path) -> str:
    """The file's name without endings, leading numbers and shard: `03_taste_discovery.json` is `taste_discovery`."""
    stem = file.with_suffix("").stem if file.suffix.lower() == ".gz" else file.stem
    stem = _SHARD.sub("", stem) or stem
    return re.sub(r"^[\d_\-. ]+", "", stem) or stem
