"""Facts of hand-written answers and of replies to them."""

import pytest

from tinsmith.model.facts import (
    CONTROLS,
    MAX_CONTROL_RECALL,
    Fact,
    common_words,
    control_recalls,
    control_replies,
    facts_of,
    judge_facts,
    states_reference,
    wrong_numbers,
)

COMMON = frozenset("ask latte straight building permit plan great question origin welcome shipping".split())


def texts(facts):
    return [fact.text for fact in facts]


def test_facts_of_an_answer():
    reference = (
        "The fee varies: approx. 25,000-50,000 SEK for a house. In practice: 4-6 weeks, or 8 with Boverket involved. "
        "See https://www.boverket.se/en/. Zaragoza AB assists under the Planning Act."
    )
    assert texts(facts_of(reference, "What does a building permit cost?", "", COMMON)) == [
        "boverket.se/en",
        "25000-50000 SEK",
        "4-6 week",
        "8",
        "Boverket",
        "Zaragoza AB",
        "Planning Act",
    ]


def test_a_price_of_the_menu_is_a_fact_because_it_must_be_picked_and_a_name_of_it_is_none():
    system = "MENU:\n- Giru: Straight Rp 39k | Latte Rp 49k"
    reference = (
        "Great question! **Giru Latte** (Rp 49k) comes from Nishio (Aichi).\n\n"
        '<preferences>{"intent": "compare", "price": 77, "origin": ["Uji"]}</preferences>'
    )
    assert texts(facts_of(reference, "", system, COMMON)) == ["49000 IDR", "Nishio", "Aichi"]
    only_price = "MENU: Giru Latte Rp 49k"
    assert texts(facts_of(reference, "", only_price, COMMON)) == ["Nishio", "Aichi"]


@pytest.mark.parametrize(
    ("reference", "names"),
    [
        ("Great Latte from Uji.", ["Uji"]),
        ("Ask the Building Permit Office first.", ["Building Permit Office"]),
        ("Ask Jean de Vries. Anna agrees.", ["Jean de Vries"]),
        ("It is Giru's Latte.", ["Giru"]),
        ("The Planning and Building Act (PBL).", ["Planning and Building Act"]),
    ],
)
def test_names(reference, names):
    assert texts(fact for fact in facts_of(reference, "", "", COMMON) if fact.kind == "name") == names


def test_a_fact_survives_json():
    facts = facts_of("At least 30 m2 from 1 May at Boverket, and 08-123 45 67.", "How big?", "", frozenset())
    assert {fact.kind for fact in facts} == {"value", "name"}
    assert [Fact.from_dict(fact.as_dict()) for fact in facts] == facts


def test_forbidden_values_and_words_contradict_a_fact():
    (fact,) = facts_of("The fee is 500 SEK.", "What is the fee?", "", frozenset())
    fact = Fact.from_dict(fact.as_dict() | {"forbidden": ["600 SEK", "Boverket"]})
    question = "What is the fee?"
    assert judge_facts([fact], question, "The fee is 500 SEK.") == ["stated"]
    assert judge_facts([fact], question, "The fee is 500 SEK, and the deposit is 600 kr.") == ["contradicted"]
    assert judge_facts([fact], question, "The fee is 500 SEK and goes to Boverket.") == ["contradicted"]


def test_a_missing_fact_is_not_a_contradicted_one():
    facts = facts_of("The fee is 500 SEK.", "What is the fee?", "", frozenset())
    assert judge_facts(facts, "What is the fee?", "That depends on the house.") == ["missing"]
    assert judge_facts(facts, "What is the fee?", "The fee is 700 SEK.") == ["contradicted"]


def test_swapped_prices_contradict_both():
    question, reference = "What do the two drinks cost?", "Giru Latte costs Rp 49k and Firu Straight Rp 34k."
    facts = [fact for fact in facts_of(reference, question, "", frozenset()) if fact.value]
    assert judge_facts(facts, question, "Firu Straight is Rp 34,000, Giru Latte is Rp 49,000.") == ["stated"] * 2
    assert judge_facts(facts, question, "Giru Latte costs Rp 34k and Firu Straight Rp 49k.") == ["contradicted"] * 2
    assert not states_reference(question, reference, "25k, 34k, 49k, 59k and 94k")


def test_wrong_numbers():
    assert wrong_numbers("It takes 10 weeks and costs 500 kr.", ["ten weeks", "600 SEK"]) == (1, 2)


def test_controls_state_nothing_and_references_state_everything():
    questions = ["What does it cost?", "How long does it take?", "When do you close?", "Who decides?"]
    references = [
        "A permit costs 25,000 SEK for a house and 12,000 SEK for a garage.",
        "It takes at most 10 weeks after 3 May.",
        "We close at 17:00 on weekdays and at 15:00 on Saturdays.",
        "The committee of Lund decides under the Planning and Building Act.",
    ]
    facts = [facts_of(r, q, "", frozenset()) for q, r in zip(questions, references, strict=True)]
    for question, reference, own in zip(questions, references, facts, strict=True):
        assert judge_facts(own, question, reference) == ["stated"] * len(own)
    recalls = control_recalls(list(control_replies(questions, references, facts, seed=0)))
    assert set(recalls) == set(CONTROLS)
    for control, (stated, count) in recalls.items():
        assert count > 0
        assert stated / count < MAX_CONTROL_RECALL, control


def test_common_words_are_those_seen_in_lower_case():
    assert common_words(["The Latte from Uji", "a latte", '{"origin": "uji"}']) == {"from", "a", "latte"}
