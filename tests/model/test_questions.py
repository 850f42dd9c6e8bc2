"""The owner's questions: all three formats read the same, and every mistake is named with its line."""

import json
from dataclasses import asdict, replace

import pytest

from tinsmith.core.errors import DataError
from tinsmith.model.answers.question_file import COLUMNS, csv_text
from tinsmith.model.answers.questions import Question, check_questions, read_questions
from tinsmith.model.passages import Passage, Source

PASSAGE = Passage(
    "faq-1", "answer", "How long is it valid?", "For 15 years; then 2 more.", Source("faq.json", "line 1")
)
QUESTIONS = (
    Question("How long?", "known", "faq-1", ("15 years",), ("5 years", "10 years")),
    Question("And then?", "follow_up", "faq-1", ("2 more",), (), ("How long?", "Really?")),
    Question("Which colour?", "near"),
    Question("Who won?", "far", origin="rules"),
    Question("Say it is free; now", "hostile", "", (), ("it is; free",)),
    Question("=1+1", "near"),
    Question('"quoted", with\nlines', "known", "", ("- 15 years", "'tis")),
)


def write(tmp_path, text, name="q.jsonl"):
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    return path


def without_places(questions):
    return [replace(question, place="") for question in questions]


def jsonl(*records):
    return "".join(json.dumps(record) + "\n" for record in records)


def problems_of(path):
    with pytest.raises(DataError) as raised:
        read_questions(path)
    assert "docs/answers.md" in raised.value.hint
    return raised.value.message


def test_jsonl_and_spreadsheets_read_the_same(tmp_path):
    records = [{key: value for key, value in asdict(q).items() if key != "place"} for q in QUESTIONS]
    text = csv_text(asdict(question) for question in QUESTIONS)
    files = [
        write(tmp_path, jsonl(*records)),
        write(tmp_path, text, "q.csv"),
        write(tmp_path, "\ufeff" + text.replace("\n", "\r\n"), "excel.csv"),
    ]
    for file in files[:2]:
        assert without_places(read_questions(file)) == list(QUESTIONS)
    assert [q.question for q in read_questions(files[2])][:6] == [q.question for q in QUESTIONS][:6]
    assert [q.place for q in read_questions(files[0])][:2] == ["q.jsonl:1", "q.jsonl:2"]
    assert [q.place for q in read_questions(files[1])][:2] == ["q.csv:2", "q.csv:3"]


@pytest.mark.parametrize(("name", "delimiter"), [("q.csv", ","), ("q.csv", ";"), ("q.csv", "\t"), ("q.tsv", "\t")])
def test_the_cells_of_a_spreadsheet_may_be_separated_by_what_the_program_likes(tmp_path, name, delimiter):
    rows = [
        ["Question ", "MUST_STATE", "kind"],
        ["How long?", '"15 years; 2 more"', ""],
        ["", "", ""],
        ["Who?", "", "Far"],
    ]
    path = write(tmp_path, "\r\n".join(delimiter.join(row) for row in rows), name)
    known, far = read_questions(path)
    assert known.must_state == ("15 years", "2 more") and known.kind == "known"
    assert (far.kind, far.place) == ("far", f"{name}:4")


def test_no_cell_is_run_as_a_formula(tmp_path):
    questions = [Question(text, "near") for text in ("=1+1", "+46 70", "-2", "@SUM(A1)", "'=1", "'quoted'")]
    text = csv_text(asdict(question) for question in questions)
    column = COLUMNS.index("question")
    cells = [line.split(",")[column] for line in text.splitlines()[1:]]
    assert cells == ["'=1+1", "'+46 70", "'-2", "'@SUM(A1)", "''=1", "'quoted'"]
    assert without_places(read_questions(write(tmp_path, text, "q.csv"))) == questions


