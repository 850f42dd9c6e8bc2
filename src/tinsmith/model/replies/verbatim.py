"""Tell a reply that repeats an answer of the data word for word."""

import difflib
import re

MEMORISED_TOKENS = 50
"""Tokens in a row that count as memorised.

Source: Carlini et al. 2023, Quantifying Memorization Across Neural Language Models.
"""

_TOKEN = re.compile(r"[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]|[^\W_]+|[^\w\s]|_")


def tokens_of(text: str) -> list[str]:
    """Words, numbers and punctuation marks, so that the count does not depend on a model's vocabulary."""
    return _TOKEN.findall(text)


def longest_copy(reference: str, reply: str) -> int:
    """Length in tokens of the longest part of `reference` that `reply` repeats exactly."""
    matcher = difflib.SequenceMatcher(None, tokens_of(reference), tokens_of(reply), autojunk=False)
    return matcher.find_longest_match().size


def is_memorised(reference: str, reply: str) -> bool:
    """Whether a reply repeats 50 tokens of a reference in a row, or all of a shorter one."""
    return longest_copy(reference, reply) >= min(MEMORISED_TOKENS, len(tokens_of(reference)))
