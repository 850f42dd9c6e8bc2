"""Answers of conversations become passages, whatever split they are in."""

import random

import pytest

from tinsmith.knowledge.passages import passages_of, stands_alone
from tinsmith.model.conversations import Conversation, Message
from tinsmith.model.passages import Passage, Source, read_passages, write_passages


def conversation(number, *texts, system="", category="hours"):
    roles = ("user", "assistant")
    messages = [Message("system", system)] if system else []
    messages += [Message(roles[index % 2], text) for index, text in enumerate(texts)]
    source = {"file": "faq.jsonl", "position": f"line {number}"}
    return Conversation(f"c-{number}", category, tuple(messages), source)


def test_a_passage_has_the_answer_its_question_and_its_place():
    result = passages_of([conversation(12, "When are\nyou open?", " From 9 to 18. ", system="MENU: secret")])
    assert result.passages == (
        Passage(
            id="c-12",
            kind="answer",
            title="When are you open?",
            text="From 9 to 18.",
            source=Source("faq.jsonl", "line 12"),
            questions=("When are\nyou open?",),
            category="hours",
        ),
    )


def test_identical_answers_are_one_passage_with_all_questions():
    result = passages_of(
        [
            conversation(1, "Do you sell bells?", "No, only lights."),
            conversation(2, "Do you sell lights?", "Yes."),
            conversation(3, "Can I buy a bell?", "No,  only lights."),
            conversation(4, "Do you sell bells?", "No, only lights."),
        ]
    )
    assert [p.questions for p in result.passages] == [
        ("Do you sell bells?", "Can I buy a bell?"),
        ("Do you sell lights?",),
    ]
    assert (result.answers, result.merged, result.dependent) == (4, 2, 0)


def test_ids_do_not_depend_on_the_split():
    conversations = [conversation(n, f"Question {n}?", f"Answer {n % 7}.") for n in range(1, 40)]
    expected = passages_of(conversations)
    assert [p.id for p in expected.passages] == [f"c-{n}" for n in range(1, 8)]  # line 9 stands before line 12
    for seed in range(3):
        shuffled = random.Random(seed).sample(conversations, len(conversations))
        assert passages_of(shuffled) == expected


def test_later_answers_need_a_question_that_stands_alone():
    result = passages_of(
        [
            conversation(
                1, "Hi", "Hello!", "What does a puncture repair cost?", "$14.", "And how long is that?", "An hour."
            )
        ]
    )
    assert [(p.id, p.title, p.source.place) for p in result.passages] == [
        ("c-1", "Hi", "line 1"),
        ("c-1:turn 2", "What does a puncture repair cost?", "line 1, turn 2"),
    ]
    assert result.dependent == 1


@pytest.mark.parametrize(
    "question",
    [
        "And what does the repair cost?",
        "How much is it with mudguards fitted?",
        "... with mudguards fitted?",
        "Och vad kostar det med lampor monterade?",
        "Why?",
        "What about tandem bikes with child seats?",
        "I prefer something with strong brakes",
    ],
)
def test_what_refers_back_does_not_stand_alone(question):
    assert not stands_alone(question)


@pytest.mark.parametrize("question", ["Which lights do you sell for winter?", "Vad kostar lagning av slangar?"])
def test_whole_questions_stand_alone(question):
    assert stands_alone(question)


def test_passages_survive_storage(tmp_path):
    passages = list(passages_of([conversation(1, "A\u2028b?", "Så här: 5 €\n\nNy rad")]).passages)
    passages.append(
        Passage("a.md#b", "document", "B", "text", Source("a.md", "B", "https://example.org", "2026-01-02"))
    )
    write_passages(tmp_path / "passages.jsonl", passages)
    assert read_passages(tmp_path / "passages.jsonl") == passages
