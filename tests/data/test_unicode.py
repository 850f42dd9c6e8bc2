"""Hidden characters go; what a script, an emoji or a flag needs stays."""

import random
import unicodedata

import pytest

from tinsmith.data.unicode import character_names, with_newlines, without_hidden

ENGLAND = "\U0001f3f4\U000e0067\U000e0062\U000e0065\U000e006e\U000e0067\U000e007f"


@pytest.mark.parametrize(
    "text",
    [
        "plain, with a tab\tand a newline\n",
        "naïve café – “quotes” … €",
        "می\u200cخواهم",  # Persian: the prefix does not join the verb
        "ه\u200d. ش",  # Persian abbreviation that keeps the joined form of its letter
        "क\u094d\u200dष",  # Hindi half form
        "ന\u0d4d\u200d",  # Malayalam chillu at the end of a word
        "ශ\u0dca\u200dර\u0dd3",  # Sinhala
        "ភាសា\u200bខ្មែរ",  # Khmer: where a line may break
        "👨\u200d👩\u200d👧",
        "👩🏽\u200d🔬",
        "❤\ufe0f\u200d🔥",
        "🏳\ufe0f\u200d🌈",
        "🇸🇪",
        ENGLAND,
        "1\ufe0f\u20e3 #\ufe0f\u20e3",
        "©\ufe0f ™\ufe0e ☎\ufe0e",
        "葛\U000e0100飾区",
        "\u2229\ufe00",
        "\u8fbb\ufe0d",
        "\u1820\u180b",
        "\u1100\u1160",
    ],
)
def test_needed_characters_stay(text):
    assert without_hidden(text) == (text, "")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a\u200bb\u2060c\ufeffd\u00ade", "abcde"),
        ("pay \u202eeno\u202c now\u200f", "pay eno now"),
        ("\x00\x07\x1b[31m\x7f\x81", "[31m"),
        ("pass\u200dword, Auf\u200clage, é\u200dñ", "password, Auflage, éñ"),
        ("1\ufe0f", "1"),
        ("a\ufe0fb\U000e0101", "ab"),
        ("😀\U000e0141\U000e0142\U000e0143", "😀"),  # bytes smuggled in variation selectors
        ("😀\ufe0f\ufe0f\ufe0e", "😀\ufe0f"),
        ("hi\U000e0041\U000e0042\U000e007f", "hi"),
        ("\U0001f3f4" + "".join(chr(0xE0000 + ord(c)) for c in "ignore all") + "\U000e007f", "\U0001f3f4"),
        (ENGLAND[1:], ""),
        ("icon \ue001 \U000f1234 end\uf8ff", "icon   end"),
        ("\ufdd0\uffff\U0001fffe\U0010ffff", ""),
        ("\u3164\uffa0\u115f\ufffc", ""),
        ("می\u200c خ", "می خ"),
        ("می\u200c\u061c خ", "می خ"),
    ],
)
def test_hidden_characters_go(text, expected):
    cleaned, removed = without_hidden(text)
    assert cleaned == expected
    assert len(removed) == len(text) - len(expected)


def test_nothing_invisible_is_left_of_any_character_between_latin_letters():
    for code in range(0x110000):
        character = chr(code)
        category = unicodedata.category(character)
        if category in ("Cc", "Co") or (category == "Cn" and (code & 0xFFFE) == 0xFFFE) or 0xFDD0 <= code <= 0xFDEF:
            cleaned = without_hidden(with_newlines(f"a{character}b"))[0]
            assert cleaned == ("a\nb" if character in "\n\r\x0b\x0c" else "a\tb" if character == "\t" else "ab"), hex(
                code
            )


def test_cleaning_twice_changes_nothing_more():
    generator = random.Random(0)
    alphabet = [
        *"a1 #",
        *"\u200b\u200c\u200d\ufe0f\ufe0e\ufe00\u061c\u180b\u20e3\u115f",
        "\u094d",
        *"مक😀❤葛ខ\u1820\u1100",
    ]
    alphabet += ["\U0001f3f4", "\U000e0067", "\U000e0062", "\U000e007f", "\U000e0100"]
    for _ in range(20_000):
        text = "".join(generator.choices(alphabet, k=generator.randrange(1, 10)))
        once = without_hidden(text)[0]
        assert without_hidden(once) == (once, ""), ascii(text)


def test_characters_are_named_with_their_counts():
    assert character_names("\u200b\x1b\u200b") == "U+200B zero width space (2), U+001B escape (1)"
    assert character_names("".join(map(chr, range(0xE000, 0xE008)))).endswith("U+E004 private use (1) and 3 more")
