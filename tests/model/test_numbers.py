"""Numbers in text, by hand."""

import pytest

from tinsmith.model.numbers import find_numbers


@pytest.mark.parametrize(
    ("text", "numbers"),
    [
        ("Rp 25k", ["25000 IDR"]),
        ("Rp25.000", ["25000 IDR"]),
        ("25,000-50,000 SEK", ["25000 SEK", "50000 SEK"]),
        ("25 000\u201350 000 kr", ["25000 SEK", "50000 SEK"]),
        ("25-30k IDR", ["25000 IDR", "30000 IDR"]),
        ("1.2 million euros", ["1200000 EUR"]),
        ("$1,250.50", ["1250.5 USD"]),
        ("1.250,50 EUR", ["1250.5 EUR"]),
        ("0,5 l of water", ["0.5 l"]),
        ("0.125 kg", ["0.125 kg"]),
        ("10 weeks", ["10 week"]),
        ("a 10-week wait", ["10 week"]),
        ("four to six weeks", ["4 week", "6 week"]),
        ("12 % or 12.5 percent", ["12 %", "12.5 %"]),
        ("4-6 veckor, 2 år, 3 dagar och 5 procent", ["4 week", "6 week", "2 year", "3 day", "5 %"]),
        ("15 m\u00b2 and 3 m", ["15 m\u00b2", "3 m"]),
        ("at 80\u00b0C or 95 degrees", ["80 \u00b0C", "95 \u00b0C"]),
        ("scale 1:400, at 10:30 on 2024-05-12", ["1:400", "10:30", "2024-05-12"]),
        ("since 1954.", ["1954"]),
        ("m-003, A4, x2, 1.2.3", []),
        ("3 kids and 5 km", ["3", "5 km"]),
    ],
)
def test_find_numbers(text, numbers):
    assert [number.text for number in find_numbers(text)] == numbers


@pytest.mark.parametrize("same", [("25k", "25,000"), ("25.000", "25 000"), ("7.50", "7.5"), ("12 per cent", "12%")])
def test_written_differently_but_equal(same):
    assert find_numbers(same[0]) == find_numbers(same[1])
