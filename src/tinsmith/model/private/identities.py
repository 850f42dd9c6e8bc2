"""National identity numbers. Check digits decide where a country has them; otherwise the words before the number do."""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from stdnum.be import nn
from stdnum.ch import ssn as ahv
from stdnum.de import idnr
from stdnum.es import dni, nie
from stdnum.fi import hetu
from stdnum.fr import nir
from stdnum.gb import nhs
from stdnum.nl import bsn
from stdnum.no import fodselsnummer
from stdnum.pl import pesel

from tinsmith.model.private.accounts import passes_luhn
from tinsmith.model.private.context import label, mentions
from tinsmith.model.private.item import PrivateItem
from tinsmith.model.private.spelling import compact


@dataclass(frozen=True, slots=True)
class _Identity:
    """How one country writes a number of persons."""

    digits: int
    """Fewest digits of a number."""
    shape: re.Pattern
    """Spellings that a text without other hints may have."""
    is_valid: Callable[[str], bool]
    """Checks the number without separators."""
    needs_words: bool = False
    """Whether words before the number must call it one, because too many other numbers fit."""


def _shape(pattern: str) -> re.Pattern:
    """Pattern of whole numbers. `~` stands for a space, a dash, the end of a line, or nothing."""
    pattern = pattern.replace("~", r"(?:-?\n|[ -])?")
    return re.compile(rf"(?<![0-9A-Za-z.,])(?<![0-9]-){pattern}(?![0-9A-Za-z]|-[0-9])", re.IGNORECASE)


def _is_swedish(number: str) -> bool:
    """Personnummer and samordningsnummer, whose day of birth is 60 higher (Skatteverket, SKV 704 and 707)."""
    month, day = int(number[-8:-6]), int(number[-6:-4]) % 60
    return 1 <= month <= 12 and 1 <= day <= 31 and int(number[-6:-4]) <= 91 and passes_luhn(number[-10:])


def _is_american(number: str) -> bool:
    """Social security numbers that can have been issued (SSA, POMS RM 10201)."""
    return number[:3] not in ("000", "666") and number[0] != "9" and number[3:5] != "00" and number[5:] != "0000"


def _is_british(number: str) -> bool:
    """National insurance numbers; these prefixes are never used (HMRC, NIM39110)."""
    return number[:2] not in ("BG", "GB", "NK", "KN", "TN", "NT", "ZZ")


def _is_danish(number: str) -> bool:
    return 1 <= int(number[:2]) <= 31 and 1 <= int(number[2:4]) <= 12


_SE_DAY = r"(?:0[1-9]|1[0-2])(?:[0-3][0-9]|[6-9][0-9])"
_IDENTITIES = (
    _Identity(
        10, _shape(rf"(?:(?:18|19|20)[0-9]{{2}}{_SE_DAY}[-+]?|[0-9]{{2}}{_SE_DAY}[-+])\n?[0-9]{{4}}"), _is_swedish
    ),
    _Identity(10, _shape(rf"(?:18|19|20)?[0-9]{{2}}{_SE_DAY}~[0-9]{{4}}"), _is_swedish, needs_words=True),
    _Identity(9, _shape(r"[0-9]{3}-\n?[0-9]{2}-\n?[0-9]{4}"), _is_american),
    _Identity(9, _shape(r"[0-9]{3}~[0-9]{2}~[0-9]{4}"), _is_american, needs_words=True),
    _Identity(6, _shape(r"[A-CEGHJ-PR-TW-Z][A-CEGHJ-NPR-TW-Z]~[0-9]{2}~[0-9]{2}~[0-9]{2}~[A-D]"), _is_british),
    _Identity(8, _shape(r"[0-9]{8}-?[A-Z]"), dni.is_valid),
    _Identity(8, _shape(r"[0-9]{2}[ .]?[0-9]{3}[ .]?[0-9]{3}~[A-Z]"), dni.is_valid, needs_words=True),
    _Identity(7, _shape(r"[XYZ]~[0-9]{7}~[A-Z]"), nie.is_valid),
    _Identity(13, _shape(r"[12]~[0-9]{2}~[0-9]{2}~[0-9][0-9AB]~[0-9]{3}~[0-9]{3}~[0-9]{2}"), nir.is_valid),
    _Identity(11, _shape(r"(?:[0-9]{11}|[0-9]{2}[ -][0-9]{3}[ -][0-9]{3}[ -][0-9]{3})"), idnr.is_valid),
    _Identity(11, _shape(r"[0-9]{6}~[0-9]{5}"), fodselsnummer.is_valid),
    _Identity(11, _shape(r"[0-9]{11}"), pesel.is_valid),
    _Identity(9, _shape(r"[0-9]{6}[-+A-FU-Y][0-9]{3}[0-9A-Y]"), lambda number: hetu.is_valid(_with_century(number))),
    _Identity(13, _shape(r"756[.][0-9]{4}[.][0-9]{4}[.][0-9]{2}"), ahv.is_valid),
    _Identity(11, _shape(r"[0-9]{2}[.][0-9]{2}[.][0-9]{2}-[0-9]{3}[.][0-9]{2}"), nn.is_valid),
    _Identity(10, _shape(r"[0-9]{3}~[0-9]{3}~[0-9]{4}"), nhs.is_valid, needs_words=True),
    _Identity(9, _shape(r"[0-9]{4}[ .]?[0-9]{2}[ .]?[0-9]{3}"), bsn.is_valid, needs_words=True),
    _Identity(10, _shape(r"[0-9]{6}~[0-9]{4}"), _is_danish, needs_words=True),
)


def _with_century(number: str) -> str:
    """A Finnish number with the sign of the century that `compact` removes from numbers of the years before 2000."""
    return number if len(number) == 11 else f"{number[:6]}-{number[6:]}"


def identities(text: str, start: int, end: int) -> Iterator[PrivateItem]:
    """Identity numbers in a part of `text` full of digits."""
    count = sum(map(str.isdigit, text[start:end]))
    has_words = mentions(text, end, "identity", end - start)
    for identity in _IDENTITIES:
        if count < identity.digits or (identity.needs_words and not has_words):
            continue
        for match in identity.shape.finditer(text, start, end):
            number = compact(match.group())
            if not identity.is_valid(number):
                continue
            name = label(text, match.start())
            is_named = name == "identity" or mentions(text, match.start(), "identity")
            if is_named if identity.needs_words else name != "other":
                yield _item(match, number)


def _item(match: re.Match, number: str) -> PrivateItem:
    # Swedish numbers are written with and without the century.
    has_century = len(number) == 12 and number[:2] in ("18", "19", "20")
    return PrivateItem(*match.span(), "personal_id", number[2:] if has_century else number)