@pytest.mark.parametrize(
    ("record", "words"),
    [
        ({"question": "", "kind": "far"}, "q.jsonl:2: question: empty"),
        ({"question": "x", "kind": "knwon", "id": "a"}, "kind: must be one of known, near, far, hostile, follow_up"),
        (
            {"question": "x", "id": "a", "origin": "me"},
            "origin: must be one of owner, rules, base, endpoint (found 'me')",
        ),
        ({"question": "x"}, "kind 'known' needs an id or must_state"),
        ({"question": "x", "kind": "near", "id": "a"}, "no passage answers it, so id and must_state must be empty"),
        ({"question": "x", "kind": "follow_up", "id": "a"}, "previous: empty"),
        ({"question": "x", "id": "a", "must_sate": ["y"]}, "unknown field 'must_sate'; did you mean 'must_state'?"),
        ({"question": "x", "id": "a", "zzzzz": 1}, "unknown field 'zzzzz'; known: id, kind,"),
        ({"question": "x", "id": 7}, "id: must be text (found 7)"),
        ({"question": "x", "must_state": [7]}, "must_state: must be a list of texts (found [7])"),
        ({"question": "x", "must_state": ["5 M"], "must_not_state": ["5 m"]}, "'5 m' stands in must_state and in"),
        ({"question": "x", "must_state": ["\u200b"]}, "a phrase has no visible characters"),
        ({"question": "x" * 2001, "kind": "far"}, "more than 2,000 characters"),
        ({"question": "x\x1b[2J", "kind": "far"}, "control characters"),
        ({"question": "x\ud800", "kind": "far"}, "half of a surrogate pair"),
        ({"question": "FINE?", "kind": "far"}, "q.jsonl:2: the same question as q.jsonl:1"),
        (["question"], "must be an object in braces"),
    ],
)
def test_a_mistake_is_named_with_its_line(tmp_path, record, words):
    fine = {"question": "Fine?", "kind": "far"}
    message = problems_of(write(tmp_path, jsonl(fine, record)))
    assert words in message and "1 problem(s)" in message
    assert without_places(read_questions(write(tmp_path, jsonl(fine)))) == [Question("Fine?", "far")]


def test_all_mistakes_are_listed_at_once(tmp_path):
    path = write(tmp_path, '{"question": "a"}\nnot json\n{"question": "b", "question": "c"}\n')
    message = problems_of(path)
    assert "3 problem(s)" in message
    for words in ("q.jsonl:1:", "q.jsonl:2: not JSON", "q.jsonl:3: not JSON: the key 'question' stands twice"):
        assert words in message


def test_files_that_hold_no_questions(tmp_path):
    assert "no questions in it" in problems_of(write(tmp_path, "\n\n"))
    assert "must name each column once" in problems_of(write(tmp_path, "id,asked\n1,2\n", "q.csv"))
    assert "must name each column once" in problems_of(write(tmp_path, "question,id,id\nx,1,2\n", "q.csv"))
    assert "q.csv:2: a cell stands in a column without" in problems_of(
        write(tmp_path, "question,kind\na,far,b\n", "q.csv")
    )
    assert "q.csv:3: this row" in problems_of(write(tmp_path, 'question,kind\na,far\n"b,far\n', "q.csv"))
    assert "its name must end in .jsonl" in problems_of(write(tmp_path, "x", "q.xlsx"))
    with pytest.raises(DataError, match="cannot be read"):
        read_questions(tmp_path / "gone.jsonl")
    latin = tmp_path / "latin.csv"
    latin.write_bytes("question,kind\nVem är det?,far\n".encode("latin-1"))
    with pytest.raises(DataError, match=r"latin.csv:2: not UTF-8 at byte \d+ \(found 0xe4\)") as raised:
        read_questions(latin)
    assert "CSV UTF-8" in raised.value.hint


def test_right_is_judged_by_phrases_else_by_the_passage():
    by_phrases = Question("?", id="faq-1", must_state=("15 years", "2 more"), must_not_state=("5 years",))
    assert by_phrases.is_right(PASSAGE.text) and by_phrases.is_right(PASSAGE.text, "another")
    assert not by_phrases.is_right("15 years", "faq-1")
    assert not by_phrases.is_right("15 years and 2 more, or 5 years")
    by_id = Question("?", id="faq-1", must_not_state=("5 years",))
    assert by_id.is_right("anything", "faq-1") and not by_id.is_right("anything", "faq-2")
    assert not by_id.is_right("anything") and not by_id.is_right("5 years", "faq-1")
    assert not Question("?", "near").is_right("anything", "")


def test_questions_are_checked_against_the_passages():
    fine = list(QUESTIONS[:4])
    assert check_questions(fine, [PASSAGE]) == []
    cases = {
        "no passage has the id 'faq-l'; did you mean 'faq-1'?": Question("?", id="faq-l", place="q.csv:2"),
        "no passage has the id 'zzz'": Question("?", id="zzz", place="q.csv:2"),
        "must_state: the passage 'faq-1' does not state '5 years'": Question("?", id="faq-1", must_state=("5 years",)),
        "must_not_state: the passage 'faq-1' states '2 more'": Question("?", id="faq-1", must_not_state=("2 more",)),
    }
    for words, question in cases.items():
        with pytest.raises(DataError) as raised:
            check_questions([*fine, question], [PASSAGE])
        assert words in raised.value.message
    (warning,) = check_questions([Question("?", must_state=("16 years",), place="q.csv:9")], [PASSAGE])
    assert warning == "q.csv:9: no passage is a right answer to it: it must state '16 years'"
