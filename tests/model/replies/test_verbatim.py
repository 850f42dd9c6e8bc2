"""Copies of answers, counted in words and punctuation marks."""

from tinsmith.model.replies.verbatim import MEMORISED_TOKENS, is_memorised, longest_copy, tokens_of

LONG = " ".join(f"w{number}" for number in range(80))


def test_tokens_are_words_and_marks():
    assert tokens_of("It's 32k_each, ok.") == ["It", "'", "s", "32k", "_", "each", ",", "ok", "."]


def test_the_longest_copy_may_start_anywhere():
    assert longest_copy("a b c d e", "x b c d y e") == 3
    assert longest_copy("a b c", "") == 0


def test_fifty_tokens_in_a_row_are_memorised_and_one_less_is_not():
    words = LONG.split()
    assert is_memorised(LONG, " ".join(["so", *words[20 : 20 + MEMORISED_TOKENS], "it", "is"]))
    assert not is_memorised(LONG, " ".join(["so", *words[20 : 20 + MEMORISED_TOKENS - 1], "it", "is"]))
    gap = [*words[:30], "other", *words[30:60]]
    assert not is_memorised(LONG, " ".join(gap))


def test_a_short_answer_is_memorised_only_whole():
    assert is_memorised("Rp 32k each.", "It is Rp 32k each. Anything else?")
    assert not is_memorised("Rp 32k each.", "Rp 32k.")
