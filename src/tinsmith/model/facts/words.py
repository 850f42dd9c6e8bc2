"""Text as tokens, and words without their inflections, for English and Swedish."""

import json
import re
import unicodedata
from functools import lru_cache
from typing import NamedTuple

_TOKEN = re.compile(
    r"(?P<address>(?:https?://|www\.)[^\s<>()\[\]\"']+|[\w.+-]+@[\w-]+(?:\.[\w-]+)+|\b[\w-]+\.(?:com|org|net|se|eu|de)\b(?:/\S*)?)"
    r"|(?P<word>(?:[kcdm]?m|ft)\^?[23](?![^\W_])|[^\W\d_]+(?:['-][^\W\d_]+)*)"
    r"|(?P<number>\d{1,3}(?:([ ,.'])\d{3})(?:\4\d{3})*(?!\d)(?:[.,]\d+)?|\d+(?:[.,]\d+)?)"
    r"|(?P<sign>\S)",
    re.IGNORECASE,
)
_JSON = json.JSONDecoder()
_TAG = re.compile(r"</?[A-Za-z][\w-]*>")
_LIST_MARK = re.compile(r"^[ \t]*(?:[-*\u2022#>]+|\d{1,2}[.)])[ \t]+", re.MULTILINE)
_DASH = re.compile(r"[\u2010-\u2012\u2212]")
_SPACES = re.compile(r"[^\S\n ][^\S\n]*| [^\S\n]+")
"""Space within a line that is not already a single plain space."""
_ASCII_SPACES = re.compile(r"[\t\r\x0b\x0c\x1c-\x1f]")
_FRACTIONS = {"\u00bd": "1/2", "\u00bc": "1/4", "\u00be": "3/4", "\u2153": "1/3", "\u2154": "2/3"}
_SUFFIXES = sorted(
    "ies es s ing ed er ers est ly arna erna orna ar or en et n a na t ade ande ning ningen as is ets ens".split(),
    key=len,
    reverse=True,
)


class Token(NamedTuple):
    """A word, number, sign or address with its place in the plain text."""

    kind: str
    """`word`, `number`, `sign` or `address`."""
    text: str
    start: int
    end: int
    lower: str
    """The text without case."""


def plain(text: str) -> str:
    """`text` without JSON objects, tags, list marks and emphasis, with one spelling of spaces, quotes and fractions.

    Line ends stay. An item of a list starts with a bullet, so that it is a clause of its own.
    """
    text = _TAG.sub("\n", _without_json(text))
    for sign, spelled in _FRACTIONS.items():
        text = text.replace(sign, f" {spelled}")
    text = unicodedata.normalize("NFKC", text).replace("\u2019", "'").replace("\u2018", "'").replace("\u2044", "/")
    is_ascii = text.isascii()
    if not is_ascii:
        text = _DASH.sub("-", text)
    text = text.replace("**", "").replace("__", "").replace("\u00d7", "x")
    # Only the first line of text in one line can have a mark, so the rest need not be searched.
    text = _LIST_MARK.sub("\u2022 ", text) if "\n" in text or _LIST_MARK.match(text) else text
    has_only_single_spaces = is_ascii and "  " not in text and not _ASCII_SPACES.search(text)
    return text if has_only_single_spaces else _SPACES.sub(" ", text)


def _without_json(text: str) -> str:
    if "{" not in text:
        return text
    pieces, at = [], 0
    while (start := text.find("{", at)) >= 0:
        pieces.append(text[at:start])
        try:
            _, at = _JSON.raw_decode(text, start)
            pieces.append("\n")
        except ValueError:  # A brace that opens no JSON object is ordinary text.
            pieces.append("{")
            at = start + 1
    pieces.append(text[at:])
    return "".join(pieces)


def tokens_of(text: str) -> list[Token]:
    """Tokens of `plain` text."""
    return list(_tokens(text))


# Values and sentences of a text are found one after the other.
@lru_cache(maxsize=16)
def _tokens(text: str) -> tuple[Token, ...]:
    return tuple(
        [
            Token(str(match.lastgroup), word := match.group(), *match.span(), word.casefold())
            for match in _TOKEN.finditer(text)
        ]
    )


def words_of(text: str) -> list[tuple[str, str]]:
    """Kind and text of each token of `plain` text."""
    return [(str(match.lastgroup), match.group()) for match in _TOKEN.finditer(text)]


def folded(text: str) -> str:
    """`text` without case and accents."""
    decomposed = unicodedata.normalize("NFKD", text)
    return "".join(character for character in decomposed if not unicodedata.combining(character)).casefold()


@lru_cache(maxsize=100_000)
def stem(word: str) -> str:
    """`word` without case, accents, a genitive and common English and Swedish endings."""
    word = folded(word).removesuffix("'s").removesuffix("'")
    if word.endswith("ies") and len(word) > 4:
        return word[:-3] + "y"
    for suffix in _SUFFIXES:
        if word.endswith(suffix) and len(word) - len(suffix) >= 4:
            word = word[: -len(suffix)]
            break
    if len(word) > 3 and word[-1] in "esr" and word[-2] != "s":
        word = word[:-1]
    return word


def is_same_word(one: str, other: str) -> bool:
    """Whether two words are equal but for inflection or a typing error."""
    a, b = stem(one), stem(other)
    return a == b or is_typo(a, b)


@lru_cache(maxsize=100_000)
def is_typo(one: str, other: str) -> bool:
    """Whether two words differ by one typing error, or two if they are long. Short words must be equal."""
    shortest = min(len(one), len(other))
    if shortest < 5 or one[0] != other[0] or abs(len(one) - len(other)) > 2:
        return False
    if any(character.isdigit() for character in one + other):
        return False
    from rapidfuzz.distance import OSA

    return OSA.distance(one, other, score_cutoff=2) <= (1 if shortest < 9 else 2)
