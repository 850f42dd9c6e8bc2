"""Masks are typed and stable, reach every text of a record, and leave alone what the owner calls public."""

import re
from dataclasses import replace

import pytest

from tinsmith.model.conversations import Conversation, Message
from tinsmith.model.passages import Passage, Source
from tinsmith.model.private import find_private
from tinsmith.model.private.masks import Masks, Public, mask_key
from tinsmith.model.private.protect import protect, protect_passages, warnings

KEY = mask_key(["aa", "bb"])
MASKS = Masks(KEY)
CONVERSATION = Conversation(
    "ada@home.example",
    "mail from ada@home.example",
    (
        Message("system", "You are the shop, info@shop.example."),
        Message("user", "Call me on 0701740605, or write to ada@home.example."),
        Message("assistant", "Noted: 0701740605. Your card 4111 1111 1111 1111 was charged."),
    ),
    {"file": "ada@home.example.json", "position": "line 1"},
)
VALUES = ("ada@home.example", "info@shop.example", "0701740605", "4111 1111 1111 1111")


def texts(conversation):
    return [conversation.id, conversation.category, *(message.content for message in conversation.messages)]


def test_every_text_is_masked_and_a_value_has_one_mask():
    masked = protect(CONVERSATION, "mask", MASKS).conversation
    assert not any(value in text for text in texts(masked) for value in VALUES)
    masks = {text: re.findall(r"\[([A-Z_]+)_[0-9a-f]{4}\]", text) for text in texts(masked)}
    assert list(masks.values()) == [["EMAIL"], ["EMAIL"], ["EMAIL"], ["PHONE", "EMAIL"], ["PHONE", "CARD"]]
    email, phone = masked.id, re.search(r"\[PHONE_....\]", masked.messages[1].content)[0]
    assert email in masked.category and email in masked.messages[1].content and phone in masked.messages[2].content
    assert email not in masked.messages[0].content
    assert masked.source == CONVERSATION.source
    assert not any(find_private(text) for text in texts(masked))


def test_masks_depend_on_the_files_and_on_nothing_else():
    assert mask_key(["bb", "aa"]) == KEY != mask_key(["aa", "bc"])
    again = protect(CONVERSATION, "mask", Masks(mask_key(["bb", "aa"]))).conversation
    assert again == protect(CONVERSATION, "mask", MASKS).conversation
    assert again != protect(CONVERSATION, "mask", Masks(mask_key(["aa"]))).conversation


def test_a_number_is_hidden_also_where_no_words_call_it_one():
    named = replace(CONVERSATION, messages=(Message("user", "Call 5551234567"), Message("assistant", "5551234567?")))
    masked = protect(named, "mask", MASKS).conversation
    assert "5551234567" not in "".join(texts(masked))
    longer = replace(CONVERSATION, messages=(Message("user", "Call 5551234567"), Message("assistant", "15551234567")))
    assert "15551234567" in protect(longer, "mask", MASKS).conversation.messages[1].content


def test_warn_keeps_everything_and_drop_keeps_nothing():
    warned, dropped = protect(CONVERSATION, "warn", MASKS), protect(CONVERSATION, "drop", MASKS)
    assert warned.conversation == CONVERSATION and dropped.conversation is None
    assert warned.findings == dropped.findings == protect(CONVERSATION, "mask", MASKS).findings
    assert [(one.kind, one.place) for one in warned.findings] == [
        ("email", "message 1"),
        ("phone", "message 2"),
        ("email", "message 2"),
        ("phone", "message 3"),
        ("card", "message 3"),
        ("email", "id"),
        ("email", "category"),
    ]
    assert warned.findings[0].detail == "message 1: in...le (17 characters)"
    assert not any(value in one.detail for one in warned.findings for value in VALUES)


def test_a_conversation_without_private_data_stays_the_same_object():
    clean = replace(CONVERSATION, id="1", category="tea", messages=CONVERSATION.messages[:0])
    assert protect(clean, "mask", MASKS).conversation is clean


@pytest.mark.parametrize(
    ("allowed", "left"),
    [
        (["*@shop.example"], ["email ada@home.example", "phone 81234567"]),
        (["INFO@SHOP.EXAMPLE"], ["email ada@home.example", "phone 81234567"]),
        (["08-123 45 67"], ["email info@shop.example", "email ada@home.example"]),
        (["call 08 123 45 67 or *@*"], ["email info@shop.example", "email ada@home.example"]),
        (["*"], []),
        ([], ["email info@shop.example", "email ada@home.example", "phone 81234567"]),
    ],
)
def test_what_the_owner_allows_is_public(allowed, left):
    text = "Write info@shop.example or ada@home.example, or call +46 8 123 45 67."
    items = Masks(KEY, Public.of(allowed)).items(text)
    assert [f"{item.kind} {item.value}" for item in items] == left


def test_what_the_system_prompt_says_is_public():
    public = Public.of(texts=["We are at info@shop.example, +46 8-123 45 67."])
    masked = protect(CONVERSATION, "mask", Masks(KEY, public)).conversation
    assert masked.messages[0] == CONVERSATION.messages[0]


PASSAGES = [
    Passage(
        "a.md#staff", "document", "Staff > ada@home.example", "Ask Ada.", Source("a.md", "Staff > ada@home.example")
    ),
    Passage("a.md#tea", "document", "Tea", "Green tea is mild.", Source("a.md", "Tea")),
]


def test_passages_of_documents_are_masked_or_left_out():
    masked = protect_passages(PASSAGES, "mask", MASKS)
    mask = MASKS.mask(find_private("ada@home.example")[0])
    assert [one.title for one in masked.passages] == [f"Staff > {mask}", "Tea"]
    assert masked.passages[0].source.place == f"Staff > {mask}" and masked.passages[1] is PASSAGES[1]
    dropped = protect_passages(PASSAGES, "drop", MASKS)
    assert (dropped.passages, dropped.dropped) == ([PASSAGES[1]], 1)
    assert protect_passages(PASSAGES, "warn", MASKS).passages == PASSAGES


def test_warnings_name_counts_and_places_and_no_value():
    findings = protect_passages(PASSAGES * 3, "mask", MASKS).findings
    (line,) = warnings(findings, "mask", shown=1)
    assert line == (
        "an e-mail address: 6 places, 1 different, masked (a.md, title: ad...le (16 characters); and 5 more)"
    )
