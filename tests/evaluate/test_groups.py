"""Which questions each group gets, and where they come from."""

from dataclasses import replace

import pytest

from tinsmith.evaluate.closed_book import closed_book_questions, closed_book_sample
from tinsmith.evaluate.generate import Question as Ask
from tinsmith.evaluate.groups import (
    draw,
    held_out_group,
    out_of_scope_questions,
    reworded_group,
    trained_group,
    usual_system,
)
from tinsmith.model.answers.questions import Question
from tinsmith.model.answers.rates import Outcome
from tinsmith.model.conversations import Message
from tinsmith.model.passages import Passage, Source
from tiny import tiny_conversations

TRAIN = tiny_conversations(12)
IDS = [conversation.id for conversation in TRAIN]


def outcome(question, kind="known", id="", origin="owner"):
    return Outcome(Question(question, kind, id, origin=origin), "sure", 0.9, (), (), 100, False, False)


def passage(id, *wordings):
    return Passage(id, "answer", "", "Tea.", Source("tea.jsonl", "line 1"), wordings=wordings)


def reworded(outcomes=(), passages=(), preferred=(), count=3):
    return reworded_group(TRAIN, outcomes, passages, preferred, count, seed=1)


def test_trained_and_held_out_questions_are_drawn_word_for_word():
    trained, held_out = trained_group(TRAIN, 5, seed=1), held_out_group(TRAIN, 5, seed=1)
    asked = {conversation.id: conversation.messages for conversation in TRAIN}
    for group, name in ((trained, "trained"), (held_out, "held_out")):
        assert len(group.questions) == 5 and not group.reason
        for question in group.questions:
            assert question.messages == asked[question.id][:2]
            assert (question.reference, question.group) == (asked[question.id][2].content, name)
            assert question.conversation == question.id
    assert {one.id for one in trained.questions} != {one.id for one in held_out.questions}, "another draw"
    assert trained_group(TRAIN, 0, seed=1).reason == "no questions were asked"


def test_the_owners_questions_come_before_all_others():
    outcomes = [
        outcome("By rules?", id=IDS[0], origin="rules"),
        outcome("By the owner?", id=IDS[1]),
        outcome("About a test answer?", id="elsewhere"),
        outcome("Without an id?"),
        outcome("Far?", "far"),
        outcome("By an endpoint?", id=IDS[2], origin="endpoint"),
    ]
    group = reworded(outcomes, [passage(IDS[3], "A wording?")])
    assert [one.question for one in group.questions] == ["By the owner?"]
    (question,) = group.questions
    assert (question.conversation, question.group) == (IDS[1], "reworded") and question.id != IDS[1]
    assert question.reference == TRAIN[1].messages[2].content and question.system == "You sell tea."
    assert "owner" in group.source and not group.reason


def test_wordings_come_before_rules_and_their_source_says_that_the_page_has_them():
    rules, worded = outcome("By rules?", id=IDS[0], origin="rules"), passage(IDS[3], "One?", "Two?")
    group = reworded([rules], [worded, passage("elsewhere", "Of a test answer?"), passage(IDS[4])])
    assert len(group.questions) == 1 and group.questions[0].question in worded.wordings
    assert "the page's index holds too" in group.source
    assert reworded([rules]).source.startswith("questions that rules made")
    none = reworded([outcome("Far?", "far")], [passage("elsewhere", "Of a test answer?")])
    assert not none.questions and not none.source
    assert none.reason == "no measuring question has the id of a training answer, and no training answer has wordings"


def test_questions_that_are_answered_anyway_are_taken_first():
    outcomes = [outcome(f"Number {number}?", id=IDS[number]) for number in range(10)]
    group = reworded(outcomes, preferred=[outcomes[7], outcome("Other?", id="elsewhere"), outcomes[2]])
    assert [one.question for one in group.questions[:2]] == ["Number 7?", "Number 2?"] and len(group.questions) == 3


