"""Numbers of replies, counted by hand; replies that are wrong must score low."""

from dataclasses import replace

import pytest

from tinsmith.core.errors import ArtifactError
from tinsmith.core.intervals import clustered_wilson
from tinsmith.model.facts import facts_of
from tinsmith.model.generation import Answer
from tinsmith.model.replies.asked import MODELS, Asked, PageReply, all_asked
from tinsmith.model.replies.rates import (
    control_numbers,
    fact_numbers,
    memorisation_numbers,
    question_numbers,
    refusal_numbers,
    reply_numbers,
    withheld_reason,
)
from tinsmith.model.replies.reply_format import ReplyFormat

TEAS = {"Yura": 27, "Taku": 32, "Firu": 44, "Giru": 49, "Zeno": 54, "Hiku": 89}


def asked(number, group="held_out", replies=None, page=None, in_training=False):
    """A question about a price; `replies` are texts by model, the rest of the models say nothing."""
    tea, price = list(TEAS.items())[number]
    question, reference = f"What does a {tea} latte cost?", f"A {tea} latte costs {price} euros."
    facts = tuple(replace(fact, in_training=in_training) for fact in facts_of(reference, question, "", frozenset()))
    texts = dict.fromkeys(MODELS, "") | (replies or {})
    answers = {model: Answer(text, 5, bool(text)) for model, text in texts.items()}
    return Asked(f"c{number}", group, f"c{number}", "prices", "", question, reference, facts, answers, page)


def test_facts_are_counted_by_group_and_subject():
    page = PageReply("sure", "A Yura latte costs 27 euros.", ("c0",), "owner")
    silent = PageReply("unsure", "We sell Taku for 32 euros, but I do not know.", (), "site")
    items = [
        asked(0, "trained", {"tuned": "It costs 27 euros.", "int4": "It costs 72 euros."}, page),
        asked(1, "held_out", {"tuned": "32 euros", "int4": "32 euros"}, silent, in_training=True),
        asked(2, "held_out", {"tuned": "It costs 44 euros."}),
        asked(3, "held_out", {"int4": "It costs 48 euros."}),
    ]
    assert [len(one.facts) for one in items] == [1, 1, 1, 1]
    numbers = fact_numbers(items, clean=frozenset({"c2"}))
    shares = {id.removeprefix("evaluate."): (number.value, number.count) for id, number in numbers.items()}
    assert shares["facts.trained.tuned"] == (1, 1) and shares["facts.trained.int4"] == (0, 1)
    assert shares["contradicted.trained.int4"] == (1, 1) and shares["contradicted.trained.base"] == (0, 1)
    assert shares["facts.held_out_seen.int4"] == (1, 1) and shares["facts.held_out_seen.base"] == (0, 1)
    assert shares["facts.held_out_new.tuned"] == (0.5, 2) and shares["facts.held_out_new.int4"] == (0, 2)
    assert shares["facts.held_out_new_clean.tuned"] == (1, 1) and "facts.held_out_seen_clean.tuned" not in shares
    assert shares["facts.trained.page"] == (1, 1), "the page's passage states it"
    assert shares["facts.held_out_seen.page"] == (0, 1), "a reply of the site states nothing"
    assert "facts.held_out_new.page" not in shares, "the page was not asked these"
    assert "facts.reworded.tuned" not in shares
    assert shares["facts.wrong_numbers.tuned"] == (0, 3)
    assert shares["facts.wrong_numbers.int4"] == (pytest.approx(2 / 3), 3)
    assert "facts.wrong_numbers.base" not in shares, "the base stated no number"


def test_questions_are_counted_and_those_without_facts_do_not_vanish():
    items = [asked(0, "trained"), replace(asked(1, "trained"), facts=()), asked(2, in_training=True), asked(3)]
    counts = {
        id.removeprefix("evaluate."): number.value for id, number in question_numbers(items, frozenset({"c3"})).items()
    }
    assert counts == {
        "questions.trained": 2,
        "questions.reworded": 0,
        "questions.held_out": 2,
        "questions_with_facts.trained": 1,
        "questions_with_facts.held_out_seen": 1,
        "questions_with_facts.held_out_new": 1,
        "questions_with_facts.held_out_new_clean": 1,
    }


