"""Questions made by rules: each leads to its passage, gives nothing away, and is the same in every run."""

import pytest

from tinsmith.model.answers.questions import check_questions
from tinsmith.model.answers.rules import questions_by_rules
from tinsmith.model.answers.statements import states
from tinsmith.model.passages import Passage, Source

GOODS = (
    "tall green kettle|dented copper teapot|thin porcelain saucer|curved bamboo whisk|leakproof travel thermos|"
    "engraved silver strainer|oiled wooden tray|bleached linen towel"
)


def passages():
    """Eight answers and a section of a document, each with a price or a figure of its own."""
    source = Source("a.json", "line 1")
    answers = [
        Passage(
            f"p{number}",
            "answer",
            f"How much does the {name} from Kyoto cost?",
            f"Ask us for it. The {name} from our Kyoto partner workshop costs {number}35 crowns. It ships in 3 days.",
            source,
        )
        for number, name in enumerate(GOODS.split("|"), start=1)
    ]
    return [
        *answers,
        Passage("d", "document", "Returns > Refund after opening tea", "No refund for opened tea.", source),
    ]


def made(count=6, seed=1, language=""):
    return questions_by_rules(passages(), count, seed, language)


def known(questions):
    return [question for question in questions if question.kind == "known"]


def test_each_known_question_belongs_to_a_passage_and_all_are_labelled():
    questions = made()
    assert len(known(questions)) == 6 and len({question.id for question in known(questions)}) == 6
    assert check_questions(questions, passages()) == []
    assert {question.origin for question in questions} == {"rules"}
    assert len({question.question for question in questions}) == len(questions)
    assert [sum(q.kind == kind for q in questions) for kind in ("near", "far", "hostile")] == [0, 10, 6]


def test_what_must_be_stated_is_not_in_the_question():
    stated = [question for question in known(made(9)) if question.must_state]
    assert stated, "questions about a sentence with a figure ask for the figure"
    for question in stated:
        (phrase,) = question.must_state
        assert phrase.endswith("35 crowns") and not states(question.question, phrase)
        assert not any(character.isdigit() for character in question.question)


def test_questions_are_not_the_titles_themselves():
    titles = {passage.title.casefold() for passage in passages()}
    assert not titles & {question.question.casefold() for question in made(9)}
    assert any(letter_swapped(question) for question in known(made(9)))


def letter_swapped(question):
    """Whether a word is none of its passage's, but has the letters of one."""
    passage = next(passage for passage in passages() if passage.id == question.id)
    words = f"{passage.title} {passage.text}".casefold().replace("?", "").replace(".", "").split()
    return any(w not in words and sorted(w) in map(sorted, words) for w in question.question.split())


def test_the_seed_decides():
    assert made(seed=1) == made(seed=1) != made(seed=2)


@pytest.mark.parametrize(("language", "capital"), [("en", "capital"), ("sv", "huvudstad"), ("id", "capital")])
def test_far_questions_speak_the_datas_language(language, capital):
    assert any(capital in question.question for question in made(language=language) if question.kind == "far")


def test_a_question_that_fits_several_titles_is_not_asked():
    twins = [
        Passage(f"t{i}", "answer", "Copper teapot with lid", f"It holds {i} litres.", Source("a", "")) for i in range(2)
    ]
    assert known(questions_by_rules(twins, 2, 1)) == []
    (question,) = known(questions_by_rules(twins[:1], 2, 1))
    assert question.id == "t0"


def test_without_passages_only_far_and_hostile_questions_remain():
    assert {question.kind for question in questions_by_rules([], 5, 1)} == {"far", "hostile"}
