"""Tell random characters from words."""

import math
import re
from collections import Counter

_MIN_CHARACTERS = 12
_MIN_BITS = 3.0
"""Entropy per character. Random characters of 16 kinds have about 3.3 in 20 characters; repeated ones much less."""
_WORDS = re.compile(r"[A-Z]?[a-z]{3,}")


def entropy_bits(text: str) -> float:
    """Shannon's entropy of the characters of `text`, in bits per character."""
    counts = Counter(text).values()
    return -sum(count / len(text) * math.log2(count / len(text)) for count in counts)


def is_random(text: str) -> bool:
    """Whether `text` looks drawn by chance: digits among letters, high entropy, and little of it words."""
    has_letter, has_digit = any(map(str.isalpha, text)), any(map(str.isdigit, text))
    if len(text) < _MIN_CHARACTERS or not has_letter or not has_digit:
        return False
    letters_in_words = sum(len(word) for word in _WORDS.findall(text))
    return entropy_bits(text) >= _MIN_BITS and letters_in_words < len(text) / 2
