"""The plain sentence at the top: what it says in each case, and that rounding never flatters."""

import json

import pytest

from fake_run import STAMPED, write_card, write_run
from tinsmith.card.verdict import Results, Share, at_least, at_most, sentence
from tinsmith.core.run_dir import read_json, tree_sha256s, write_json


def share(count: int, of: int) -> Share:
    return Share("answers.known.right_shown", count, of)


def page(right=(33, 60), wrong=(6, 60), as_sure=(4, 60), fallback="offer", **more) -> Results:
    return Results("passages", fallback, share(*right), share(*wrong), share(*as_sure), **more)


CASES = {
    "some right, some wrong": (
        page(),
        "Answers 5 of 10 known questions right and 1 in 10 wrong (1 in 15 as if it were sure), and says that it does "
        "not know the rest.",
    ),
    "all that is wrong is given as sure": (
        page(wrong=(4, 60)),
        "Answers 5 of 10 known questions right and 1 in 15 wrong (as if it were sure), and says that it does not know "
        "the rest.",
    ),
    "nothing wrong is given as sure": (
        page(as_sure=(0, 60)),
        "Answers 5 of 10 known questions right and 1 in 10 wrong (shown only as the closest it has), and says that it "
        "does not know the rest.",
    ),
    "nothing wrong": (
        page(wrong=(0, 60), as_sure=(0, 60)),
        "Answers 5 of 10 known questions right and none wrong, and says that it does not know the rest.",
    ),
    "all right": (
        page(right=(60, 60), wrong=(0, 60), as_sure=(0, 60)),
        "Answers all 60 known questions right and none wrong.",
    ),
    "always answers": (
        page(right=(54, 60), wrong=(6, 60), as_sure=(6, 60)),
        "Answers 9 of 10 known questions right and 1 in 10 wrong (as if it were sure).",
    ),
    "nothing right": (
        page(right=(0, 30), wrong=(15, 30), as_sure=(9, 30)),
        "Answers none of the 30 known questions right and 5 of 10 wrong (3 of 10 as if it were sure), and says that it "
        "does not know the rest.",
    ),
    "too few questions": (
        page(right=(4, 7), wrong=(1, 7), as_sure=(1, 7)),
        "Answers 4 of the 7 known questions right and 1 of the 7 wrong (as if it were sure), and says that it does "
        "not know the rest.",
    ),
    "questions that no text answers": (
        page(refused=share(22, 30)),
        "Answers 5 of 10 known questions right and 1 in 10 wrong (1 in 15 as if it were sure), and says that it does "
        "not know the rest. When its texts hold no answer, it says so for 7 of 10 questions.",
    ),
    "the model answers the rest": (
        page(right=(3, 25), wrong=(1, 25), as_sure=(1, 25), fallback="model", from_memory=share(0, 24)),
        "Answers 1 of 10 known questions right and 1 in 25 wrong (as if it were sure). Its model answers the rest from "
        "memory; alone, it answered none of the 24 known questions right.",
    ),
    "the model answers the rest, unmeasured": (
        page(fallback="model"),
        "Answers 5 of 10 known questions right and 1 in 10 wrong (1 in 15 as if it were sure). Its model answers the "
        "rest from memory; nobody has measured how often that is right.",
    ),
    "no questions": (
        Results("passages", "silent"),
        "Nobody has measured how often it answers right.",
    ),
    "no questions, and the model answers": (
        Results("passages", "model"),
        "Nobody has measured how often it answers right. Where it finds no text, its model makes up an answer.",
    ),
    "the model alone": (
        Results("model", "", from_memory=share(5, 24)),
        "Answers 2 of 10 known questions right. Its model answers every question from memory, and nothing on the page "
        "tells right answers from wrong ones.",
    ),
    "the model alone, unmeasured": (
        Results("model", ""),
        "Nobody has measured how often it answers right. Its model answers every question from memory, and nothing on "
        "the page tells right answers from wrong ones.",
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_what_the_card_says_of(case):
    results, expected = CASES[case]
    assert sentence(results) == expected


@pytest.mark.parametrize("of", [20, 24, 25, 60, 997])
def test_rounding_never_flatters(of):
    """What the words promise is at most the share that was right, and at least the share that was wrong."""
    for count in range(of + 1):
        assert number(at_most(share(count, of))) <= count / of
        assert number(at_least(share(count, of))) >= count / of


def number(words: str) -> float:
    """The share that the words state."""
    if words.startswith("fewer than"):
        return 0.0
    if words.startswith(("all", "none")):
        return float(words.startswith("all"))
    count, of = (int(word) for word in words.replace("the", "").split() if word.isdecimal())
    return count / of


@pytest.mark.parametrize(
    ("count", "of", "right", "wrong"),
    [
        (73, 100, "7 of 10", "8 of 10"),
        (99, 100, "9 of 10", "10 of 10"),
        (100, 100, "all 100", "all 100"),
        (9, 100, "fewer than 1 in 10", "1 in 11"),
        (20, 100, "2 of 10", "1 in 5"),
        (21, 100, "2 of 10", "3 of 10"),
        (1, 100, "fewer than 1 in 10", "1 in 100"),
        (0, 100, "none of the 100", "none of the 100"),
        (12, 19, "12 of the 19", "12 of the 19"),
    ],
)
def test_shares_in_words(count, of, right, wrong):
    assert (at_most(share(count, of)), at_least(share(count, of))) == (right, wrong)


def verdict_of(run, monkeypatch) -> str:
    lines = (write_card(run, monkeypatch) / "README.md").read_text().split("\n")
    (heading,) = [number for number, line in enumerate(lines) if line.startswith("# Model Card")]
    return lines[heading + 2]


def change_settings(run, **changes):
    """Change the settings of the page, and the stamp with them."""
    path = run.stage("knowledge") / "answers" / "answers.json"
    write_json(path, {**read_json(path), **changes})
    outputs = tree_sha256s(run.stage("knowledge"))
    write_json(run.stamp("knowledge"), {**read_json(run.stamp("knowledge")), "outputs": outputs})


def forget(run, *ids):
    lines = [line for line in run.measurements.read_text().splitlines() if json.loads(line)["id"] not in ids]
    run.measurements.write_text("".join(f"{line}\n" for line in lines))


def test_a_run_gets_the_sentence_of_its_numbers(tmp_path, monkeypatch):
    assert verdict_of(write_run(tmp_path / "tea-bot"), monkeypatch) == (
        "**Answers 6 of 10 known questions right and 1 in 6 wrong (1 in 20 as if it were sure), and says that it does "
        "not know the rest. When its texts hold no answer, it says so for 4 of the 5 questions.**"
    )


def test_a_run_whose_model_answers_the_rest_says_so(tmp_path, monkeypatch):
    run = write_run(tmp_path / "tea-bot")
    change_settings(run, fallback="model")
    assert verdict_of(run, monkeypatch).endswith(
        "Its model answers the rest from memory; alone, it answered 1 of the 6 known questions right.**"
    )


@pytest.mark.parametrize("answers", [{"publish": True, "mode": "model"}, {"publish": False}])
def test_a_page_without_passages_is_judged_by_its_model(tmp_path, monkeypatch, answers):
    run = write_run(tmp_path / "tea-bot")
    write_json(run.config, {**read_json(run.config), "answers": answers})
    assert verdict_of(run, monkeypatch).startswith(
        "**Answers 1 of the 6 known questions right. Its model answers every"
    )


def test_a_run_without_questions_says_what_to_type(tmp_path, monkeypatch):
    run = write_run(tmp_path / "tea-bot")
    forget(run, "answers.known.right_shown")
    assert verdict_of(run, monkeypatch) == "**Nobody has measured how often it answers right.**"
    page = (run.stage("card") / "README.md").read_text()
    assert "To measure it, type `tinsmith questions runs/tea-bot`, fill in the file" in page


@pytest.mark.parametrize("count", range(STAMPED.index("evaluate")))
def test_an_unfinished_run_says_so_and_what_to_type(tmp_path, monkeypatch, count):
    verdict = verdict_of(write_run(tmp_path / "tea-bot", STAMPED[:count]), monkeypatch)
    assert verdict.startswith("**Nobody has measured how well it answers: the ")
    assert verdict.endswith("stage has not finished; type `tinsmith run CONFIG`.**")
