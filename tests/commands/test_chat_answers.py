"""The terminal's conversation climbs the same ladder as the page: rung, source, closest list, and then the model."""

from dataclasses import dataclass, replace

import pytest
from click.testing import CliRunner

from fake_run import write_run
from tinsmith.cli import main
from tinsmith.commands import chat as chat_module
from tinsmith.core.run_dir import write_json
from tinsmith.model.passages import Passage, Source

PASSAGES = tuple(
    Passage(
        f"p{number}",
        "answer",
        f"How much is the {name}?",
        f"The {name} is Rp {number}k. \x1b[31m",
        Source("menu.json", f"line {number}", "https://tea.example/menu", "2026-03-01"),
    )
    for number, name in enumerate(("latte", "mocha", "tea", "cake", "pot"), start=1)
)


@dataclass
class FakeRanked:
    rung: str
    confidence: float
    passages: tuple
    used_previous: bool = False
    is_far: bool = False


class FakeAnswers:
    """Ranks the passages in their order; the first word of a question is the rung."""

    def __init__(self, fallback, default="sure"):
        self.passages, self.fallback, self.default = list(PASSAGES), fallback, default
        self.asked = []

    def look_up(self, question, previous=()):
        self.asked.append((question, list(previous)))
        word = question.split()[0]
        rung = word if word in ("sure", "likely", "unsure") else self.default
        ranked = tuple((passage, None) for passage in PASSAGES)
        return FakeRanked(rung, 0.42, ranked, len(previous) == 2, is_far="far" in question)


class FakeModel:
    def __init__(self, *_):
        self.prompts = []

    def answer(self, messages):
        self.prompts.append([(message.role, message.content) for message in messages])
        yield "Rp 3"
        yield "3k"


ANSWERS = {"unknown": "No idea.", "owner": "Leaf & Kettle", "hello": "Welcome!", "goodbye": "Come back soon."}


@pytest.fixture
def chat(tmp_path, monkeypatch):
    """Runs `tinsmith chat` with these lines as input; returns its output, the answers and the loaded models."""
    run = write_run(tmp_path / "tea-bot")
    write_json(run.config, {"name": "tea-bot", "answers": ANSWERS, "app": {"questions": ["How much is tea?"]}})
    models = []

    def load(*arguments):
        models.append(FakeModel())
        return models[-1]

    def talk(*lines, answers):
        monkeypatch.setattr(chat_module, "open_answers", lambda run: answers)
        monkeypatch.setattr(chat_module, "load_tokenizer", lambda folder: None)
        monkeypatch.setattr(chat_module, "load_onnx", lambda path: None)
        monkeypatch.setattr(chat_module, "_Model", load)
        done = CliRunner().invoke(main, ["chat", str(run.root)], input="\n".join(lines) + "\n")
        assert done.exit_code == 0, done.output
        return done.stdout, models

    return talk


SOURCE_LINE = 'Source: menu.json · line 1 · 2026-03-01 · https://tea.example/menu · answer to "How much is the latte?"'


def test_a_sure_answer_is_the_owners_words_with_their_source_and_the_model_is_not_loaded(chat):
    shown, models = chat("sure latte?", answers=FakeAnswers("unknown"))
    assert "[word for word from Leaf & Kettle; confidence 0.42]" in shown and "The latte is Rp 1k. \\x1b[31m" in shown
    assert SOURCE_LINE in shown and "type a number" not in shown and models == []


def test_a_likely_answer_says_so_and_offers_two_more(chat):
    shown, _ = chat("likely latte?", answers=FakeAnswers("unknown"))
    assert (
        "[closest to the question, word for word from Leaf & Kettle; confidence 0.42]" in shown
        and "The latte is" in shown
    )
    assert "  1 How much is the mocha?\n  2 How much is the tea?\n" in shown and "cake" not in shown


def test_a_question_far_from_everything_gets_the_owners_suggestions(chat):
    shown, _ = chat("unsure and far", "2", answers=(answers := FakeAnswers("unknown")))
    assert "No idea.\nYou could ask:\n  How much is tea?\n" in shown and "type a number" not in shown
    assert [question for question, _ in answers.asked] == ["unsure and far", "2"], "2 is no offered number"


def test_an_unsure_answer_is_the_owners_text_and_three_to_choose_from(chat):
    shown, models = chat("unsure latte?", "2", "7", answers=(answers := FakeAnswers("unknown")))
    assert "No idea.\n" in shown and "  3 How much is the tea?\n" in shown and models == []
    assert shown.count("The mocha is Rp 2k.") == 1, "2 chooses the second passage"
    assert [question for question, _ in answers.asked] == ["unsure latte?", "7"], "7 is no offered number"


