"""Payment cards, bank accounts and IP addresses among digits: issuers, check digits and groups decide."""

import ipaddress
import re
from collections.abc import Iterator

from stdnum import iban

from tinsmith.model.private.context import label
from tinsmith.model.private.item import PrivateItem
from tinsmith.model.private.spelling import compact

_CARD_SHAPE = re.compile(r"(?<![0-9.,])[0-9]{4}(?:[ .\n-]{0,2}[0-9]){10,15}(?![0-9])")
_CARD_GROUPS = re.compile(r"[0-9]+")
_ISSUERS = re.compile(
    r"4[0-9]{15}(?:[0-9]{3})?"  # Visa
    r"|(?:5[1-5][0-9]{2}|222[1-9]|22[3-9][0-9]|2[3-6][0-9]{2}|27[01][0-9]|2720)[0-9]{12}"  # Mastercard
    r"|3[47][0-9]{13}"  # American Express
    r"|3(?:0[0-5]|[689][0-9])[0-9]{11}"  # Diners Club
    r"|35(?:2[89]|[3-8][0-9])[0-9]{12}"  # JCB
    r"|(?:6011|64[4-9][0-9]|65[0-9]{2}|62[0-9]{2}|5[0678][0-9]{2}|6304|6759|676[0-9])[0-9]{12}"  # Discover and others
)
"""Prefixes and lengths in use (ISO/IEC 7812-1)."""
_IBAN_SHAPE = re.compile(r"(?<![0-9A-Za-z])[A-Za-z]{2}[0-9]{2}(?:[ \n-]?[A-Za-z0-9]){11,30}(?![0-9])", re.IGNORECASE)
_MIN_IBAN, _MAX_IBAN = 15, 34
_IP_SHAPE = re.compile(r"(?<![\w.-])(?:[0-9]{1,3}\.){3}[0-9]{1,3}(?![\w-]|\.[0-9])")
_IP_WORDS = re.compile(
    r"\b(?:ip|ipv4|address|adress\w*|host|server|client|log\w*|ssh|ping|from|från|von|via|anslut\w*)\b", re.IGNORECASE
)
_VERSION_WORDS = re.compile(
    r"(?:\b(?:v|ver|version|release|firmware|build|driver|chrome|kap|kapitel|section|§)[ .:]*)$", re.IGNORECASE
)
_PUBLIC_SERVERS = frozenset("1.1.1.1 1.0.0.1 8.8.8.8 8.8.4.4 9.9.9.9".split())
_NOT_PERSONAL = tuple(
    map(
        ipaddress.ip_network,
        "0.0.0.0/8 10.0.0.0/8 127.0.0.0/8 169.254.0.0/16 172.16.0.0/12 192.168.0.0/16 224.0.0.0/3".split(),
    )
)
"""Addresses of no connection: this machine, local networks, groups."""


def cards(text: str, start: int, end: int) -> Iterator[PrivateItem]:
    """Card numbers in a part of `text` full of digits."""
    for match in _CARD_SHAPE.finditer(text, start, end):
        groups = list(_CARD_GROUPS.finditer(text, *match.span()))
        # A date may follow a card number, so fewer groups are tried too.
        for count in range(len(groups), 0, -1):
            digits = "".join(group.group() for group in groups[:count])
            sizes = tuple(len(group.group()) for group in groups[:count])
            if _is_grouped_as_card(sizes) and _ISSUERS.fullmatch(digits) and passes_luhn(digits):
                if count > 1 or label(text, match.start()) != "other":
                    yield PrivateItem(match.start(), groups[count - 1].end(), "card", digits)
                break


def _is_grouped_as_card(sizes: tuple[int, ...]) -> bool:
    if len(sizes) == 1 or sizes in ((4, 6, 5), (4, 6, 4)):
        return True
    return all(size == 4 for size in sizes[:-1]) and sizes[-1] <= 4


def passes_luhn(digits: str) -> bool:
    """Whether the last digit is the check digit of the others (ISO/IEC 7812-1, annex B)."""
    doubled = [int(digit) * (1 + index % 2) for index, digit in enumerate(reversed(digits))]
    return sum(number - 9 if number > 9 else number for number in doubled) % 10 == 0


def ibans(text: str, start: int, end: int) -> Iterator[PrivateItem]:
    """International bank account numbers in a part of `text`; the country's length and the check digits decide."""
    for match in _IBAN_SHAPE.finditer(text, start, end):
        places = [at for at in range(*match.span()) if text[at].isalnum()]
        for length in range(min(len(places), _MAX_IBAN), _MIN_IBAN - 1, -1):
            last = places[length - 1]
            if text[last + 1 : last + 2].isalnum():
                continue
            number = compact(text[match.start() : last + 1])
            if iban.is_valid(number, check_country=False):
                yield PrivateItem(match.start(), last + 1, "iban", number)
                break


def ip_addresses(text: str, start: int, end: int) -> Iterator[PrivateItem]:
    """IPv4 addresses of connections in a part of `text`. Four small numbers are a version unless words tell."""
    for match in _IP_SHAPE.finditer(text, start, end):
        value = match.group()
        try:
            address = ipaddress.IPv4Address(value)
        except ValueError:
            continue
        if value in _PUBLIC_SERVERS or any(address in network for network in _NOT_PERSONAL):
            continue
        before = text[max(0, match.start() - 30) : match.start()]
        is_version = bool(_VERSION_WORDS.search(before)) or sum(part > 31 for part in address.packed) < 2
        if not is_version or (_IP_WORDS.search(before) and not _VERSION_WORDS.search(before)):
            yield PrivateItem(*match.span(), "ip", value)
