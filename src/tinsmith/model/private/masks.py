"""Masks for private items, and the values that are public because the owner says so."""

import hashlib
import hmac
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from tinsmith.model.private.find import find_private
from tinsmith.model.private.item import PrivateItem
from tinsmith.model.private.spelling import plain

_MASK_DIGITS, _DIGEST_DIGITS = 4, 16


def mask_key(sha256s: Iterable[str]) -> bytes:
    """The key of all masks of a data set.

    It follows from the contents of the files alone, so that two runs give the same masks. Whoever lacks the files
    cannot test a guess against a mask.

    Args:
        sha256s: Of every input file, in any order.
    """
    return hashlib.sha256("\n".join(["tinsmith masks", *sorted(sha256s)]).encode()).digest()


@dataclass(frozen=True)
class Public:
    """Values that are no secret: those in the owner's own texts, and those that they allow."""

    values: frozenset[str]
    """In one spelling."""
    patterns: tuple[re.Pattern, ...]

    @classmethod
    def of(cls, allowed: Sequence[str] = (), texts: Iterable[str] = ()) -> "Public":
        """What is public.

        Args:
            allowed: Values in any spelling, or patterns with `*` for any characters (`data.privacy_allow`).
            texts: Of the owner, such as the system prompt; everything private in them is public.
        """
        known = (item.value for text in (*allowed, *texts) for item in find_private(text))
        pieces = ([re.escape(part) for part in plain(text).casefold().split("*")] for text in allowed)
        return cls(frozenset(known), tuple(re.compile(".*".join(parts), re.DOTALL) for parts in pieces))

    def includes(self, item: PrivateItem, text: str) -> bool:
        """Whether `item`, found in `text`, is public."""
        spellings = (plain(text[item.start : item.end]).casefold(), item.value.casefold())
        return item.value in self.values or any(
            pattern.fullmatch(spelling) for pattern in self.patterns for spelling in spellings
        )


NOTHING_PUBLIC = Public(frozenset(), ())


@dataclass(frozen=True, slots=True)
class Masks:
    """Gives every value a mask, the same wherever it stands."""

    key: bytes
    public: Public = NOTHING_PUBLIC

    def mask(self, item: PrivateItem) -> str:
        """The text that stands for an item, such as `[EMAIL_3f2a]`."""
        return f"[{item.kind.upper()}_{self._hmac(item)[:_MASK_DIGITS]}]"

    def digest(self, item: PrivateItem) -> str:
        """16 hex digits by which a masked value is recognised without storing it."""
        return self._hmac(item)[-_DIGEST_DIGITS:]

    def items(self, text: str) -> list[PrivateItem]:
        """Everything private in a text that is not public."""
        return [item for item in find_private(text) if not self.public.includes(item, text)]

    def masked(self, text: str, items: Iterable[PrivateItem]) -> str:
        """`text` with a mask in place of each of its `items`."""
        parts, end = [], 0
        for item in items:
            parts += [text[end : item.start], self.mask(item)]
            end = item.end
        return "".join(parts) + text[end:]

    def _hmac(self, item: PrivateItem) -> str:
        return hmac.new(self.key, item.value.encode(), hashlib.sha256).hexdigest()
