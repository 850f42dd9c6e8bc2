"""Values in hand-written texts, and which of them are equal."""

from itertools import product

import pytest

from tinsmith.model.facts import calendar
from tinsmith.model.facts.quantities import find_values
from tinsmith.model.facts.values import Value, are_comparable, is_equal
from tinsmith.model.facts.words import plain


def values(text):
    return find_values(plain(text))


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("Rp25.000", ["25000 IDR"]),
        ("25,000-50,000 SEK", ["25000-50000 SEK"]),
        ("25-30k IDR and Rp 34-59k", ["25000-30000 IDR", "34000-59000 IDR"]),
        ("$1,250.50 or 1.250,50 EUR", ["1250.5 USD", "1250.5 EUR"]),
        ("25 tkr, 1.2 MSEK and 1,2 miljoner kronor", ["25 tkr", "1.2 MSEK", "1200000 SEK"]),
        ("one and a half hours", ["1.5 hour"]),
        ("two och en halv timme", ["2.5 hour"]),
        ("an hour and a half, 1 h 30 min", ["1.5 hour", "1.5 hour"]),
        ("three quarters of an hour", ["0.75 hour"]),
        ("tvåhundrafemtio kronor", ["250 SEK"]),
        ("two dozen eggs", ["24 eggs"]),
        ("three working days", ["3 day"]),
        ("95 kWh/m²/year", ["95 kWh/m²/year"]),
        ("500 kr per timme", ["500 SEK/hour"]),
        ("3 May 2025 and den 3 maj", ["2025-05-03", "0000-05-03"]),
        ("öppet 9-17", ["09:00", "17:00"]),
        ("half past five, kl. 17, 5 pm", ["05:30", "17:00", "17:00"]),
        ("3rd floor, tredje våningen", ["3", "3"]),
        ("Monday-Friday", ["1,2,3,4,5"]),
        ("Friday 14 March", ["0000-03-14"]),
        ("SFS 2010:900", ["2010:900"]),
        ("latte 45 kr and espresso 30", ["45 SEK", "30 SEK"]),
        ("half of the cost", ["50 %"]),
        ("built in 1954 by", ["1954"]),
        ("ABS 18, ABS18, m-003, A4", []),
        ("one of them and a house", []),
        ("Bring: 1) a towel, 2) soap (about 3)", ["3"]),
        ("3 000-8 000 SEK", ["3000-8000 SEK"]),
    ],
)
def test_values_of_a_text(text, shown):
    assert [value.text for value in values(text)] == shown


EQUAL = [
    ["120 minutes", "2 hours", "two hours", "2 h"],
    ["150 cm", "1.5 m", "1,5 meter", "1500 mm"],
    ["25 tkr", "25 000 kr", "SEK 25,000", "25k SEK"],
    ["Rp 44.000", "Rp 44k", "44 000 IDR"],
    ["a fortnight", "14 days", "två veckor"],
    ["1.5 years", "18 months", "ett och ett halvt år"],
    ["80 °C", "176 °F"],
    ["3 May 2025", "2025-05-03", "May 3rd, 2025", "3/5/2025", "den 3 maj 2025"],
    ["17:00", "5 pm", "kl. 17", "five o'clock in the evening"],
    ["08-123 45 67", "+46 8 123 45 67", "+46 (0)8 1234567"],
    ["15 acres", "fifteen acres"],
    ["15 hectares", "150 000 m²"],
    ["15 tunnland", "femton tunnland"],
    ["30 %", "thirty per cent", "30 procent"],
    ["third floor", "3rd floor"],
]


@pytest.mark.parametrize("row", EQUAL, ids=[row[0] for row in EQUAL])
def test_values_written_differently_are_equal(row):
    for one, other in product(row, repeat=2):
        assert is_equal(values(one)[0], values(other)[0]), (one, other)


def test_values_of_different_rows_are_not_equal():
    for one, other in product(EQUAL, repeat=2):
        if one is not other:
            assert not is_equal(values(one[0])[0], values(other[0])[0]), (one[0], other[0])


@pytest.mark.parametrize(
    ("one", "other"),
    [("15 acres", "15 tunnland"), ("3 cups", "3 spoons"), ("500 kr a month", "500 kr a week"), ("9 kW", "9 kWh")],
)
def test_another_unit_is_never_equal(one, other):
    assert not is_equal(values(one)[0], values(other)[0])


def test_only_values_of_one_kind_contradict_each_other():
    weeks, days, price = (values(text)[0] for text in ("10 weeks", "3 days", "10 kr"))
    assert are_comparable(weeks, days)
    assert not are_comparable(weeks, price)


@pytest.mark.parametrize("text", ["1.2 MSEK", "3 May 2025", "17:00", "08-123 45 67", "SFS 2010:900", "1/3 of it"])
def test_a_value_survives_json(text):
    (value,) = values(text)
    assert Value.from_dict(value.as_dict()) == value.without_place()


CALENDAR_TEXTS = (
    "Open 9-17, call 08-123 456 78 or +46 70 123 45 67.",
    "We open at 9.30 and close at 5 pm; order 2024-05-06 or 6/5/2024, AFS 2008:16, version 1.2.3.",
    "Opening hours for guests who wait outside: 10 to 18.",
    "Kl. 14, klockan 9.15, 25/12, 12:00-13:30, from 8 am till 4 pm, 7 o'clock sharp, 5 in the afternoon.",
    "On 3 May we close at noon, on Friday at half past four.",
    "Nothing at all.",
)


@pytest.mark.parametrize("text", CALENDAR_TEXTS)
def test_dates_and_times_are_the_same_when_only_their_surroundings_are_searched(text, monkeypatch):
    filler = "Some other words that say nothing about it, and then a few more of them. " * 4
    whole = f"{filler}{text} {filler}"
    values = calendar.find_calendar(whole)
    monkeypatch.setattr(calendar, "_around_digits", lambda text: (0, len(text)))
    monkeypatch.setattr(calendar, "_patterns_of_digits", calendar._patterns)
    assert values == calendar.find_calendar(whole)
    assert bool(values) == (text != "Nothing at all.")
