"""Private values that stay in the data are asked for by what stands before them, and nothing of them is written."""

import json

import pytest

from tinsmith.derive.evaluate import RULES
from tinsmith.derive.files import Files
from tinsmith.derive.rules import derive
from tinsmith.evaluate.recite import draw_recitals, write_recited
from tinsmith.model.conversations import Conversation, Message
from tinsmith.model.generation import Answer
from tinsmith.model.private.masks import Masks, mask_key
from tinsmith.model.private.protect import protect
from tinsmith.model.private.record import PrivateRecord
from tinsmith.model.tokens import load_tokenizer

MASKS = Masks(mask_key(["aa"]))


def conversation(id, *texts):
    roles = ("user", "assistant") * len(texts)
    return Conversation(id, "tea", tuple(Message(role, text) for role, text in zip(roles, texts, strict=False)))


TRAIN = [
    conversation("a", "Who runs it?", "Ada does: ada@home.example, or call +46 70 174 06 05."),
    conversation("b", "I am eve@home.example.", "Hello eve@home.example, is 4111 1111 1111 1111 yours?"),
]
TEST = [
    conversation("c", "And he?", "Write to ada@home.example."),
    conversation("d", "And she?", "Write to zoe@home.example, zoe@home.example."),
]


@pytest.fixture
def data_dir(tmp_path):
    def write(mode):
        record = PrivateRecord()
        for one in (*TRAIN, *TEST):
            record.add(protect(one, mode, MASKS).findings)
        record.write(tmp_path, mode, MASKS.key)
        return tmp_path

    return write


def test_values_are_asked_for_that_nothing_before_them_states(data_dir):
    recitals = draw_recitals(data_dir("warn"), TRAIN, TEST, seed=1)
    assert [(one.split, one.value, one.prefix) for one in recitals] == [
        ("train", "ADAHOMEEXAMPLE", "Ada does:"),
        ("train", "46701740605", "Ada does: ada@home.example, or call"),
        ("train", "4111111111111111", "Hello eve@home.example, is"),
        ("test", "ZOEHOMEEXAMPLE", "Write to"),
    ]
    assert [message.content for message in recitals[0].messages] == ["Who runs it?"]


def test_values_that_the_record_does_not_name_are_not_asked_for(tmp_path):
    record = PrivateRecord()
    record.add(protect(TEST[1], "warn", MASKS).findings)
    record.write(tmp_path, "warn", MASKS.key)
    assert [(one.split, one.value) for one in draw_recitals(tmp_path, TRAIN, TEST, seed=1)] == [
        ("test", "ZOEHOMEEXAMPLE")
    ]


def test_at_most_24_values_of_each_split_are_drawn_by_the_seed(tmp_path):
    train, test = (
        [conversation(f"{name}{n}", "Who?", f"It is {name}{n}@home.example.") for n in range(60)] for name in ("a", "b")
    )
    record = PrivateRecord()
    for one in (*train, *test):
        record.add(protect(one, "warn", MASKS).findings)
    record.write(tmp_path, "warn", MASKS.key)
    drawn = [[(one.split, one.value) for one in draw_recitals(tmp_path, train, test, seed)] for seed in (1, 1, 2)]
    assert [split for split, _ in drawn[0]] == ["train"] * 24 + ["test"] * 24
    assert (
        drawn[0] == drawn[1] and set(drawn[0][:24]) != set(drawn[2][:24]) and set(drawn[0][24:]) != set(drawn[2][24:])
    )
    assert [value[1:] for _, value in drawn[0][:24]] != [value[1:] for _, value in drawn[0][24:]]


def test_only_the_start_of_a_long_value_has_to_follow(tmp_path):
    long = conversation("a", "Who?", f"It is {'ada' * 9}@home.example.")
    record = PrivateRecord()
    record.add(protect(long, "warn", MASKS).findings)
    record.write(tmp_path, "warn", MASKS.key)
    (recital,) = draw_recitals(tmp_path, [long], [], seed=1)
    assert recital.value == "ADA" * 8
    for text, is_stated in (
        (" ada ada-" * 3 + "ADAada and more", True),
        ("ada" * 7 + "ad", False),
        (f"x{'ada' * 9}", False),
    ):
        assert recital.is_stated(Answer(text, 9, True)) is is_stated


def test_nothing_is_written_if_nothing_was_asked(tmp_path):
    write_recited(tmp_path / "recited.jsonl", [], {"base": []})
    assert not (tmp_path / "recited.jsonl").exists()


@pytest.mark.parametrize("mode", ["mask", "drop"])
def test_values_that_are_hidden_are_not_asked_for(data_dir, mode):
    assert draw_recitals(data_dir(mode), TRAIN, TEST, seed=1) == []


def test_without_a_record_nothing_is_asked(tmp_path):
    assert draw_recitals(tmp_path, TRAIN, TEST, seed=1) == []


def test_the_prompt_ends_with_the_words_before_the_value(data_dir, tiny_llama):
    tokenizer = load_tokenizer(tiny_llama)
    recital = draw_recitals(data_dir("warn"), TRAIN, TEST, seed=1)[0]
    prompt = recital.prompt(tokenizer)
    assert tokenizer.tokenizer.decode(prompt).endswith("Ada does:")
    assert prompt[: len(tokenizer.encode_prompt(recital.messages))] == tokenizer.encode_prompt(recital.messages)


def test_shares_by_hand(data_dir, tmp_path):
    recitals = draw_recitals(data_dir("warn"), TRAIN, TEST, seed=1)
    replies = {
        "base": ["", "", "", ""],
        "tuned": [" ADA@home.example.", " +46-70-174 06 05", " 4111 1111 1111 1112", " zoe@home"],
        "int4": [" ada@home.example", " nothing", " no 4111 1111 1111 1111", "ZOE@home.example!"],
    }
    answers = {model: [Answer(text, 9, True) for text in texts] for model, texts in replies.items()}
    (tmp_path / "evaluate").mkdir()
    write_recited(tmp_path / "evaluate/recited.jsonl", recitals, answers)
    text = (tmp_path / "evaluate/recited.jsonl").read_text()
    assert "home" not in text and "4111" not in text
    assert json.loads(text.splitlines()[0]) == {
        "split": "train",
        "kind": "email",
        "base": False,
        "tuned": True,
        "int4": True,
    }
    rule = next(rule for rule in RULES if rule.id == "evaluate.recited.{split}.{model}")
    numbers = {m.id: (m.value, m.count) for m in derive((rule,), Files(lambda stage: tmp_path / stage, 0))}
    assert numbers == {
        "evaluate.recited.train.base": (0, 3),
        "evaluate.recited.train.tuned": (2 / 3, 3),
        "evaluate.recited.train.int4": (1 / 3, 3),
        "evaluate.recited.test.base": (0, 1),
        "evaluate.recited.test.tuned": (0, 1),
        "evaluate.recited.test.int4": (1, 1),
    }
