"""Questions and answers on pages, and chats that WhatsApp exported."""

import json
import time

import pytest

from document_files import write_docx
from reading import conversations, items
from tinsmith.core.field_map import FieldMap
from tinsmith.data.read import pages
from tinsmith.data.read.record import Note, Problem, Record, Unused
from tinsmith.data.read.whatsapp import looks_like_whatsapp
from tinsmith.documents.blocks import Block, Document


def pairs(path, fields=None):
    return [tuple(m.content for m in c.messages) for c in conversations(path, fields)]


def test_a_markdown_faq(tmp_path):
    (tmp_path / "faq.md").write_text(
        "# Help\n\nWelcome.\n\n## How long does delivery take?\n\nThree days:\n\n- two to pack\n- one to bring\n\n"
        "### Abroad\n\nA week.\n\n## About us\n\nWe are five.\n\n"
        "<details><summary>Can I return it?</summary>\n\nYes, for 30 days.\n\n</details>\n\n## May I call?\n\nDo.\n"
    )
    assert pairs(tmp_path) == [
        ("How long does delivery take?", "Three days:\n\n- two to pack\n- one to bring\n\nAbroad\n\nA week."),
        ("Can I return it?", "Yes, for 30 days."),
        ("May I call?", "Do."),
    ]
    assert items(tmp_path, Unused) == [
        Unused("faq.md: sections", "sections that answer no question; data.documents takes whole documents", 2)
    ]
    first, *_ = items(tmp_path, Record)
    assert (first.position, first.category) == ("question 1", "faq")


def test_an_html_faq_with_terms_and_data_for_search_engines(tmp_path):
    def entry(question, answer):
        return {"@type": "Question", "name": question, "acceptedAnswer": {"@type": "Answer", "text": answer}}

    data = {
        "@context": "https://schema.org",
        "@graph": [
            {"@type": "FAQPage", "mainEntity": [entry("Do you ship?", "<p>Yes,</p><p>we do.</p>"), entry("Open?", "x")]}
        ],
    }
    (tmp_path / "faq.html").write_text(
        f"<script type='application/ld+json'>{json.dumps(data)}</script><script>ignored?</script>"
        "<h1>FAQ</h1><h3>Open?</h3><p>From 9 to 5.</p><h2>Terms</h2>"
        "<dl><dt>Is it safe?<dd><p>Yes.</p><p>Very.</p><dt>MOQ<dd>Ten.</dl>"
    )
    assert pairs(tmp_path) == [
        ("Open?", "From 9 to 5."),
        ("Is it safe?", "Yes.\n\nVery."),
        ("Do you ship?", "Yes,\n\nwe do."),
    ]


def test_labelled_questions_in_text_and_a_word_document(tmp_path):
    (tmp_path / "faq.txt").write_text(
        "Our answers\n\nQ: When do you open?\nA: At nine.\nOn Sundays at ten.\n\nFrage 2: Wo?\nAntwort: Am Markt.\n"
    )
    write_docx(tmp_path / "terms.docx", [("Heading1", "How much is the deposit?"), ("", "It is $50.")], [])
    assert pairs(tmp_path) == [
        ("When do you open?", "At nine.\nOn Sundays at ten."),
        ("Wo?", "Am Markt."),
        ("How much is the deposit?", "It is $50."),
    ]


@pytest.mark.parametrize(
    ("text", "expected", "others"),
    [
        ("## Open?\n\nAt nine.\n\n# Tea\n\nOne.\n\nTwo.\n\n## Us\n\nFive.\n", [("Open?", "At nine.")], 2),
        ("## Open?\n\n### Really?\n\nYes.\n", [("Really?", "Yes.")], 0),
        ("Q: Open?\n\nA: At nine.\n\n## Us\n\nWe.\n", [("Open?", "At nine.")], 1),
        ("## **Question 3: Open?**\n\nAnswer: Yes.\n", [("Open?", "Yes.")], 0),
        (
            "## Öppet\uff1f\n\nJa.\n\n## \u0645\u062a\u0649\u061f\n\nx\n",
            [("Öppet\uff1f", "Ja."), ("\u0645\u062a\u0649\u061f", "x")],
            0,
        ),
        ("Q: an order\nA: x\n", [], 1),
    ],
)
def test_where_questions_begin_and_answers_end(text, expected, others, tmp_path):
    (tmp_path / "faq.md").write_text(text)
    assert pairs(tmp_path) == expected
    assert sum(one.count for one in items(tmp_path, Unused)) == (others if expected else 1)


