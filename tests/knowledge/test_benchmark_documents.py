"""The invented shop's documents and the questions about them fit together, so that the benchmark measures answers."""

import json
import re
from collections import Counter
from pathlib import Path

import pytest

import tinsmith.commands
from tinsmith.knowledge.documents import passages_of_documents
from tinsmith.model.answers.questions import read_questions
from tinsmith.model.answers.wordings import read_wordings, with_wordings

FOLDER = Path(__file__).parents[2] / "benchmarks" / "documents"
GRAMMAR = frozenset(
    "a about after again all also am an and any are as at back be been before but by can come could did do does each"
    " else every for from get give go had has have he her him his how i if in into is it its just may me mine much must"
    " my never no not now of off on one or our out over so some somebody something still such take than that the their"
    " them then there they this those till to too under until up us use was way we were what when where which while who"
    " whose why will with would you your yours".split()
)


@pytest.fixture(scope="module")
def passages():
    return {passage.id: passage for passage in passages_of_documents(FOLDER / "shop").passages}


@pytest.fixture(scope="module")
def questions():
    return [json.loads(line) for line in (FOLDER / "questions.jsonl").read_text(encoding="utf-8").splitlines()]


def content_words(text):
    words = (word.removesuffix("s") for word in re.findall(r"[a-z]+", text.casefold()) if word not in GRAMMAR)
    return {word for word in words if len(word) > 2}


def test_there_are_known_and_unanswerable_questions(questions):
    assert sum(bool(question["id"]) for question in questions) == 50
    kinds = Counter(question["kind"] for question in questions if not question["id"])
    assert kinds == {"near": 10, "far": 5, "hostile": 5}
    assert len({question["question"] for question in questions}) == 70
    styles = {question["style"] for question in questions if question["id"]}
    assert styles == {"reworded", "situation", "short", "typos", "partial"}


def test_known_questions_are_answered_by_their_passage(passages, questions):
    for question in filter(lambda q: q["id"], questions):
        text = passages[question["id"]].text
        assert question["must_state"], question
        for stated in question["must_state"]:
            assert stated in text, (question["id"], stated)
        for wrong in question["must_not_state"]:
            assert not re.search(rf"(?<!\w){re.escape(wrong)}(?!\w)", text), (question["id"], wrong)


def test_visitors_use_their_own_words(passages, questions):
    for question in filter(lambda q: q["id"], questions):
        passage = passages[question["id"]]
        shared = content_words(question["question"]) & content_words(f"{passage.title} {passage.text}")
        assert len(shared) <= 2, (question["id"], question["question"], shared)


def test_what_must_be_stated_tells_the_passage_from_the_others(passages, questions):
    for question in filter(lambda q: q["id"], questions):
        stating = [id_ for id_, p in passages.items() if all(stated in p.text for stated in question["must_state"])]
        assert stating == [question["id"]]


def test_every_format_is_asked_about(questions):
    endings = {Path(question["id"].split("#")[0]).suffix for question in questions if question["id"]}
    assert endings == {".md", ".html", ".txt", ".pdf", ".docx"}


def test_every_section_has_wordings_and_none_is_a_question(passages):
    wordings = read_wordings(FOLDER / "wordings.jsonl", read_questions(FOLDER / "questions.jsonl"))
    worded = with_wordings(passages.values(), wordings, FOLDER / "wordings.jsonl")
    assert min(len(passage.wordings) for passage in worded) >= 7


def test_no_wording_of_the_demo_is_one_of_its_questions():
    folder = Path(tinsmith.commands.__file__).parent
    wordings = read_wordings(folder / "demo_wordings.jsonl", read_questions(folder / "demo_questions.jsonl"))
    assert len({wording.id for wording in wordings}) == 503 and len(wordings) > 4000