def test_where_the_ladder_says_so_the_model_answers_and_knows_what_was_said(chat):
    shown, (model,) = chat("sure latte?", "unsure and you?", answers=FakeAnswers("model"))
    assert "[written by the model, not by Leaf & Kettle: check it; confidence 0.42]\nRp 33k\n" in shown
    assert "No idea." not in shown and "  1 How much is the latte?\n" in shown
    assert model.prompts == [
        [
            ("system", "You sell tea."),
            ("user", "sure latte?"),
            ("assistant", PASSAGES[0].text),
            ("user", "unsure and you?"),
        ]
    ]


def test_the_offered_model_answers_in_place_of_no_idea_and_is_loaded_only_then(chat):
    shown, models = chat("unsure a", "sure b", "m", answers=(answers := FakeAnswers("offer")))
    assert shown.count("Type m to let the model answer.\n") == 1 and models == []
    assert [question for question, _ in answers.asked] == ["unsure a", "sure b", "m"], "only right after the offer"
    shown, (model,) = chat("sure a", "unsure b", "M", "sure c", answers=(answers := FakeAnswers("offer")))
    assert "[written by the model, not by Leaf & Kettle: check it; confidence 0.42]\nRp 33k\n" in shown
    assert model.prompts[0][1:] == [("user", "sure a"), ("assistant", PASSAGES[0].text), ("user", "unsure b")]
    assert answers.asked[-1] == ("sure c", ["sure a", "unsure b"])
    shown, models = chat("unsure a", "2", "m", answers=FakeAnswers("unknown"))
    assert "Type m" not in shown and models == [model], "nothing more is loaded"


def test_earlier_questions_help_to_understand_a_follow_up(chat):
    shown, _ = chat("sure a", "likely b", "sure c", answers=(answers := FakeAnswers("unknown")))
    assert answers.asked == [("sure a", []), ("likely b", ["sure a"]), ("sure c", ["sure a", "likely b"])]
    assert shown.count("read together with the previous question") == 1


def test_small_talk_gets_the_owners_reply_and_is_not_what_a_follow_up_refers_to(chat):
    lines = ("Hi!", "sure a", "thanks", "likely b", "bye", "1")
    shown, models = chat(*lines, answers=(answers := FakeAnswers("offer")))
    assert "Welcome!\nYou could ask:\n  How much is tea?\n" in shown and "Come back soon.\n" in shown
    assert "You are welcome." in shown and "No idea." not in shown and "Type m" not in shown and models == []
    asked = [("sure a", []), ("likely b", ["sure a"]), ("1", ["sure a", "likely b"])]
    assert answers.asked == asked, "nothing is offered below small talk"


@pytest.mark.parametrize("rung", ["sure", "likely"])
def test_the_owners_own_answer_to_small_talk_comes_first_if_the_ladder_is_sure(chat, rung):
    answers = FakeAnswers("offer", rung)
    answers.passages.append(replace(PASSAGES[0], title="What is your name?"))
    shown, _ = chat("sure a", "who are you?", "likely b", "hello", answers=answers)
    assert ("I am a program." in shown) is (rung == "likely") and "Welcome!" in shown
    assert answers.asked[1:-1] == [("who are you?", [])] * (2 if rung == "sure" else 1)
    assert answers.asked[-1] == ("likely b", ["sure a"]), "small talk is nothing to refer to"


def test_where_the_model_answers_it_also_talks_small(chat):
    shown, (model,) = chat("Hi!", answers=FakeAnswers("model"))
    assert "check it]\nRp 33k\n" in shown and "Welcome!" not in shown and "type a number" not in shown
    assert model.prompts == [[("system", "You sell tea."), ("user", "Hi!")]]


def test_without_answers_the_model_answers_alone_and_unmarked(chat):
    shown, (model,) = chat("latte?", "and tea?", answers=None)
    assert shown.count("Rp 33k\n") == 2 and "[" not in shown
    assert model.prompts[1][-3:] == [("user", "latte?"), ("assistant", "Rp 33k"), ("user", "and tea?")]


def test_the_model_alone_answers_if_the_configuration_says_so(tmp_path):
    run = write_run(tmp_path / "tea-bot")
    (run.stage("knowledge") / "answers").mkdir(parents=True, exist_ok=True)
    write_json(run.config, {"answers": {"mode": "model"}})
    assert chat_module.open_answers(run) is None
