"""Key facts of hand-written answers."""

import pytest

from tinsmith.evaluate.keyfacts import common_words, key_facts, stated_facts

COMMON = frozenset("ask latte straight building permit plan great question origin welcome shipping".split())


def texts(facts):
    return [fact.text for fact in facts]


def test_faq_answer():
    reference = (
        "The fee varies: approx. 25,000-50,000 SEK for a house. In practice: 4-6 weeks, or 8 with Boverket involved. "
        "See https://www.boverket.se/en/. Zaragoza AB assists under the Planning Act."
    )
    assert texts(key_facts(reference, "What does a building permit cost?", COMMON)) == [
        "boverket.se/en",
        "25000 SEK",
        "50000 SEK",
        "4 week",
        "6 week",
        "8",
        "Boverket",
        "Zaragoza AB",
        "Planning Act",
    ]


def test_menu_answer_without_what_the_prompt_gives_away():
    system = "MENU:\n- Giru: Straight Rp 39k | Latte Rp 49k"
    reference = (
        "Great question! **Giru Latte** (Rp 49k) comes from Nishio (Aichi) and costs Rp 10k more.\n\n"
        "1. Origin: Nishio\n2. Milk: oat\n\n"
        '<preferences>{"intent": "compare", "price": 77, "origin": ["Uji"]}</preferences>'
    )
    assert texts(key_facts(reference, system, COMMON)) == ["10000 IDR", "Nishio", "Aichi"]


@pytest.mark.parametrize(
    ("reference", "names"),
    [
        ("Great Latte from Uji.", ["Uji"]),
        ("We like the Latte.", []),
        ("Ask the Building Permit Office first.", ["Building Permit Office"]),
        ("I'd say it's OK on Monday.", []),
        ("Ask Jean de Vries. Anna agrees.", ["Jean de Vries"]),
        ("It is Giru's Latte.", ["Giru"]),
        ("- Matcha\n- Hojicha", []),
    ],
)
def test_names(reference, names):
    assert texts(key_facts(reference, "", COMMON)) == names


@pytest.mark.parametrize(
    ("reference", "answer", "is_stated"),
    [
        ("It costs 25,000 SEK.", "About 25 000 kr.", True),
        ("It costs 25,000 SEK.", "About 25k.", True),
        ("It costs 25,000 SEK.", "About 125,000 SEK.", False),
        ("It costs 25,000 SEK.", "About 25,000 USD.", False),
        ("It takes 10 weeks.", "A 10-week wait.", True),
        ("It takes 10 weeks.", "It takes 10 days.", False),
        ("It takes 3.", "3. Third point", False),
        ("We ask Kiy\u014d.", "kiyo is good", True),
        ("We ask Kiyo.", "Kiyoko is good", False),
        ("We ask Kiyo.", "Kiyo's tea", True),
        ("Mail a@b.se.", "Write to A@b.se!", True),
    ],
)
def test_stated(reference, answer, is_stated):
    facts = key_facts(reference, "", COMMON)
    assert len(facts) == 1
    assert bool(stated_facts(facts, answer)) == is_stated


def test_a_fact_counts_once():
    assert texts(key_facts("It is Rp 25k. Yes, Rp 25,000, from Uji and again from Uji.", "", COMMON)) == [
        "25000 IDR",
        "Uji",
    ]


def test_common_words_are_those_seen_in_lower_case():
    assert common_words(["The Latte from Uji", "a latte", '{"origin": "uji"}']) == {"from", "a", "latte"}
