"""Facts of references, and whether training answers on the same subject state them."""

from dataclasses import replace

import pytest

from tinsmith.evaluate.answers import ask_all
from tinsmith.evaluate.generate import first_turn
from tinsmith.model.conversations import Conversation, Message
from tinsmith.model.generation import Answer
from tinsmith.model.replies.asked import MODELS, PageReply


def conversation(id, *turns):
    roles = ("user", "assistant")
    return Conversation(id, "", tuple(Message(roles[number % 2], text) for number, text in enumerate(turns)))


TRAIN = [
    conversation("fence", "How high may a fence be?", "A fence may be 110 cm high."),
    conversation(
        "deck", "A question about decks.", "Ask away.", "How high may a deck be?", "A deck may be 60 cm high."
    ),
    conversation("warranty", "How long is the warranty?", "The warranty is 10 years."),
    *(conversation(f"other{n}", f"What is colour {n}?", f"Colour {n} is a shade.") for n in range(6)),
]


def facts_of_held_out(question, reference):
    held_out = first_turn(conversation("test", question, reference))
    (one,) = ask_all([held_out], {model: [Answer("", 1, True)] for model in MODELS}, None, TRAIN, frozenset())
    return {fact.text: fact.in_training for fact in one.facts}


@pytest.mark.parametrize(
    ("question", "reference", "is_seen"),
    [
        ("How high may I build my fence?", "Yes, a fence may be 1.1 m high.", True),
        ("How high may I build my fence?", "Yes, a fence may be 1.8 m high.", False),
        ("How high may my deck be?", "It may be 60 cm high.", True),
        ("How long is a permit valid?", "A permit is valid for 10 years.", False),
    ],
)
def test_a_fact_is_in_training_if_an_answer_on_the_same_subject_states_it(question, reference, is_seen):
    flags = facts_of_held_out(question, reference)
    (value,) = (text for text in flags if any(unit in text for unit in ("m", "cm", "year")))
    assert flags[value] is is_seen, flags


def test_facts_of_trained_questions_are_in_training_and_the_page_keeps_its_place():
    questions = [first_turn(TRAIN[0]), first_turn(TRAIN[2])]
    questions = [replace(one, group=group) for one, group in zip(questions, ("trained", "reworded"), strict=True)]
    replies = {model: [Answer(f"{model} {n}", 3, True) for n in range(2)] for model in MODELS}
    pages = [PageReply("sure", f"page {n}", (), "owner") for n in range(2)]
    asked = ask_all(questions, replies, pages, TRAIN, frozenset())
    assert all(fact.in_training for one in asked for fact in one.facts) and all(one.facts for one in asked)
    assert [one.text("page") for one in asked] == ["page 0", "page 1"]
    assert [one.text("tuned") for one in asked] == ["tuned 0", "tuned 1"]
