"""The stage's record says why numbers are absent, and how long a reply may be."""

import json
from types import SimpleNamespace

import pytest

from fake_replies import reply_lines
from tinsmith.core.errors import DataError
from tinsmith.derive.files import Files
from tinsmith.derive.replies import ANSWERS, FORMAT
from tinsmith.evaluate import description
from tinsmith.evaluate.generate import Question, encode_prompts
from tinsmith.evaluate.groups import Group
from tinsmith.evaluate.inputs import reply_limit
from tinsmith.model.tokens import load_tokenizer

GROUPS = {
    "trained": Group((), "questions of the training data"),
    "reworded": Group((), "", "no training answer has wordings"),
    "held_out": Group((), "questions of the test data"),
}


@pytest.fixture
def reasons(tmp_path):
    """Writes these replies, and says why numbers are absent."""

    def of(lines, asked=(), has_format=True):
        (tmp_path / "evaluate").mkdir()
        if lines:
            (tmp_path / ANSWERS).write_text("".join(json.dumps(line) + "\n" for line in lines))
        if has_format:
            (tmp_path / FORMAT).write_text("{}")
        kinds = [Question(kind, "", "?", "", "", kind) for kind in asked]
        inputs = SimpleNamespace(groups=GROUPS, out_of_scope=kinds)
        return description.absent_reasons(inputs, Files(lambda stage: tmp_path / stage, 0))

    return of


REPLIES = [line for line in reply_lines() if line["page"]]


def without(group):
    return [line for line in REPLIES if line["group"] != group]


def test_nothing_is_absent_if_all_was_asked(reasons):
    assert reasons(REPLIES, asked=("near", "far")) == {}


def test_a_group_without_facts_has_the_reason_of_its_questions(reasons):
    reworded = "no training answer has wordings"
    assert reasons(without("reworded"), asked=("near", "far")) == {
        "evaluate.facts.reworded": reworded,
        "evaluate.contradicted.reworded": reworded,
    }


def test_questions_whose_references_state_nothing_are_said_so(reasons):
    silent = "their references state no such fact"
    assert reasons(without("held_out"), asked=("near", "far")) == {
        f"evaluate.{name}.{group}": silent
        for name in ("facts", "contradicted")
        for group in ("held_out_seen", "held_out_new")
    }


def test_where_the_judge_accepts_wrong_replies_that_is_the_reason(reasons, monkeypatch):
    monkeypatch.setattr(description, "withheld", lambda files: "they say nothing")
    absent = reasons(without("reworded"), asked=("near", "far"))
    assert absent.pop("evaluate.facts.reworded") == absent.pop("evaluate.contradicted.reworded") != "they say nothing"
    assert absent == {
        f"evaluate.{name}.{group}": "they say nothing"
        for name in ("facts", "contradicted")
        for group in ("trained", "held_out_seen", "held_out_new")
    }


def test_a_page_without_passages_is_no_subject(reasons):
    lines = [line | {"page": None} for line in REPLIES]
    assert reasons(lines, asked=("near", "far")) == {
        f"evaluate.{name}.{group}.page": "the page has no passages to look up"
        for name in ("facts", "contradicted")
        for group in ("trained", "reworded", "held_out_seen", "held_out_new")
    }


def test_kinds_that_were_not_asked_and_a_missing_format_are_said(reasons):
    assert reasons(REPLIES, asked=("far",), has_format=False) == {
        "evaluate.answers.format_valid": "most training answers have no JSON object with the same keys",
        "evaluate.refused.near": "there are no near questions that the training data do not answer",
    }


def test_without_questions_there_is_one_reason_for_all(reasons):
    assert reasons([]) == dict.fromkeys(
        ("evaluate.answers", "evaluate.facts", "evaluate.contradicted"), "no questions were asked"
    )


@pytest.fixture(scope="module")
def tokenizer(tiny_llama):
    return load_tokenizer(tiny_llama)


def references(tokenizer, *lengths):
    """Questions whose references have this many tokens."""
    texts = [" a" * length for length in lengths]
    assert [len(tokenizer.tokenizer(text, add_special_tokens=False)["input_ids"]) for text in texts] == list(lengths)
    return [Question("q", "", "?", "", text) for text in texts]


@pytest.mark.parametrize(
    ("lengths", "limit"),
    [
        ((), 64),
        ((1,), 64),
        ((51,), 64),  # a quarter more is 63.75
        ((52,), 65),
        ((57,), 72),  # a quarter more is 71.25
        ((300,), 375),
        ((307,), 384),
        ((308,), 384),
        ((100,) * 19 + (800,), 169),  # the percentile lies between the two longest, 5 % of the way
    ],
)
def test_a_reply_may_be_a_quarter_longer_than_nearly_all_references(tokenizer, lengths, limit):
    assert reply_limit(tokenizer, references(tokenizer, *lengths)) == limit


def test_a_question_without_tokens_is_named():
    silent = SimpleNamespace(encode_prompt=lambda messages: [1] if messages[-1].content else [])
    questions = [Question("a", "", "Tea?", "", ""), Question("b", "", "", "", "")]
    assert encode_prompts(silent, questions[:1]) == [[1]]
    with pytest.raises(DataError, match=r"^conversation b: its question has no tokens$") as caught:
        encode_prompts(silent, questions)
    assert caught.value.hint == "Check the tokenizer of the base."