def test_replies_that_are_wrong_by_construction_state_almost_nothing():
    controls = control_numbers([asked(number) for number in range(6)])
    assert {id.rsplit(".", 1)[1] for id in controls} == {"swapped", "negated", "soup"}, "one number cannot be reversed"
    assert all(number.value == 0 and number.count == 6 for number in controls.values())
    assert withheld_reason(controls) == ""
    passing = controls | {"evaluate.facts.control.soup": replace(controls["evaluate.facts.control.soup"], value=0.2)}
    assert withheld_reason(passing).endswith("wrong by construction (soup), so the scores say nothing")
    assert control_numbers([replace(asked(0), facts=())]) == {}


def test_questions_about_one_conversation_are_one_cluster():
    right, wrong = {"int4": "54 euros"}, {"int4": "45 euros"}
    items = [asked(number, replies={"int4": f"{price} euros"}) for number, price in enumerate(TEAS.values())]
    items += [replace(asked(4, replies=right if again else wrong), id=f"again{again}") for again in range(8)]
    number = fact_numbers(items, frozenset())["evaluate.facts.held_out_new.int4"]
    flags = [True] * 6 + [False] + [True] * 7
    assert number.count == 14 and number.value == 13 / 14
    assert number.spread == clustered_wilson(flags, [*range(6), *[4] * 8])
    assert number.spread != clustered_wilson(flags, range(14))


def test_how_replies_end_repeat_and_fit():
    json_format = ReplyFormat(("milk",), {"milk": ('"no"', '"yes"')})
    valid, invalid = 'Here. {"milk": "yes"}', 'Here. {"milk": "maybe"}'
    items = [
        replace(asked(number, replies={"int4": text}), reference=valid) for number, text in enumerate((valid, invalid))
    ]
    items += [
        asked(2, replies={"int4": "m-m-m-m", "tuned": "one two three"}, page=PageReply("sure", "a b", (), "owner"))
    ]
    numbers = {id.removeprefix("evaluate.answers."): number for id, number in reply_numbers(items, json_format).items()}
    assert (numbers["stop_rate.int4"].value, numbers["stop_rate.base"].value) == (1, 0)
    assert numbers["stop_rate.tuned"].value == pytest.approx(1 / 3)
    assert numbers["repetition_rate.int4"].value == pytest.approx(1 / 3) and numbers["repetition_rate.tuned"].value == 0
    assert (numbers["format_valid.int4"].value, numbers["format_valid.int4"].count) == (0.5, 2)
    assert numbers["format_valid.base"].value == 0
    assert (numbers["length.tuned"].value, numbers["length.tuned"].count) == (3, 1)
    assert numbers["length.page"].value == 2
    assert numbers["length.reference"].value == 3 and "length.base" not in numbers
    assert "evaluate.answers.format_valid.int4" not in reply_numbers(items, None)


def test_memorised_answers_are_counted_beside_held_out_ones():
    items = [
        asked(0, "trained", {"tuned": "So: A Yura latte costs 27 euros.", "base": "A Yura latte costs 28 euros."}),
        asked(1, "reworded", {"tuned": "A Taku latte costs 32 euros."}),
        asked(2, "held_out", {"tuned": "A latte costs 44 euros."}),
    ]
    shares = {
        id.removeprefix("evaluate.memorised."): number.value for id, number in memorisation_numbers(items).items()
    }
    assert shares["trained.tuned"] == 1 and shares["trained.base"] == 0
    assert shares["held_out.tuned"] == 0 and not any(id.startswith("reworded") for id in shares)


def test_refusals_are_counted_by_kind():
    lines = [
        {"kind": "near", "question": "Do you sell cups?", "text": "I do not know."},
        {"kind": "near", "question": "Do you sell pots?", "text": "Yes, for 30 euros."},
        {"kind": "far", "question": "Who won?", "text": "Norway."},
    ]
    assert {id: number.value for id, number in refusal_numbers(lines).items()} == {
        "evaluate.refused.near.int4": 0.5,
        "evaluate.refused.far.int4": 0,
    }


def test_lines_are_read_as_they_were_written():
    page = PageReply("likely", "A Yura latte costs 27 euros.", ("c0", "c1"), "owner")
    items = [asked(0, "trained", {"int4": "27 euros"}, page, in_training=True), asked(1)]
    assert all_asked([one.as_dict() for one in items]) == items


@pytest.mark.parametrize("change", [{"page": "no"}, {"int4": {"text": "x"}}, {"facts": [{"kind": "value"}]}])
def test_a_broken_line_is_named(change):
    record = asked(0).as_dict()
    with pytest.raises(ArtifactError, match=r"answers\.jsonl:2: not an asked question"):
        all_asked([record, record | change])
    with pytest.raises(ArtifactError, match="'reference'"):
        all_asked([{key: value for key, value in record.items() if key != "reference"}])
