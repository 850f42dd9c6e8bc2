"""What the page replies on each rung."""

from dataclasses import replace

import pytest

from shared import build_once
from tinsmith.evaluate.generate import Question
from tinsmith.evaluate.page import open_answers, page_replies
from tinsmith.model.answers.answers import Answers
from tinsmith.model.replies.asked import PageReply
from tiny_answers import write_tiny_answers


@pytest.fixture
def answers(tmp_path_factory):
    return Answers(build_once(tmp_path_factory, "tiny-answers", write_tiny_answers), threads=1)


def reply(answers, rung, monkeypatch, question="What is the price of Assam?"):
    real = Answers.look_up
    monkeypatch.setattr(
        answers, "look_up", lambda *asked, **more: replace_rung(real(answers, *asked, **more), rung), raising=False
    )
    (one,) = page_replies(answers, [Question("q", "", question, "", "")], ["The model's words."])
    return one


def replace_rung(ranked, rung):
    return replace(ranked, rung=rung)


@pytest.mark.parametrize("rung", ["sure", "likely"])
def test_a_passage_is_shown_word_for_word(answers, rung, monkeypatch):
    one = reply(answers, rung, monkeypatch)
    best = answers.look_up("What is the price of Assam?").passages[0][0]
    assert (one.rung, one.text, one.by, len(one.passages)) == (rung, best.text, "owner", 3)
    assert one.passages[0] == best.id and one.claims == best.text


def test_an_unknown_question_gets_the_models_words_only_if_the_page_lets_it_answer(answers, monkeypatch):
    answers.unknown, answers.fallback = "Ask us.", "offer"
    silent = reply(answers, "unsure", monkeypatch)
    assert (silent.text, silent.by, silent.claims) == ("Ask us.", "site", "")
    answers.fallback = "model"
    assert (spoken := reply(answers, "unsure", monkeypatch)).claims == "The model's words." and spoken.by == "model"


def test_small_talk_looks_nothing_up(answers, monkeypatch):
    assert reply(answers, "sure", monkeypatch, "Hello!") == PageReply("small_talk", "", (), "site")


def test_a_page_without_passages_is_not_asked(tmp_path):
    assert open_answers(tmp_path) is None
