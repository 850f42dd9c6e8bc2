"""Questions and answers on pages, and chats that WhatsApp exported."""

import json
import time

import pytest

from document_files import write_docx
from reading import conversations, items
from tinsmith.core.field_map import FieldMap
from tinsmith.data.read.record import Note, Problem, Record, Unused


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