def test_an_empty_heading_ends_what_is_on_its_level_or_below():
    for level, answer in ((1, "Yes."), (2, "Yes."), (3, "Yes.\n\nEnd.")):
        questions = pages._Questions()
        for block in (Block("heading", "Open?", 2), Block("paragraph", "Yes."), Block("heading", "", level)):
            questions.add(block)
        questions.add(Block("paragraph", "End."))
        questions.close()
        assert questions.pairs == [("Open?", answer)] and questions.others == (level < 3)


def test_a_label_begins_an_answer_once(tmp_path):
    (tmp_path / "faq.txt").write_text("P: Open?\nR: Yes.\nRéponse: No.\n")
    assert pairs(tmp_path) == [("Open?", "Yes.\n\nRéponse: No.")]


def test_terms_that_ask_nothing_are_text_or_end_a_question(tmp_path):
    (tmp_path / "a.html").write_text(
        "<h2>What is green tea?</h2><p>A leaf.</p><dl><dt>Origin<dd>Japan.</dl>"
        "<h2>Terms</h2><dl><dt>Is it safe?<dd>Yes.<dt>Origin<dd>Japan.</dl><p>End.</p>"
    )
    assert pairs(tmp_path) == [("What is green tea?", "A leaf.\n\nOrigin: Japan."), ("Is it safe?", "Yes.")]
    assert items(tmp_path, Unused)[0].count == 1


def test_parts_of_a_document_that_are_left_out_are_counted(tmp_path, monkeypatch):
    document = Document(
        [Block("heading", "Open?", 2), Block("paragraph", "Yes.")], notes={"pictures": "3 of 4", "x": "?"}
    )
    monkeypatch.setattr(pages.DocumentReader, "read", lambda self, path, ending: document)
    (tmp_path / "a.pdf").write_bytes(b"%PDF-1.7")
    assert pairs(tmp_path) == [("Open?", "Yes.")]
    assert items(tmp_path, Unused) == [
        Unused("a.pdf: pictures", "parts of documents", 3),
        Unused("a.pdf: x", "parts of documents", 1),
    ]


def test_the_same_question_twice_is_kept_twice(tmp_path):
    (tmp_path / "faq.md").write_text("## Open?\n\nAt nine.\n\n## Open?\n\nAt ten.\n")
    assert pairs(tmp_path) == [("Open?", "At nine."), ("Open?", "At ten.")]


def test_pages_without_questions_and_descriptions_of_the_folder_are_named(tmp_path):
    (tmp_path / "good.jsonl").write_text('{"q": "a", "a": "b"}')
    (tmp_path / "about.md").write_text("# About us\n\nWe are five.\n")
    (tmp_path / "README.md").write_text("## What is this?\n\nData.\n")
    (tmp_path / "broken.md").write_bytes("## Café?\n\nJa.\n".encode("latin-1"))
    assert items(tmp_path, Unused) == [
        Unused("README.md", "descriptions of the folder, such as a README"),
        Unused("about.md", "pages and documents without questions; data.documents takes them"),
    ]
    (problem,) = items(tmp_path, Problem)
    assert problem.file == "broken.md" and "is not UTF-8 text; save it as UTF-8" in problem.text


ANDROID = """31.12.23, 22:15 - Messages and calls are end-to-end encrypted.
31.12.23, 22:15 - Tea Shop: Happy new year!
31.12.23, 22:16 - Ann: Are you open
tomorrow?
31.12.23, 22:20 - Tea Shop: No, on Tuesday.
02.01.24, 09:00 - Tea Shop: Now we are.
02.01.24, 19:30 - Ann: And on Sundays?
02.01.24, 19:31 - Tea Shop: No.
03.01.24, 19:31 - Ann: <Media omitted>
03.01.24, 19:32 - Tea Shop: Nice.
"""
IOS = """\u200e[12/31/23, 10:15:03\u202fPM] Tea Shop: \u200eMessages are encrypted.
[12/31/23, 10:16:00\u202fPM] Ann: Are you open
tomorrow?
[12/31/23, 10:20:00\u202fPM] ~\u00a0Tea Shop: No, on Tuesday.
[1/2/24, 9:00:00\u202fAM] Tea Shop: Now we are.
[1/2/24, 7:30:00\u202fPM] Ann: And on Sundays?
[1/2/24, 7:31:00\u202fPM] Tea Shop: No.
"""


