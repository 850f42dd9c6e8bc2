"""Visitors get the passages that the owner agreed to, with digests that match, and no question without consent."""

import pytest

from fake_answers import KINDS, write_fake_answers
from tinsmith.core.errors import ArtifactError
from tinsmith.core.run_dir import file_sha256, read_json, tree_sha256s, write_json, write_text
from tinsmith.model.answers.publish import Published, first_words, publish_answers
from tinsmith.model.passages import Passage, Source

SOURCE = Source("faq.json", "line 1")
PASSAGES = (
    Passage("a", "answer", "How long is it valid?", "It is valid for 15 years; after that, ask again.", SOURCE),
    Passage("b", "document", "Returns > Refunds", "You get your money back.", SOURCE),
)


@pytest.fixture
def folder(tmp_path):
    write_fake_answers(tmp_path / "built", PASSAGES)
    return tmp_path / "built"


def test_questions_become_first_words_and_headings_stay(folder, tmp_path):
    assert publish_answers(folder, tmp_path / "site", "No idea.", with_questions=False) == Published(2, 0)
    titles = [passage["title"] for passage in read_json(tmp_path / "site" / "passages.json")]
    assert titles == ["It is valid for 15 years; after that...", "Returns > Refunds"]
    assert read_json(tmp_path / "site" / "answers.json")["unknown"] == "No idea."
    assert not any(b"How long" in path.read_bytes() for path in (tmp_path / "site").iterdir())


def test_with_consent_the_questions_stay(folder, tmp_path):
    publish_answers(folder, tmp_path / "site", "No idea.", with_questions=True)
    assert read_json(tmp_path / "site" / "passages.json") == read_json(folder / "passages.json")


def test_visitors_learn_which_small_talk_the_data_answer(tmp_path):
    greeting = Passage("c", "answer", "Who are you?", "I am the tea shop's bot.", SOURCE)
    heading = Passage("d", "document", "Thanks", "To all who helped.", SOURCE)
    write_fake_answers(tmp_path / "built", (*PASSAGES, greeting, heading))
    publish_answers(tmp_path / "built", tmp_path / "site", "No idea.", with_questions=False)
    assert read_json(tmp_path / "site" / "answers.json")["small_talk"] == ["about"]


def test_a_wording_is_what_visitors_ask_also_of_a_section(tmp_path):
    section = Passage("d", "document", "Us", "We are a tea shop.", SOURCE, wordings=("who are you?", "what is this?"))
    write_fake_answers(tmp_path / "built", (*PASSAGES, section))
    published = publish_answers(tmp_path / "built", tmp_path / "site", "No idea.", with_questions=False)
    assert published == Published(3, 2)
    assert read_json(tmp_path / "site" / "answers.json")["small_talk"] == ["about"]


def test_the_copy_has_its_own_digests_and_the_original_keeps_its_files(folder, tmp_path):
    before = tree_sha256s(folder)
    publish_answers(folder, tmp_path / "site", "No idea.", with_questions=False)
    sums = dict(reversed(line.split("  ")) for line in (tmp_path / "site" / "SHA256SUMS").read_text().splitlines())
    assert set(sums) == {*KINDS.values(), "answers.json", "passages.json"}
    assert sums == {name: file_sha256(tmp_path / "site" / name) for name in sums}
    assert tree_sha256s(folder) == before
    publish_answers(folder, tmp_path / "site", "No idea.", with_questions=False)
    assert sums == dict(reversed(line.split("  ")) for line in (tmp_path / "site/SHA256SUMS").read_text().splitlines())


def test_files_and_fields_that_nobody_agreed_to_stay_behind(folder, tmp_path):
    write_text(folder / "questions.jsonl", "a real person's question")
    write_text(folder / "LICENSE.minilm.txt", "Apache-2.0")
    passages = read_json(folder / "passages.json")
    write_json(folder / "passages.json", [{**passage, "questions": ["Who?"]} for passage in passages])
    publish_answers(folder, tmp_path / "site", "No idea.", with_questions=True)
    names = {path.name for path in (tmp_path / "site").iterdir()}
    assert "questions.jsonl" not in names and "LICENSE.minilm.txt" in names
    assert not any("questions" in passage for passage in read_json(tmp_path / "site" / "passages.json"))


def test_a_missing_file_is_named(folder, tmp_path):
    (folder / "minilm.index.bin").unlink()
    with pytest.raises(ArtifactError, match=r"minilm\.index\.bin: missing"):
        publish_answers(folder, tmp_path / "site", "No idea.", with_questions=False)


@pytest.mark.parametrize(
    ("text", "title"),
    [
        ("Short answer.", "Short answer."),
        ("One two three four five six seven eight", "One two three four five six seven eight"),
        ("One two three four five six seven, eight, nine", "One two three four five six seven, eight..."),
        ("1. **Kitchen**: 8-12\n2. Bath", "Kitchen: 8-12 Bath"),
        ("See [our page](https://a.example/x) for `details`.", "See our page for details."),
        ("# Prices\n| a | b |", "Prices a b"),
        ("\u4e00" * 70, "\u4e00" * 60 + "..."),
        ("5 * 3 = 15, *not* 5*4", "5 * 3 = 15, not 5*4"),
        ("-5 degrees", "-5 degrees"),
    ],
)
def test_first_words(text, title):
    assert first_words(text) == title
