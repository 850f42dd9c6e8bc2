"""The JSON object of training answers, and replies that have it or only something like it."""

import json

import pytest

from tinsmith.model.replies.reply_format import ReplyFormat, format_of, json_block


def answer(**changed):
    block = {"intent": "buy", "teas": ["m-001"], "notes": "free text"} | changed
    return f"Here you are {{really}}.\n<preferences>{json.dumps(block)}</preferences>"


TRAINING = [
    answer(intent=intent, teas=teas, notes=f"note {number}")
    for number, (intent, teas) in enumerate(
        [("buy", ["m-001"]), ("ask", []), ("buy", ["m-001", "m-002"]), ("ask", None)] * 3
    )
]
FORMAT = format_of(lambda: TRAINING)


def test_values_that_repeat_are_a_list_to_choose_from_and_free_text_is_not():
    assert FORMAT.keys == ("intent", "notes", "teas")
    assert FORMAT.values == {"intent": ('"ask"', '"buy"'), "teas": ('"m-001"', '"m-002"', "null")}
    assert ReplyFormat.from_dict(json.loads(json.dumps(FORMAT.as_dict()))) == FORMAT


@pytest.mark.parametrize(
    "text", [answer(), answer(teas=["m-002"], notes="anything"), answer(teas=None), answer(teas=[])]
)
def test_a_reply_in_the_format_is_valid(text):
    assert FORMAT.is_valid(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "Just tea.",
        answer()[:-25],
        answer(teas=["m-009"]),
        answer(intent="steal"),
        answer(intent=["buy", "steal"]),
        answer(price=3),
        'Here: {"intent": "buy", "teas": ["m-001"]}',
        answer() + ' {"other": 1}',
    ],
)
def test_a_reply_that_is_cut_or_invents_keys_or_values_is_not(text):
    assert not FORMAT.is_valid(text)


def test_no_format_without_keys_that_most_answers_have():
    assert format_of(list) is None
    assert format_of(lambda: ["Tea.", "No tea."]) is None
    assert format_of(lambda: [answer(), "Tea."]) is None
    assert format_of(lambda: [answer(), answer(), "Tea."]) is not None


def test_the_last_object_counts_and_broken_braces_do_not():
    assert json_block('{"a": {"b": 1}} and {"c": 2} {oops') == {"c": 2}
    assert json_block("{not json}") is None
    assert json_block("[1, 2]") is None
