"""Replies that got stuck, and texts that only look like it."""

import pytest

from tinsmith.model.replies.repetition import is_repetitive, word_count


@pytest.mark.parametrize(
    "text",
    [
        "the price of the tea is the price of the tea is the price of the tea is",
        "tea tea tea tea tea tea",
        "The code is M-00000000",
        "m-m-m-m",
        "m-m-m-m-001",
        "Org. no. 5555555",
        "no, no, no, no",
        "hahahaha",
        "12121212",
        "茶 茶 茶 茶 茶 茶",
        "We ship to Bandung. We ship to Bandung! we ship, to bandung",
    ],
)
def test_a_reply_that_runs_on_is_repetitive(text):
    assert is_repetitive(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "It costs 1 000 000 SEK, or 1000000 in digits.",
        "1,000,000,000 grains",
        "Tel. 08-555 55 55",
        "Item\n-----------\n| --- | --- | --- | --- |\n...........",
        "no, no, no",
        "We ship to Bandung. We ship to Bandung! We ship to Jakarta",
        "one two three one two three one two three",
        "Tea is green. Tea is old. Tea is hot.",
        "haha",
        "m-001, m-002, m-003, m-004",
        "See https://tea.example/aaa/bbb",
    ],
)
def test_an_ordinary_reply_is_not(text):
    assert not is_repetitive(text)


def test_words_are_counted_in_any_script():
    assert word_count("Two cups, please: 3 €!") == 4
    assert word_count("抹茶です") == 4
