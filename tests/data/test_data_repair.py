"""Each repair changes what it names and nothing else."""

import re

import pytest

from tinsmith.data.read.record import Record, Unusable
from tinsmith.data.repair import Repair, repair


def repaired(*messages):
    value = {"messages": [{"role": role, "content": content} for role, content in messages]}
    result = repair(Record("f.jsonl", "line 1", value, "c"))
    return [(m.role, m.content) for m in result.conversation.messages], result.changes


def test_a_clean_record_and_role_aliases_are_no_repair():
    clean = [("system", "Be kind."), ("user", "Wie heißt «é»?\n\tSo?"), ("assistant", "A\u00a0pot. 👩\u200d🔬")]
    assert repaired(*clean) == (clean, ())
    assert repaired(("human", "a"), ("gpt", "b")) == ([("user", "a"), ("assistant", "b")], ())


@pytest.mark.parametrize(
    ("text", "expected", "reason", "detail"),
    [
        (" a b \n", "a b", "surrounding space removed", ""),
        ("a\r\nb\rc\u2028d\x0ce", "a\nb\nc\nd\ne", "line ends changed to \\n", ""),
        ("cafe\u0301", "café", "Unicode normalised to NFC", ""),
        ("It\x92s \x93so\x94", "It’s “so”", "Windows-1252 punctuation restored", ""),
        ("a\u200bb\ufeffc", "abc", "hidden characters removed", ": U+200B zero width space (1), U+FEFF zero width no-"),
        ("a\x00b\x1b[0m", "ab[0m", "hidden characters removed", ": U+0000 null (1), U+001B escape (1)"),
    ],
)
def test_text_repairs(text, expected, reason, detail):
    messages, changes = repaired(("user", text), ("assistant", "ok"))
    assert messages == [("user", expected), ("assistant", "ok")]
    assert [change.reason for change in changes] == [reason]
    assert changes[0].detail.startswith("message 1" + detail)


def test_same_role_in_a_row_is_joined_by_a_blank_line():
    messages, changes = repaired(
        ("user", "One"), ("user", "two"), ("assistant", "A"), ("assistant", ""), ("assistant", "B")
    )
    assert messages == [("user", "One\n\ntwo"), ("assistant", "A\n\nB")]
    assert len(changes) == 3 and changes[0] == Repair("messages of one role joined", "messages 1 and 2, user")


def test_unanswered_last_question_and_empty_system_message_are_removed():
    messages, changes = repaired(("system", " "), ("user", "a"), ("assistant", "b"), ("user", "c"))
    assert messages == [("user", "a"), ("assistant", "b")]
    assert [change.reason for change in changes[1:]] == [
        "empty system message removed",
        "last user message has no answer: removed",
    ]


@pytest.mark.parametrize("system", [(), (("system", "Sell tea."),)])
def test_a_greeting_before_the_first_question_is_removed(system):
    messages, changes = repaired(*system, ("assistant", "Welcome!"), ("user", "Open?"), ("assistant", "Yes."))
    assert messages == [*system, ("user", "Open?"), ("assistant", "Yes.")]
    assert changes == (Repair("greeting before the first question removed", f"message {len(system) + 1}"),)


MARKERS = (
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
    "<|end_of_text|>",
)


@pytest.mark.parametrize("marker", MARKERS)
@pytest.mark.parametrize("role", ["system", "user", "assistant"])
def test_a_turn_marker_of_any_family_makes_a_record_unusable(marker, role):
    hidden_inside = marker[:2] + "\u200b" + marker[2:]
    roles = ("system", "user", "assistant")
    number = roles.index(role) + 1
    messages = [(name, f"x{hidden_inside}y" if name == role else "ok") for name in roles]
    with pytest.raises(
        Unusable, match=re.escape(f"a marker of a turn in a chat format (message {number} has {marker!r})")
    ):
        repaired(*messages)


@pytest.mark.parametrize("text", ["git add <filename>", "<pad> <unk> <repo_name>", "a < b, <b>bold</b>, <|unrelated"])
def test_other_tokens_and_tags_are_text(text):
    assert repaired(("user", text), ("assistant", text))[1] == ()


def test_two_forms_of_one_question_become_one():
    forms = (
        "Öppet i dag?",
        "O\u0308ppet i dag?",
        "O\u200b\u0308ppet i\u00ad dag?\ufe0f",
        "\x00O\ufeff\u0308ppet i dag?\u2066",
    )
    assert {repaired(("user", form), ("assistant", "ok"))[0][0][1] for form in forms} == {"Öppet i dag?"}


def test_ids_and_categories_are_cleaned():
    record = Record("f.jsonl", "line 1", {"id": "a\u200b1", "q": "a", "a": "b"}, "t\x1bea\u202e")
    result = repair(record)
    assert (result.conversation.id, result.conversation.category) == ("a1", "tea")
    assert [change.reason for change in result.changes] == [
        "hidden characters removed from the category",
        "hidden characters removed from the id",
    ]
