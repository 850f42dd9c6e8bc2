"""The benchmark of memorizing and reading facts, on a tiny model whose figures are known beforehand."""

import json
import sys
from functools import partial
from pathlib import Path

import pytest

from stage_runs import run_stage
from tinsmith.core.config import TrainConfig
from tinsmith.core.config_file import validate_config
from tinsmith.core.run_dir import RunDir, link_or_copy, read_json, write_json
from tinsmith.model.answers.answers import Answers
from tinsmith.model.conversations import Conversation, Message, write_jsonl
from tinsmith.pipeline.ownership import mark_run
from tinsmith.train.stage import train_adapter
from tiny_answers import tiny_passages, write_tiny_answers

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
TRAIN = {"epochs": 2, "learning_rate": 1e-2, "lora_rank": 64, "lora_alpha": 64, "batch_size": 5, "grad_accum_steps": 1}
UNKNOWN = "I do not know that."
PRICES = [passage for passage in tiny_passages() if passage.id.endswith("price")]


@pytest.fixture
def facts(monkeypatch, tmp_path):
    """The benchmark as a module that writes its results to the test's folder."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import facts
    import harness

    monkeypatch.setattr(harness, "HERE", tmp_path)
    yield facts
    for name in ("facts", "harness", "answers"):
        sys.modules.pop(name, None)


@pytest.fixture
def run(tmp_path, tiny_llama) -> Path:
    """A run with the stages that the benchmark reads: ten conversations about prices, eight of them for training."""
    root = tmp_path / "run"
    for path in tiny_llama.iterdir():
        link_or_copy(path, root / "base" / "model" / path.name)
    write_json(root / "base" / "base.json", {"id": "org/Tiny"})
    conversations = [conversation(passage) for passage in PRICES]
    (root / "data").mkdir()
    write_jsonl(root / "data" / "train.jsonl", conversations[:8])
    write_jsonl(root / "data" / "val.jsonl", conversations[8:])
    (root / "knowledge" / "answers").mkdir(parents=True)
    write_tiny_answers(root / "knowledge" / "answers")
    config = {"name": "run", "data": {"path": "tea.jsonl"}, "train": TRAIN, "evaluate": {"max_new_tokens": 48}}
    write_json(root / "config.json", config)
    mark_run(RunDir(root), None)
    return root


def conversation(passage) -> Conversation:
    turns = (("system", "You sell tea."), ("user", passage.title), ("assistant", passage.text))
    return Conversation(passage.id, "tea", tuple(Message(*turn) for turn in turns))


def prices(passage) -> list[str]:
    return [f"{number} euros" for number in passage.text.split() if number.isdecimal()]


def write_questions(path: Path, must_state=prices) -> Path:
    """A known question about each price, and two near ones."""
    known = [
        {"question": f"What does {one.id[:6]} cost?", "id": one.id, "must_state": must_state(one)} for one in PRICES
    ]
    near = [{"question": f"Do you sell {what}?", "kind": "near"} for what in ("cups", "kettles")]
    return write_lines(path, [*known, *near])


def lines(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def write_lines(path: Path, records: list[dict]) -> Path:
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    return path


def opened(facts, run, questions, *more):
    return facts.facts_of(facts.parsed_arguments(["--run", str(run), "--questions", str(questions), *more]))


@pytest.fixture
def questions(tmp_path) -> Path:
    return write_questions(tmp_path / "questions.jsonl")


def notes_of(text: str) -> list[str]:
    """The notes before a question."""
    opening, *notes, _ = text.split("\n\n")
    assert opening == "Notes:"
    assert [note[:4] for note in notes] == [f"[{number}] " for number in range(1, len(notes) + 1)]
    return [note[4:] for note in notes]


def test_the_whole_script(facts, run, questions, tmp_path, capsys):
    write_json(tmp_path / "results" / "facts.json", {"other": {"verbatim": {"share": 0.5, "questions": 9}}})
    facts.main(["--run", str(run), "--questions", str(questions), "--epochs", "2, 1"])
    last, published = json.loads(capsys.readouterr().out.splitlines()[-1]), read_json(tmp_path / "results/facts.json")
    assert last["other"]["verbatim"] == published["other"]["verbatim"]["share"] == 0.5
    tiny = last["tiny"]
    assert list(tiny["by_heart"]) == list(tiny["reading"]) == ["0", "1", "2"]
    answers = Answers(run / "knowledge" / "answers")
    found = [answers.look_up(question["question"]).passages[0][0].text for question in lines(questions)[: len(PRICES)]]
    right = [all(price in text for price in prices(own)) for own, text in zip(PRICES, found, strict=True)]
    assert 0 < tiny["verbatim"] == sum(right) / len(right) < tiny["verbatim_in_3"] < 1
    assert published["tiny"]["by_heart"]["2"]["as_trained"]["questions"] == 8
    assert published["tiny"]["reading"]["2"]["own_note"]["questions"] == 10
    assert tiny["reading"]["0"]["val_loss"] == tiny["by_heart"]["0"]["val_loss"] > tiny["reading"]["2"]["val_loss"]


def test_a_tiny_base_states_what_it_was_trained_on(facts, run, questions):
    config, material = validate_config(read_json(run / "config.json"), "config.json"), opened(facts, run, questions)
    measure = partial(facts.figures, material, facts.by_heart_prompts(material))
    by_epoch = facts.trained_figures(run, config, [1, 40], partial(facts.by_heart, material), measure)
    assert [figures["as_trained"]["share"] for figures in by_epoch.values()] == [0, 0, 1]
    assert "ci95_low" not in by_epoch["40"]["as_trained"], "eight questions are too few for an interval"


def test_training_is_that_of_the_train_stage(facts, run, questions, tmp_path, monkeypatch):
    monkeypatch.setattr("tinsmith.train.loop._CHECKPOINT_SECONDS", -1.0)  # also one inside every epoch
    config = validate_config(read_json(run / "config.json"), "config.json")
    told = partial(facts.by_heart, opened(facts, run, questions))
    measured = []
    by_epoch = facts.trained_figures(run, config, [1, 2], told, lambda reply: {"call": measured.append(reply)})
    assert len(measured) == len(by_epoch) == 3
    out = tmp_path / "train"
    out.mkdir()
    run_stage(train_adapter, TrainConfig(**TRAIN), run / "base", run / "data", out, seed=config.seed)
    log = [line for line in lines(out / "log.jsonl") if "val_loss" in line]
    assert [figures["val_loss"] for figures in by_epoch.values()] == [line["val_loss"] for line in log]
    assert len({line["val_loss"] for line in log}) == 3


def test_each_epoch_trains_on_its_own_conversations(facts, run, questions):
    config = validate_config(read_json(run / "config.json"), "config.json")
    same, epochs = partial(facts.by_heart, opened(facts, run, questions)), []

    def other_in_the_second(epoch):
        epochs.append(epoch)
        return [facts.retold(one, "And?", UNKNOWN) for one in same(epoch)] if epoch else same(epoch)

    losses = [
        [figures["val_loss"] for figures in facts.trained_figures(run, config, [1, 2], told, lambda _: {}).values()]
        for told in (same, other_in_the_second)
    ]
    assert epochs == [0, 1]
    assert losses[0][:2] == losses[1][:2]
    assert losses[0][2] < losses[1][2]


def test_own_question_and_wordings_take_turns(facts, run, questions, tmp_path):
    more = [{"question": f"{word} {one.title}", "id": one.id} for one in PRICES for word in ("Say,", "Please,")]
    wordings = write_lines(tmp_path / "wordings.jsonl", more)
    material = opened(facts, run, questions, "--wordings", str(wordings))
    by_epoch = [facts.by_heart(material, epoch) for epoch in range(3)]
    for own, *told in zip(PRICES[:8], *by_epoch, strict=True):
        texts = {conversation.messages[1].content for conversation in told}
        assert texts == {own.title, f"Say, {own.title}", f"Please, {own.title}"}
        assert {conversation.messages[0::2] for conversation in told} == {conversation(own).messages[0::2]}
    assert len({conversation.messages[1].content[:4] for conversation in by_epoch[0]}) > 1


def test_notes_have_the_own_answer_once_but_for_a_fifth(facts, run, questions):
    material = opened(facts, run, questions)
    unanswered = []
    for epoch in range(5):
        conversations = facts.reading(material, epoch)
        assert conversations[:8] == material.train
        for own, told in zip(PRICES[:8], conversations[8:], strict=True):
            _, question, reply = (message.content for message in told.messages)
            notes = notes_of(question)
            assert question.endswith(f"\n\nQuestion: {own.title}")
            assert len(set(notes)) == 3
            if own.text in notes:
                assert reply == own.text
            else:
                assert reply == UNKNOWN
                unanswered.append(own.id)
    assert len(unanswered) == 5 * 2
    assert len(set(unanswered)) > 2


def test_figures_of_models_whose_replies_are_known(facts, run, questions):
    material = opened(facts, run, questions)
    prompts = facts.reading_prompts(material)
    own = [passage.text for passage in PRICES]
    shown = {name: [notes_of(messages[-1].content) for _, messages in asked] for name, asked in prompts.items()}
    assert shown["own_note"] == [[text] for text in own]
    assert [notes.count(text) for notes, text in zip(shown["own_among_three"], own, strict=True)] == [1] * 10
    assert not any(text in notes for notes, text in zip(shown["three_wrong"], own, strict=True))
    assert {len(notes) for name in list(shown)[1:] for notes in shown[name]} == {3}
    copied = facts.figures(material, prompts, lambda asked: [notes_of(messages[-1].content)[0] for messages in asked])
    first = sum(notes[0] == text for notes, text in zip(shown["own_among_three"], own, strict=True)) / 10
    shares = facts.shares_only(copied)
    assert 0 < shares["own_among_three"] == first < 1
    assert shares["three_found"] == facts.verbatim(material)["verbatim"]["share"]
    assert (shares["own_note"], shares["three_wrong"], shares["near_refused"]) == (1, 0, 0)
    silent = facts.shares_only(facts.figures(material, prompts, lambda asked: ["i don't know"] * len(asked)))
    assert set(silent.values()) == {0}
    refused = facts.shares_only(facts.figures(material, prompts, lambda asked: [f"{UNKNOWN} 4 euros"] * len(asked)))
    assert refused == {name: float(name.endswith("_refused")) for name in refused}


def test_nothing_is_reported_if_the_judge_accepts_wrong_replies(facts, run, tmp_path):
    lenient = write_questions(tmp_path / "lenient.jsonl", must_state=lambda passage: ["euros"])
    with pytest.raises(SystemExit, match=r"nothing is reported: .*\(shuffled\)"):
        facts.main(["--run", str(run), "--questions", str(lenient)])
    assert not (tmp_path / "results").exists()


@pytest.mark.parametrize("epochs", ["0", "two", "2,,4", "2.5"])
def test_epochs_that_are_none(facts, epochs, capsys):
    with pytest.raises(SystemExit):
        facts.parsed_arguments(["--epochs", epochs])
    assert repr(epochs) in capsys.readouterr().err
