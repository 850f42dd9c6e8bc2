"""One spelling for characters that look alike, so that a pattern needs to know only ASCII. Positions stay the same."""

import re

_DASHES = "\u00ad\u2010\u2011\u2012\u2013\u2014\u2015\u2043\u2212\ufe58\ufe63\uff0d"
_SPACES = "\t\u00a0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u202f\u205f\u3000"
_ASCII = {
    **dict.fromkeys(_DASHES, "-"),
    **dict.fromkeys(_SPACES, " "),
    **{chr(0xFF10 + digit): str(digit) for digit in range(10)},
    **dict(zip("\uff0b\uff20\uff08\uff09\uff0e\r", "+@().\n", strict=True)),
}
_LOOKALIKE = re.compile(f"[{re.escape(''.join(_ASCII))}]")
_NOT_ALPHANUMERIC = re.compile(r"[^0-9A-Za-z]+")


def plain(text: str) -> str:
    """`text` with ASCII dashes, spaces, digits, `+` and `@`; as long as `text`."""
    return _LOOKALIKE.sub(lambda match: _ASCII[match.group()], text)


def compact(text: str) -> str:
    """ASCII letters, in upper case, and digits of `text`."""
    return _NOT_ALPHANUMERIC.sub("", text).upper()
