"""Only exceptions are flagged: what many conversations do is the usual form."""

import numpy as np
import pytest

from tinsmith.data.features import FEATURES, features
from tinsmith.data.style import languages_of, style_flags
from tinsmith.model.conversations import Conversation, Message

WORDS = "amber basil cedar delta ember fjord grove heron inlet jewel koala lemon mango nylon ocean piano".split()
ENGLISH = "We deliver {} to every address in the city on the day after your order, and it costs nothing at all."
SWEDISH = "Vi levererar {} till alla adresser i staden dagen efter din beställning, och det kostar ingenting alls."


def conversation(answer, question="Do you deliver?"):
    return Conversation("1", "c", (Message("user", question), Message("assistant", answer)))


def usual(count):
    return [ENGLISH.format(f"{WORDS[n % 16]} {WORDS[n // 16 % 16]} {WORDS[n % 15]}") for n in range(count)]


def found(answers, language=""):
    conversations = [conversation(answer) for answer in answers]
    rows = [features(one) for one in conversations]
    columns = {name: np.array([row[name] for row in rows], np.int64) for name in FEATURES if name != "language"}
    codes = [row["language"] for row in rows]
    return [
        (flag.index, flag.reason, flag.detail)
        for flag in style_flags(columns, codes, language, lambda n: conversations[n])
    ]


def test_uniform_data_has_no_flags():
    assert found(usual(100)) == found(usual(100), "en") == found(usual(5)) == []


def test_a_foreign_conversation_is_flagged():
    answers = [*usual(60), SWEDISH.format("bärnsten"), "Ja, det gör vi."]
    reason = "language differs from that of most conversations"
    assert found(answers) == [(60, reason, "sv, not en")]
    assert found(answers, "en-GB") == [(60, "language is not data.language", "sv, not en")]


def test_data_in_two_languages_is_not_an_exception():
    answers = [*usual(60), *(SWEDISH.format(word) for word in WORDS)]
    assert found(answers) == []
    codes = ["en"] * 60 + ["sv"] * 16 + [""]
    assert languages_of(codes, "").usual == "en"
    assert languages_of(["en"] * 5 + ["sv"] * 5, "").usual == ""
    assert list(languages_of(codes, "sv_SE").counts.items()) == [("en", 60), ("sv", 16), ("", 1)]
    assert languages_of(codes, "sv_SE").usual == "sv"


def test_outliers_in_length():
    answers = [*usual(60), " ".join(usual(8)), "Yes.", "Yes, we do, by tram."]
    length = len(answers[60])
    median = len(answers[0])
    assert found(answers) == [
        (60, "answer is far longer than the others", f"{length} characters; the median is {median}"),
        (61, "answer is far shorter than the others", f"4 characters; the median is {median}"),
    ]


@pytest.mark.parametrize("block", ['<p>{{"a": {}}}</p>', '{{"a": {}}}'])
def test_the_few_answers_without_the_closing_block_are_flagged(block):
    answers = [f"{text}\n\n{block.format(n)}" for n, text in enumerate(usual(60))]
    answers[7] = usual(60)[7]
    assert found(answers) == [(7, "answer lacks the closing block of JSON that most answers have", "1 of 1 answers")]
    answers[7] = answers[8].replace('"a"', '"b"')
    assert found(answers) == [(7, "closing block of JSON has other keys than most", "")]


def test_half_of_the_answers_with_a_block_is_no_rule():
    assert found([text + '\n{"a": 1}' * (n % 2) for n, text in enumerate(usual(60))]) == []


def test_an_answer_without_a_full_stop_is_flagged_where_others_have_one():
    answers = usual(60)
    answers[3] = answers[3].rstrip(".")
    assert found(answers) == [(3, "answer ends without a full stop, unlike most", "")]
    assert found([text.rstrip(".") for text in answers]) == []


def test_boilerplate_is_quoted():
    answers = [
        f"Great question, my friend! {text} Please visit us soon." if n < 12 else text
        for n, text in enumerate(usual(60))
    ]
    begins, ends = (f"answer {verb} with a sentence that many answers share" for verb in ("begins", "ends"))
    expected = [(n, begins, "Great question, my friend!") for n in range(12)]
    assert found(answers) == expected + [(n, ends, "Please visit us soon.") for n in range(12)]
    assert found(answers[3:]) == []
    same = usual(60)
    same[:12] = ["I will ask a colleague. Please come back tomorrow."] * 12
    assert {(reason, detail) for _, reason, detail in found(same)} == {
        ("answer is word for word that of many other questions", "I will ask a colleague. Please come back tomorrow.")
    }