@pytest.mark.parametrize("text", [ANDROID, IOS, ANDROID.replace("\n", "\r\n")], ids=["android", "ios", "windows"])
def test_a_whatsapp_chat_is_cut_where_a_question_follows_a_pause(text, tmp_path):
    (tmp_path / "chat.txt").write_text(text, newline="")
    fields = FieldMap(assistant="tea shop")
    found = [r.value for r in items(tmp_path, Record, fields) if isinstance(r.value, dict)]
    assert [[m["content"] for m in value["messages"]] for value in found] == [
        ["Are you open\ntomorrow?", "No, on Tuesday.", "Now we are."],
        ["And on Sundays?", "No."],
    ]
    assert [m["role"] for m in found[0]["messages"]] == ["user", "assistant", "assistant"]


def test_everything_of_a_chat_that_is_not_used_is_named(tmp_path):
    (tmp_path / "chat.txt").write_text(ANDROID)
    fields = FieldMap(assistant="Tea Shop")
    assert items(tmp_path, Unused, fields) == [
        Unused("chat.txt: notices", "WhatsApp's own notices"),
        Unused("chat.txt: messages", "messages of the one who answers, before anybody asked"),
    ]
    last = items(tmp_path, Record, fields)[-1]
    assert last.position == "line 9" and "a picture or other file" in str(last.value)


def test_a_chat_asks_who_answers_and_says_how_dates_are_read(tmp_path):
    (tmp_path / "chat.txt").write_text(
        "01/02/24, 09:00 - Ann: Hi\n01/02/24, 09:01 - Bo: Hello\n01/02/24, 09:02 - Bo: .\n"
    )
    (problem,) = items(tmp_path, Problem)
    assert problem.text == (
        "a chat does not say who answers; it is from 'Bo' (2), 'Ann' (1). "
        'Say it in [data], such as: fields = { assistant = "Bo" }'
    )
    assert "nobody is called 'Cy'" in items(tmp_path, Problem, FieldMap(assistant="Cy"))[0].text
    notes = items(tmp_path, Note, FieldMap(assistant="Bo"))
    assert notes == [Note("chat.txt", "dates may be day or month first; read as day first")]


@pytest.mark.parametrize(
    ("text", "sizes", "is_noted"),
    [
        (
            "31/12/2023, 23:00 - A: a\n31/12/2023, 23:01 - B: b\n1/1/2024, 07:01 - A: c\n1/1/2024, 07:01 - B: d",
            [2, 2],
            False,
        ),
        (
            "31/12/2023, 23:00 - A: a\n31/12/2023, 23:01 - B: b\n1/1/2024, 07:00 - A: c\n1/1/2024, 07:01 - B: d",
            [4],
            False,
        ),
        (
            "12/31/23 11:00 PM - A: a\n12/31/23 11:01 pm - B: b\n1/1/24 7.05 a.m. - A: c\n1/1/24 7.06 am - B: d",
            [2, 2],
            False,
        ),
        (
            "12/31/23, 12:30 AM - A: a\n12/31/23, 12:31 AM - B: b\n12/31/23, 12:29 PM - A: c\n12/31/23, 1:32 PM - B: d",
            [2, 2],
            False,
        ),
        ("1.2.24 10:00 - A: a\n1.2.24 10:01 - B: b\n2.2.24 10:00 - A: c\n2.2.24 10:01 - B: d", [2, 2], True),
        ("31.2.24 10:00 - A: a\n31.2.24 10:01 - B: b\n31.2.24 10:02 - A: c\n31.2.24 10:03 - B: d", [4], False),
        (
            "[1.12.23, 10:00:59] A: a\n[1.12.23, 10:01:00] B: b\n[1.12.23, 18:00:59] A: c\n[1.12.23, 18:01:00] B: d",
            [4],
            True,
        ),
        (
            "[1.12.23, 10:00:59] A: a\n[1.12.23, 10:01:00] B: b\n[1.12.23, 18:01:00] A: c\n[1.12.23, 18:01:01] B: d",
            [2, 2],
            True,
        ),
    ],
)
def test_pauses_of_eight_hours_whatever_form_the_dates_have(text, sizes, is_noted, tmp_path):
    (tmp_path / "chat.txt").write_text(text)
    fields = FieldMap(assistant=" b ")
    assert [len(record.value["messages"]) for record in items(tmp_path, Record, fields)] == sizes
    assert bool(items(tmp_path, Note, fields)) == is_noted


