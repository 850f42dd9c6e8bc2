"""Whether a text states a phrase: the matching rule for `must_state` and `must_not_state`."""

import re
import unicodedata
from functools import lru_cache

_DASHES = re.compile("[\u2010-\u2015\u2212\ufe58\ufe63\uff0d]")
_APOSTROPHES = str.maketrans({"\u2019": "'", "\u2018": "'", "\u02bc": "'", "\u201c": '"', "\u201d": '"'})


@lru_cache(maxsize=4096)
def normalized(text: str) -> str:
    """`text` with one spelling of dashes, case, spaces, quotation marks and superscripts.

    `1,500 – 2,500 SEK/m²` and `1,500-2,500 sek/m2` become the same.
    """
    plain = _DASHES.sub("-", unicodedata.normalize("NFKC", text)).translate(_APOSTROPHES).casefold()
    # Soft hyphens and zero-width spaces are invisible.
    plain = "".join(character for character in plain if unicodedata.category(character) != "Cf")
    plain = " ".join(plain.split())
    return re.sub(r"(?<=\d) ?- ?(?=\d)", "-", plain)


def states(text: str, phrase: str) -> bool:
    """Whether `text` contains `phrase`. Numbers are matched whole: `15 years` does not state `5 years`."""
    return _contains(text, phrase, r"\d")


def states_as_words(text: str, phrase: str) -> bool:
    """Whether `text` contains `phrase` as whole words: `forbidden` does not state `bid`."""
    return _contains(text, phrase, r"\w")


def _contains(text: str, phrase: str, whole: str) -> bool:
    """Whether `text` contains `phrase`.

    If the phrase begins or ends with a character of class `whole`, the text must not go on with another one there, nor
    with decimals or thousands of a number: neither `15 years` nor `2.5 years` contains `5 years`.
    """
    words = normalized(phrase)
    start = rf"(?<!{whole})(?<!\d[.,])" if re.match(whole, words) else ""
    end = rf"(?!{whole})(?![.,]\d)" if re.search(f"{whole}$", words) else ""
    return bool(words) and re.search(f"{start}{re.escape(words)}{end}", normalized(text)) is not None
