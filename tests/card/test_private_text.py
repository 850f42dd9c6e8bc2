"""What looks private in a text, and what only resembles it."""

import pytest

from tinsmith.card.private_text import suspicions


@pytest.mark.parametrize(
    ("text", "kind", "part"),
    [
        (
            "Write to Ada.Lovelace+tea@mail.example.co.uk, please.",
            "an e-mail address",
            "Ada.Lovelace+tea@mail.example.co.uk",
        ),
        ("key AKIAIOSFODNN7EXAMPLE", "a key or password", "AKIAIOSFODNN7EXAMPLE"),
        ("wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY", "a key or password", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"),
        ("ghp_abcdefghijklmnopqrstuvwxyz0123456789", "a key or password", "ghp_abcdefghijklmnopqrstuvwxyz0123456789"),
        ("-----BEGIN RSA PRIVATE KEY-----", "a key or password", "-----BEGIN RSA PRIVATE KEY-----"),
        ("my card is 4111 1111 1111 1111.", "a card number", "4111 1111 1111 1111"),
        ("378282246310005", "a card number", "378282246310005"),
        ("call +46 70-123 45 67 today", "a phone number", "+46 70-123 45 67"),
        ("(555) 123-4567", "a phone number", "(555) 123-4567"),
        ("08-123 45 67", "a phone number", "08-123 45 67"),
    ],
)
def test_private_parts_are_named(text, kind, part):
    assert [(one.kind, one.text) for one in suspicions(text)] == [(kind, part)]


@pytest.mark.parametrize(
    "text",
    [
        "The fee is 25,000-50,000 SEK, 95 kWh/m2/year, for 2019-2024.",
        "On 2024-05-12 10:30, or 12/05/2024 at 9.",
        "Under PBL 9 kap. 25 and SFS 2010:900, see AFS 1999:3.",
        "See https://www.boverket.se/en/start/building-in-sweden/ and 3 700 member firms.",
        "4111 1111 1111 1112 fails the check digit",
        "100000000000000000000000000000000000",
        "",
    ],
)
def test_prices_dates_and_paragraphs_are_not_private(text):
    assert suspicions(text) == []
