"""E-mail addresses, addresses of devices and wallets, and URLs that carry a password or a key."""

import ipaddress
import re
from collections.abc import Iterator
from urllib.parse import unquote

from stdnum import bitcoin

from tinsmith.model.private.entropy import is_random
from tinsmith.model.private.item import PrivateItem

_MAX_LOCAL_CHARACTERS = 64
"""Of the part before the @ (RFC 5321, 4.5.3.1.1)."""
_LOCAL_PUNCTUATION = frozenset(".%+_-")
_DOMAIN = re.compile(r"\n?((?:[\w-]{1,63}\.){1,8}[^\W\d_]{2,24})(?![\w-])")
_FILE_ENDINGS = frozenset("avif bmp css gif ico jpeg jpg js json md pdf png py svg ts webp".split())
_SPELLED_AT = re.compile(
    r"([\w.+%-]{1,64})[ ]?[\[({<][ ]?(?:at|ät|@|snabel-?a)[ ]?[\])}>][ ]?"
    r"((?:[\w-]{1,63}[ ]?(?:\.|[\[({<][ ]?(?:dot|punkt|punto|\.)[ ]?[\])}>])[ ]?){1,6}[^\W\d_]{2,24})(?![\w-])",
    re.IGNORECASE,
)
_SPELLED_DOT = re.compile(r"[ ]?[\[({<]?[ ]?(?:dot|punkt|punto|\.)[ ]?[\])}>]?[ ]?", re.IGNORECASE)
_SPELLED_HINTS = ("at]", "at)", "at}", "at>", "at ]", "at )", "ät]", "ät)", "@)", "@]", "bel-a", "bela")
_MAC = re.compile(r"(?<![\w:-])[0-9A-Fa-f]{2}([:-])(?:[0-9A-Fa-f]{2}\1){4}[0-9A-Fa-f]{2}(?![\w:-])")
_IPV6 = re.compile(r"(?<![\w:.])[0-9A-Fa-f]{1,4}:(?:[0-9A-Fa-f]{0,4}:){1,6}[0-9A-Fa-f]{0,4}(?![\w:])")
_LOGIN = re.compile(r"[A-Za-z][A-Za-z0-9+.-]{1,20}://([^\s/:@\"'<>]{0,64}:[^\s/@\"'<>]{1,128})@(?=[\w\[.-])")
_PARAMETER = re.compile(
    r"[?&;](?:[\w.-]{0,20}(?:token|secret|password|passwd|pwd|api_?key|apikey|auth|credential)[\w.-]{0,10}"
    r"|key|sig|signature|x-amz-signature|x-goog-signature|hmac|code|session(?:_?id)?|sid)=([^&\s#\"'<>)\]]{8,512})",
    re.IGNORECASE,
)
_PLACEHOLDER = re.compile(
    r"[<>{}$*\[\]]|\.\.\.|^(?:password|passwd|pass|pw|secret|x+|token|your\w*|lösenord|passwort)$", re.IGNORECASE
)
_WALLET = re.compile(
    r"(?<![0-9A-Za-z])(?:[13][1-9A-HJ-NP-Za-km-z]{25,34}|bc1[02-9ac-hj-np-z]{11,71}|BC1[02-9AC-HJ-NP-Z]{11,71}"
    r"|(0x[0-9A-Fa-f]{40}))(?![0-9A-Za-z])"
)


def emails(text: str) -> Iterator[PrivateItem]:
    """E-mail addresses, also those in a URL (`%40`) and those written with `(at)`."""
    for sign in ("@", "%40"):
        at = text.find(sign)
        while at >= 0:
            item = _email(text, at, at + len(sign))
            if item:
                yield item
            at = text.find(sign, at + 1)
    if ("(" in text or "[" in text or "{" in text or "<" in text) and any(hint in text for hint in _SPELLED_HINTS):
        for match in _SPELLED_AT.finditer(text):
            domain = _SPELLED_DOT.sub(".", match[2])
            yield PrivateItem(*match.span(), "email", f"{match[1]}@{domain}".casefold())


def _email(text: str, at: int, after: int) -> PrivateItem | None:
    """The address around an @, which ends at `after`; None if there is none."""
    start = at
    while start > 0 and at - start < _MAX_LOCAL_CHARACTERS and _is_local(text[start - 1]):
        start -= 1
    while start < at and not (text[start].isalnum() or text[start] == "_"):
        start += 1
    domain = _DOMAIN.match(text, after)
    local = text[start:at]
    if text[at] == "%":  # in a URL, the rest of the address is encoded too
        local = unquote(local)
    if not local or not domain or local.endswith("."):
        return None
    name = domain[1]
    if name.rpartition(".")[2].lower() in _FILE_ENDINGS or (
        local == "git" and text[domain.end() : domain.end() + 1] == ":"
    ):
        return None
    return PrivateItem(start, domain.end(), "email", f"{local}@{name}".casefold())


def _is_local(character: str) -> bool:
    return character.isalnum() or character in _LOCAL_PUNCTUATION


def device_addresses(text: str) -> Iterator[PrivateItem]:
    """MAC addresses, and IPv6 addresses of connections."""
    for match in _MAC.finditer(text):
        value = match.group().replace("-", ":").lower()
        if value not in ("00:00:00:00:00:00", "ff:ff:ff:ff:ff:ff"):
            yield PrivateItem(*match.span(), "mac", value)
    for match in _IPV6.finditer(text):
        try:
            address = ipaddress.IPv6Address(match.group())
        except ValueError:
            continue
        # Two colons alone also stand in code; an address of a connection has at least four groups.
        groups = [group for group in match.group().split(":") if group]
        if len(groups) >= 4 and not (address.is_link_local or address.is_loopback or address.is_multicast):
            yield PrivateItem(*match.span(), "ip", address.compressed)


def wallets(text: str, start: int, end: int) -> Iterator[PrivateItem]:
    """Bitcoin addresses with valid checksums in a part of `text`, and addresses of the shape that Ethereum uses."""
    for match in _WALLET.finditer(text, start, end):
        value = match.group()
        if match[1]:
            yield PrivateItem(*match.span(), "wallet", value.lower())
        elif bitcoin.is_valid(value):
            yield PrivateItem(*match.span(), "wallet", value)


def urls(text: str) -> Iterator[PrivateItem]:
    """User and password in URLs, also of databases, and keys among the parameters of URLs."""
    for match in _LOGIN.finditer(text):
        if not _PLACEHOLDER.search(match[1].partition(":")[2]):
            yield PrivateItem(*match.span(1), "url_login", match[1])
    for match in _PARAMETER.finditer(text):
        if is_random(match[1]) and not _PLACEHOLDER.search(match[1]):
            yield PrivateItem(*match.span(1), "url_token", match[1])
