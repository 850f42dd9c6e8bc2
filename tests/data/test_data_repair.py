"""Each repair changes what it names and nothing else."""

import pytest

from tinsmith.data.load import Record
from tinsmith.data.repair import known_special_tokens, repair
from tinsmith.model.message_text import token_pattern


def repaired(*messages):
    value = {"messages": [{"role": role, "content": content} for role, content in messages]}
    result = repair(Record("f.jsonl", "line 1", value, "c"), None)
    return [(m.role, m.content) for m in result.conversation.messages], result.changes, result.hidden


def test_a_clean_record_and_role_aliases_are_no_repair():
    clean = [("system", "Be kind."), ("user", "Wie heißt «é»?\n\tSo?"), ("assistant", "A\u00a0pot. 👩\u200d🔬")]
    assert repaired(*clean) == (clean, (), ())
    assert repaired(("human", "a"), ("gpt", "b")) == ([("user", "a"), ("assistant", "b")], (), ())


@pytest.mark.parametrize(
    ("text", "expected", "change"),
    [
        (" a b \n", "a b", "surrounding space removed"),
        ("a\r\nb\rc", "a\nb\nc", "line ends changed to \\n"),
        ("cafe\u0301", "café", "Unicode normalised to NFC"),
        ("a\u200bb\ufeffc", "abc", "hidden characters removed"),
        ("pay \u202eeno\u202c now", "pay eno now", "hidden characters removed"),
        ("hi\U000e0041\U000e0042", "hi", "hidden characters removed"),
        ("pass\u200dword", "password", "hidden characters removed"),
    ],
)
def test_text_repairs(text, expected, change):
    messages, changes, _ = repaired(("user", text), ("assistant", "ok"))
    assert messages == [("user", expected), ("assistant", "ok")]
    assert changes == (f"message 1: {change}",)


@pytest.mark.parametrize(
    "text",
    [
        "می\u200cخواهم",
        "क\u094d\u200dष",
        "👨\u200d👩\u200d👧",
        "\U0001f3f4\U000e0067\U000e0062\U000e0065\U000e006e\U000e0067\U000e007f",
    ],
)
def test_joiners_of_scripts_and_emoji_and_whole_flags_stay(text):
    assert repaired(("user", text), ("assistant", "ok")) == ([("user", text), ("assistant", "ok")], (), ())


def test_hidden_characters_are_counted():
    assert repaired(("user", "a\u200bb\u200b"), ("assistant", "\u2066x\u2069"))[2] == (
        "\u200b",
        "\u200b",
        "\u2066",
        "\u2069",
    )


def test_same_role_in_a_row_is_joined_by_a_blank_line():
    messages, changes, _ = repaired(
        ("user", "One"), ("user", "two"), ("assistant", "A"), ("assistant", ""), ("assistant", "B")
    )
    assert messages == [("user", "One\n\ntwo"), ("assistant", "A\n\nB")]
    assert len(changes) == 3 and changes[0] == "message 2 joined to the one before, also from 'user'"


def test_unanswered_last_question_and_empty_system_message_are_removed():
    messages, changes, _ = repaired(("system", " "), ("user", "a"), ("assistant", "b"), ("user", "c"))
    assert messages == [("user", "a"), ("assistant", "b")]
    assert changes[1:] == ("empty system message removed", "last user message has no answer: removed")


def test_special_tokens_of_every_family_are_known_without_a_base_model():
    pattern = token_pattern(known_special_tokens())
    for token in (
        "<|im_start|>",
        "<|im_end|>",
        "<|endoftext|>",
        "<start_of_turn>",
        "<end_of_turn>",
        "<bos>",
        "<eos>",
        "<|eot_id|>",
        "<|start_header_id|>",
        "<|end_header_id|>",
        "<|begin_of_text|>",
    ):
        assert pattern.search(f"x{token}y").group() == token
    assert not pattern.search("a < b and <b>bold</b> <|unrelated")
    assert token_pattern([]) is None
