"""The matching rule of must_state and must_not_state: what counts as the same, and what only looks alike."""

import pytest

from tinsmith.model.answers.statements import normalized, states, states_as_words


@pytest.mark.parametrize(
    ("text", "phrase"),
    [
        ("It costs 1,500\u20132,500\u00a0SEK/m\u00b2.", "1,500-2,500 sek/m2"),
        ("between 3 \u2212 5 years", "3\u20135 years"),
        ("the Land and\nEnvironment  Court", "land and environment court"),
        ("L\u00e4nsstyrelsen decides", "La\u0308nsstyrelsen"),
        ("the owner\u2019s part", "owner's part"),
        ("a co\u00adoperative", "cooperative"),
        ("STRASSE", "stra\u00dfe"),
        ("20\u202f% of it", "20 %"),
        ("valid for 2 years.", "2 years"),
    ],
)
def test_spellings_of_the_same(text, phrase):
    assert states(text, phrase) and states_as_words(text, phrase)
    assert normalized(normalized(text)) == normalized(text)


@pytest.mark.parametrize(
    ("text", "phrase"),
    [
        ("15 years", "5 years"),
        ("2.5 years", "5 years"),
        ("1,5 years", "5 years"),
        ("12,500 SEK", "500 SEK"),
        ("up to 100", "10"),
        ("up to 10.5", "10"),
        ("up to 10,000", "10"),
        ("no such thing", "nothing"),
        ("anything", ""),
        ("anything", " \u200b"),
    ],
)
def test_what_only_looks_alike(text, phrase):
    assert not states(text, phrase) and not states_as_words(text, phrase)


def test_whole_words_matter_only_for_what_must_not_be_stated():
    """A right answer may inflect a phrase; a wrong value inside another word is not stated."""
    assert states("two new constructions", "new construction")
    assert not states_as_words("it is forbidden", "bid")
    assert states("it is forbidden", "bid")
    assert states_as_words("the bid, then", "bid")


def test_a_number_at_the_end_of_a_sentence_is_whole():
    assert states("It takes 10. Then wait.", "10") and states_as_words("It takes 10, then wait.", "10")
