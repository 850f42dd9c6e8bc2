"""Which questions each group gets, and where they come from."""

from dataclasses import replace

import pytest

from tinsmith.evaluate.groups import held_out_group, out_of_scope_questions, reworded_group, trained_group, usual_system
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


@pytest.mark.parametrize("seed", [1, 2])
def test_the_seed_draws(seed):
    drawn = [tuple(one.id for one in trained_group(TRAIN, 4, s).questions) for s in (seed, seed, seed + 1)]
    assert drawn[0] == drawn[1] != drawn[2]