def test_a_later_turn_is_asked_by_its_passage():
    messages = (
        *TRAIN[0].messages,
        Message("user", "And oat milk, which one?"),
        Message("assistant", "The barista one."),
    )
    train = [replace(TRAIN[0], messages=messages)]
    group = reworded_group(train, [outcome("Oat milk?", id=f"{IDS[0]}:turn 2")], (), (), 3, seed=1)
    assert [(one.question, one.reference, one.conversation) for one in group.questions] == [
        ("Oat milk?", "The barista one.", IDS[0])
    ]


def test_the_model_is_asked_what_no_answer_of_the_data_fits():
    outcomes = [
        *(outcome(f"Near {number}?", "near") for number in range(4)),
        outcome("A known one, its passage hidden?", "near", origin="rules"),
        outcome("Far by rules?", "far", origin="rules"),
        outcome("Known?", id=IDS[0]),
        outcome("Hostile?", "hostile"),
    ]
    questions = out_of_scope_questions(outcomes, "You sell tea.", count=3, seed=1)
    assert [one.group for one in questions] == ["near"] * 3 + ["far"]
    assert not any("hidden" in one.question for one in questions)
    assert all(one.system == "You sell tea." and not one.reference for one in questions)
    assert len({one.id for one in questions}) == 4


def test_the_usual_system_message_is_the_most_common():
    others = tiny_conversations(2, system="Other.")
    assert usual_system([*others, *TRAIN]) == "You sell tea."
    assert usual_system(tiny_conversations(3, system="")) == ""


KNOWN = [outcome(f"Known {number}?", id=IDS[number]) for number in range(12)]
MANY = [passage(id, *(f"{id} in words {number}" for number in range(5))) for id in IDS]
ASKED = [outcome(f"{kind} {number}?", kind) for kind in ("near", "far") for number in range(12)]
WITH_FACTS = [replace(one, question=replace(one.question, must_state=("tea",))) for one in KNOWN for _ in range(5)]
DRAWS = {
    "trained": lambda seed: trained_group(TRAIN, 4, seed).questions,
    "held out": lambda seed: held_out_group(TRAIN, 4, seed).questions,
    "known": lambda seed: reworded_group(TRAIN, KNOWN, (), (), 4, seed).questions,
    "worded": lambda seed: reworded_group(TRAIN, (), MANY, (), 4, seed).questions,
    "wording": lambda seed: reworded_group(TRAIN, (), MANY[:1], (), 4, seed).questions,
    "near": lambda seed: out_of_scope_questions(ASKED[:12], "", 4, seed),
    "far": lambda seed: out_of_scope_questions(ASKED[12:], "", 4, seed),
    "closed book": lambda seed: [one.question.id for one in closed_book_sample(WITH_FACTS, seed)],
}


@pytest.mark.parametrize("name", DRAWS)
def test_the_seed_alone_draws(name):
    drawn = [DRAWS[name](seed) for seed in (1, 1, 2, 3, 4, 5, 6)]
    assert drawn[0] == drawn[1] and any(other != drawn[0] for other in drawn[2:])


def test_draws_of_different_things_differ_for_the_same_seed():
    drawn = [
        [TRAIN.index(next(one for one in TRAIN if one.id == question.conversation)) for question in DRAWS[name](1)]
        for name in ("trained", "held out", "known", "worded")
    ]
    assert len({tuple(sorted(one)) for one in drawn}) == 4
    near, far = ([int(one.question.split()[1][:-1]) for one in DRAWS[name](1)] for name in ("near", "far"))
    assert near != far


def test_as_many_are_drawn_as_there_are_in_their_order():
    assert draw("abc", 5, "1") == ["a", "b", "c"] and draw("abc", 0, "1") == []
    assert draw(range(100), 50, "1") == sorted(draw(range(100), 50, "1"))


def test_known_questions_are_asked_closed_book_if_their_answer_can_be_told():
    sample = closed_book_sample([*KNOWN, *ASKED, WITH_FACTS[0]], seed=1)
    assert sample == [WITH_FACTS[0]]
    assert len(closed_book_sample(WITH_FACTS, seed=1)) == 24
    (question,) = closed_book_questions(sample, "You sell tea.")
    assert question == Ask("0", "", "Known 0?", "You sell tea.", "")
