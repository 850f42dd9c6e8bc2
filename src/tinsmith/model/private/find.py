"""Find everything private in a text, in one pass per kind that fast checks let through."""

import re
from bisect import bisect_left
from collections.abc import Callable, Iterator
from operator import attrgetter

from tinsmith.model.private.accounts import cards, ibans, ip_addresses
from tinsmith.model.private.addresses import device_addresses, emails, urls, wallets
from tinsmith.model.private.identities import identities
from tinsmith.model.private.item import PrivateItem
from tinsmith.model.private.phones import phone_numbers
from tinsmith.model.private.secrets import long_tokens, named_secrets, private_keys, tokens
from tinsmith.model.private.spelling import plain

_start = attrgetter("start")
_DIGITS = re.compile(r"[0-9](?:[ \-./()\n]{0,3}[0-9]){5,}")
"""Six digits or more with nothing but separators between them. Every number that is looked for has such a part."""
_BEFORE, _AFTER = 14, 24
"""Characters around such a part that can belong to the number: a country's letters, the words of an IBAN, brackets."""
_LONG_WORD = re.compile(r"\S{20,}")
"""Every token of a service and every wallet has as many characters without a space."""
_IN_COLONS, _IN_DASHES = re.compile(r":[0-9A-Fa-f]{1,4}:"), re.compile(r"-[0-9A-Fa-f]{2}-[0-9A-Fa-f]{2}-")
"""Parts of the addresses of devices."""
_IN_DIGITS: tuple[tuple[int, Callable[[str, int, int], Iterator[PrivateItem]]], ...] = (
    (6, ibans),
    (14, cards),
    (6, identities),
    (6, ip_addresses),
    (7, phone_numbers),
)
"""Fewest digits of such a part, and who looks at it. The more a kind's check digits prove, the earlier it comes.

An IP address such as 1.2.3.4 has fewer than six digits, and is a version.
"""


def find_private(text: str) -> list[PrivateItem]:
    """Personal data and secrets in a text, in order, without overlaps.

    The list has mistakes both ways: see docs/privacy.md for how many.
    """
    items: list[PrivateItem] = []
    for candidate in _candidates(plain(text)):
        at = bisect_left(items, candidate.start, key=_start)
        is_free_before = at == 0 or items[at - 1].end <= candidate.start
        is_free_after = at == len(items) or items[at].start >= candidate.end
        if is_free_before and is_free_after:
            items.insert(at, candidate)
    return items


def _candidates(text: str) -> Iterator[PrivateItem]:
    """Items that may overlap. Of those that do, the first counts."""
    long_words = [word.span() for word in _LONG_WORD.finditer(text)]
    if "://" in text:
        yield from urls(text)
    for start, end in long_words:
        yield from tokens(text, start, end)
    yield from private_keys(text)
    yield from emails(text)
    for part in _DIGITS.finditer(text):
        start, end = max(0, part.start() - _BEFORE), min(len(text), part.end() + _AFTER)
        count = sum(map(str.isdigit, part.group()))
        for least, find in _IN_DIGITS:
            if count >= least:
                yield from find(text, start, end)
    if _IN_COLONS.search(text) or _IN_DASHES.search(text):
        yield from device_addresses(text)
    yield from named_secrets(text)
    for start, end in long_words:
        yield from wallets(text, start, end)
        yield from long_tokens(text, start, end)
