"""What is private in a text, and what only resembles it."""

import itertools
import sys
from pathlib import Path

import pytest

from tinsmith.model.private import described, find_private
from tinsmith.model.private.item import shortened

BENCHMARKS = Path(__file__).parents[3] / "benchmarks"


def found(text):
    return [(item.kind, text[item.start : item.end]) for item in find_private(text)]


@pytest.mark.parametrize(
    ("text", "kind", "part"),
    [
        ("Write to Ada.L+tea@mail.example.co.uk, please.", "email", "Ada.L+tea@mail.example.co.uk"),
        ("ada (at) shop (dot) example", "email", "ada (at) shop (dot) example"),
        ("https://x.example/?mail=ada%40shop.example&n=1", "email", "ada%40shop.example"),
        ("my card is 4111 1111 1111 1111.", "card", "4111 1111 1111 1111"),
        ("4111\u20111111\u20111111\u20111111 exp 09/31", "card", "4111\u20111111\u20111111\u20111111"),
        ("378282246310005", "card", "378282246310005"),
        ("IBAN DE89 3704 0044 0532 0130 00 bei der Bank", "iban", "DE89 3704 0044 0532 0130 00"),
        ("se4550000000058398257466", "iban", "se4550000000058398257466"),
        ("call +46 70-123 45 67 today", "phone", "+46 70-123 45 67"),
        ("(555) 123-4567", "phone", "(555) 123-4567"),
        ("08-123 45 67", "phone", "08-123 45 67"),
        ("Ring 0701740605 ikväll", "phone", "0701740605"),
        ("+44 20 7946 0123", "phone", "+44 20 7946 0123"),
        ("Rückruf unter 030/23125123", "phone", "030/23125123"),
        ("personnummer 19900178-2383", "personal_id", "19900178-2383"),
        ("Steuer-ID 86 095 742 719", "personal_id", "86 095 742 719"),
        ("SSN 123-45-6789", "personal_id", "123-45-6789"),
        ("NINO QQ123456C is AB 12 34 56 C", "personal_id", "AB 12 34 56 C"),
        ("DNI 12345678Z", "personal_id", "12345678Z"),
        ("login from 203.0.113.7:443", "ip", "203.0.113.7"),
        ("2001:db8:85a3::8a2e:370:7334", "ip", "2001:db8:85a3::8a2e:370:7334"),
        ("00:1A:2B:3C:4D:5E", "mac", "00:1A:2B:3C:4D:5E"),
        ("1BoatSLRHtKNngkdXEeobR76b53LETtpyT", "wallet", "1BoatSLRHtKNngkdXEeobR76b53LETtpyT"),
        ("postgres://ada:hunter2x@db.example/x", "url_login", "ada:hunter2x"),
        ("https://x.example/?token=aB3dE5fG7hJ9kL2m", "url_token", "aB3dE5fG7hJ9kL2m"),
        ("key AKIAIOSFODNN7EXAMPLE", "aws_key", "AKIAIOSFODNN7EXAMPLE"),
        ("wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY", "secret", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"),
        (
            "ghp_abcdefghijklmnopqrstuvwxyz0123456789",
            "github_token",
            "ghp_abcdefghijklmnopqrstuvwxyz0123456789",
        ),
        ("-----BEGIN RSA PRIVATE KEY-----", "private_key", "-----BEGIN RSA PRIVATE KEY-----"),
        ("lösenordet är Sommar2024!", "password", "Sommar2024"),
        ('api_key = "9f8a7b6c5d4e3f2a1b0c"', "secret", "9f8a7b6c5d4e3f2a1b0c"),
        ("name;password\nkim;tiger2024x", "password", "tiger2024x"),
    ],
)
def test_private_parts_are_found_whole(text, kind, part):
    assert found(text) == [(kind, part)]


@pytest.mark.parametrize(
    "text",
    [
        "The fee is 25,000-50,000 SEK, 95 kWh/m2/year, for 2019-2024.",
        "On 2024-05-12 10:30, or 12/05/2024 at 9.",
        "Under PBL 9 kap. 25 and SFS 2010:900, see AFS 1999:3.",
        "See https://www.boverket.se/en/start/building-in-sweden/ and 3 700 member firms.",
        "4111 1111 1111 1112 fails the check digit",
        "DE89 3704 0044 0532 0130 01 fails the check digits",
        "personnummer 19900178-2384 fails the check digit",
        "100000000000000000000000000000000000",
        "Order 0701740605 is an order, and article no. 08-123 45 67 an article.",
        "version 1.2.3.4 at 192.168.0.10",
        "icon@2x.png and git@github.com:org/repo",
        "The password is required. password: ******** token = <your-token>",
        "sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
        "",
    ],
)
def test_what_only_looks_private_is_not_found(text):
    assert found(text) == []


@pytest.mark.parametrize(
    "spellings",
    [
        ("Call +46 70 174 06 05", "call 070-174 06 05", "call 0701740605", "call 0046 70 1740605"),
        ("4111 1111 1111 1111", "4111-1111-1111-1111", "4111111111111111", "4111\n1111\n1111\n1111"),
        ("DE89370400440532013000", "DE89 3704 0044 0532 0130 00", "de89-3704-0044-0532-0130-00"),
        ("19900178-2383", "900178-2383", "199001782383"),
        ("Ada@Shop.example", "ada@shop.example", "ada[at]shop.example", "mailto:ada%40shop.example"),
        ("00:1A:2B:3C:4D:5E", "00-1a-2b-3c-4d-5e"),
    ],
)
def test_all_spellings_have_one_value(spellings):
    values = [[item.value for item in find_private(text)] for text in spellings]
    assert values == [values[0]] * len(spellings) and len(values[0]) == 1


def test_items_are_in_order_and_do_not_overlap():
    text = "Mail ada@shop.example or 0701740605@sms.example, card 4111 1111 1111 1111, call +46 70-123 45 67."
    items = find_private(text)
    assert [item.kind for item in items] == ["email", "email", "card", "phone"]
    assert all(one.end <= other.start for one, other in itertools.pairwise(items))


def test_long_hostile_texts_take_time_in_proportion():
    # Quadratic patterns would run for hours on these.
    for text in (
        "a" * 400_000,
        "1 " * 200_000,
        "a@" * 200_000,
        "a@b.cd " * 50_000,
        "a.b-" * 100_000 + "@",
        "key=" * 100_000,
        "1:" * 200_000,
    ):
        find_private(text)


def test_descriptions_and_short_forms():
    assert described("email") == "an e-mail address"
    assert described("gitlab_token") == "a key or password"
    assert shortened("ada@shop.example") == "ad...le (16 characters)"
    assert shortened("1234") == "... (4 characters)"


@pytest.fixture
def measure(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    from private_items import MIN_PRECISION, MIN_RECALL, measure

    yield lambda half: measure(half, 500)[0], MIN_RECALL, MIN_PRECISION
    for name in [name for name in sys.modules if name.startswith("private_")]:
        del sys.modules[name]


@pytest.mark.parametrize("half", ["developed", "held_out"])
def test_planted_items_are_found_and_harmless_texts_left_alone(measure, half):
    result, min_recall, min_precision = measure[0](half), *measure[1:]
    assert (result["planted"], result["harmless"]) == (500, 500)
    assert len(result["recall_by_format"]) == 10 and len(result["recall_by_language"]) == 3
    assert result["recall"] >= min_recall and result["precision"] >= min_precision
    assert (min_recall, min_precision) == (0.95, 0.9)
