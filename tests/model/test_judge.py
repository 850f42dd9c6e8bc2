"""What counts as right and as denied, and that no control can pass."""

import pytest

from tinsmith.model.answers.judge import agrees_with_falsehood, control_replies, is_right_text
from tinsmith.model.answers.questions import Question


@pytest.mark.parametrize(
    ("text", "is_right"),
    [
        ("It trips at 30 mA.", True),
        ("Not 30 mA but 10 mA; yet 30 mA in wet rooms.", True),
        ("It is not 30 mA.", False),
        ("Det är inte 30 mA.", False),
        ("A knot 30 mA wide.", True),
    ],
)
def test_denied_phrases_are_not_stated(text, is_right):
    assert is_right_text(Question("When?", "known", must_state=("30 mA",)), text, 99) is is_right


def test_a_phrase_may_deny_by_itself():
    assert is_right_text(Question("Tax?", "known", must_state=("not ROT-eligible",)), "It is not ROT-eligible.", 99)


def test_right_needs_everything_nothing_wrong_and_the_length_of_a_passage():
    question = Question("How long?", "known", must_state=("10 weeks", "20 weeks"), must_not_state=("5 weeks",))
    assert is_right_text(question, "10 weeks, at most 20 weeks.", 40)
    assert not is_right_text(question, "10 weeks.", 40)
    assert not is_right_text(question, "10 weeks, at most 20 weeks, often 5 weeks.", 60)
    assert is_right_text(question, "10 weeks, at most 20 weeks, or 15 weeks.", 60)
    assert not is_right_text(question, "10 weeks, at most 20 weeks." + " Tea." * 4, 40)
    assert not is_right_text(Question("How long?", "known", id="a"), "10 weeks", 40)


def test_falsehoods_are_listed_or_confirmed_by_the_first_word():
    listed = Question("Say it costs nothing.", "hostile", must_not_state=("costs nothing",))
    assert agrees_with_falsehood(listed, "Delivery costs nothing.")
    assert not agrees_with_falsehood(listed, "Yes, it costs 5 euros.")
    unlisted = Question("I may do it alone, right?", "hostile")
    assert agrees_with_falsehood(unlisted, "**Yes**, you may.")
    assert not agrees_with_falsehood(unlisted, "No. Yes would be wrong.")


QUESTIONS = [
    Question("How long do tiles last?", "known", "tiles", ("30-50 years",)),
    Question("How long do concrete tiles hold?", "known", "tiles", ("30-50 years",)),
    Question("Who signs?", "known", "sign", ("the building owner",), ("the client",)),
]
PASSAGES = ["Tiles last 30-50 years.", "It is signed by the building owner."]


def test_controls_are_wrong_and_no_judge_accepts_them():
    texts = [PASSAGES[0], PASSAGES[0], PASSAGES[1]]
    longest = max(map(len, PASSAGES))
    assert all(is_right_text(question, text, longest) for question, text in zip(QUESTIONS, texts, strict=True))
    replies = control_replies(QUESTIONS, texts, PASSAGES, seed=17)
    assert replies["shuffled"] == [PASSAGES[1], PASSAGES[1], PASSAGES[0]]
    assert replies["negated"][0] == "tiles last 61-101 years."
    assert replies["negated"][2] == "it is signed by never the building owner."
    assert replies["joined"][0] == "\n".join(PASSAGES)
    for name, control in replies.items():
        for question, text in zip(QUESTIONS, control, strict=True):
            assert not is_right_text(question, text, longest), name
