"""Tell a reply that got stuck in a loop."""

import re
from collections import Counter

_NGRAM_WORDS = 4
_NGRAM_TIMES = 3
# Han, kana and Hangul have no spaces between words, so each character counts as a word.
_WORD = re.compile(r"[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]|[^\W_\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]+")

_RUN = re.compile(
    r"([^\W_])\1{6,}"  # `0000000`; a million has six zeros
    r"|([^\W_]{2,6}?)\2{3,}"  # `abababab`
    r"|(?<![^\W_])([^\W_]{1,6})(?:[\W_]{1,2}\3){3,}(?![^\W_])"  # `m-m-m-m`, `no, no, no, no`
)
"""One character seven times, or a cycle of two to six, or the same short word, four times."""


def is_repetitive(text: str) -> bool:
    """Whether some sequence of 4 words occurs at least 3 times, or a character or short cycle runs on.

    Case and punctuation are ignored. Sequences of words may overlap. A run is the same letter or digit 7 times, 2 to 6
    characters 4 times, or a word of up to 6 characters 4 times with one or two other characters between.
    """
    folded = text.casefold()
    words = _WORD.findall(folded)
    ngrams = Counter(zip(*(words[offset:] for offset in range(_NGRAM_WORDS)), strict=False))
    return max(ngrams.values(), default=0) >= _NGRAM_TIMES or _RUN.search(folded) is not None


def word_count(text: str) -> int:
    """Number of words; each Han, kana or Hangul character is one."""
    return len(_WORD.findall(text))