def test_lines_that_look_like_messages_and_are_none_belong_to_the_one_before(tmp_path):
    chat = [
        "1.2.24 10:00 - A: a: b",
        "1.2.24 25:00 - B: x",
        "1.2.24 10:60 - B: y",
        "",
        "1.2.24 10:01 - B: z",
        "1.2.24 10:02 - B left",
    ]
    (tmp_path / "chat.txt").write_text("\n".join(chat))
    (record,) = items(tmp_path, Record, FieldMap(assistant="B"))
    assert [(m["role"], m["content"]) for m in record.value["messages"]] == [
        ("user", "a: b\n1.2.24 25:00 - B: x\n1.2.24 10:60 - B: y\n"),
        ("assistant", "z"),
    ]
    assert (record.position, record.category) == ("line 1", "chat")
    assert items(tmp_path, Unused, FieldMap(assistant="B")) == [Unused("chat.txt: notices", "WhatsApp's own notices")]


@pytest.mark.parametrize(
    "text",
    [
        "image omitted",
        "<attached: 1.jpg>",
        "IMG-1.jpg (file attached)",
        "Bild weggelassen",
        "a.pdf (Datei angehängt)",
        "<Media omitted>",
    ],
)
def test_what_an_export_leaves_out_makes_a_conversation_unusable(text, tmp_path):
    (tmp_path / "chat.txt").write_text(
        f"1.2.24 10:00 - A: a\n1.2.24 10:01 - B: \u200e{text}\n1.2.24 10:02 - A: {text} b"
    )
    (record,) = items(tmp_path, Record, FieldMap(assistant="B"))
    assert str(record.value) == "a picture or other file that the chat's export leaves out (line 2)"


def test_what_is_no_chat(tmp_path):
    assert not looks_like_whatsapp(["1.2.24 10:00 - A: a\n", "b\n"])
    assert not looks_like_whatsapp(["b\n", "1.2.24 10:00 - A: a\n", "1.2.24 10:00 - A: a\n"])
    assert not looks_like_whatsapp([])
    assert looks_like_whatsapp(["\u200e[1/2/24, 9:00] A: a\n", "b\n", "[1/2/24, 9:00] A: a\n"])
    (tmp_path / "chat.txt").write_text("1.2.24 10:00 - Encrypted\n1.2.24 10:00 - Joined\n")
    (problem,) = items(tmp_path, Problem)
    assert problem.text == (
        "a chat does not say who answers; it is from nobody. Say it in [data], such as: fields = {}"
    )


def test_a_name_in_a_chat_has_no_control_characters(tmp_path):
    lines = ["01/02/24, 09:00 - Ann: Hi", "01/02/24, 09:01 - \x1fTea\x02Shop: Hello", "01/02/24, 09:02 - Tea Shop: Yes"]
    (tmp_path / "chat.txt").write_text("\n".join(lines))
    (problem,) = items(tmp_path, Problem)
    assert problem.text.endswith('such as: fields = { assistant = "Tea Shop" }')
    (record,) = items(tmp_path, Record, FieldMap(assistant="Tea Shop"))
    assert [message["content"] for message in record.value["messages"]] == ["Hi", "Hello", "Yes"]


def test_a_message_of_many_lines_takes_linear_time_and_is_not_cut(tmp_path):
    path = tmp_path / "chat.txt"
    path.write_text("01/02/24, 09:00 - Ann: Hi\n01/02/24, 09:01 - Bo: a\n" + "\n" * 900_000)
    start = time.process_time()
    (record,) = items(tmp_path, Record, FieldMap(assistant="Bo"))
    assert time.process_time() - start < 5, "15 s if each line were appended to the text"
    assert len(record.value["messages"][1]["content"]) == 900_001
    with path.open("a") as chat:
        chat.write("\n" * 200_000)
    (record,) = items(tmp_path, Record, FieldMap(assistant="Bo"))
    assert str(record.value) == "a message of more than a million characters (line 2)"


def test_dates_that_begin_with_the_year_are_read_as_such(tmp_path):
    days = ["2024-01-02 10:00 - Ann: Hi", "2024-01-02 10:01 - Bo: Hello", "2024-01-03 10:02 - Ann: Still open?"]
    (tmp_path / "chat.txt").write_text("\n".join([*days, "2024-02-03 10:03 - Bo: Yes"]))
    found = items(tmp_path, Record, FieldMap(assistant="Bo"))
    assert [len(record.value["messages"]) for record in found] == [2, 2]
    assert items(tmp_path, Note, FieldMap(assistant="Bo")) == []
