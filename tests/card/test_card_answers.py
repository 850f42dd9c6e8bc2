"""The section about answers: what it says in each state of a run, and that raw outcomes are judged again."""

import json

import pytest

from fake_run import STAMPED, write_card, write_run
from tinsmith.card.verify import check_card
from tinsmith.core import measure
from tinsmith.core.run_dir import read_json, tree_sha256s, write_json


def section_of(run, monkeypatch) -> str:
    page = (write_card(run, monkeypatch) / "EVIDENCE.md").read_text()
    return page.split("## What It Does with a Question")[1].split("## How the Model Was Made")[0]


def configure(run, **answers):
    write_json(run.config, {**read_json(run.config), "answers": answers})


def edit_measurements(run, edit):
    """Replace the measurements by what `edit` makes of each line; None leaves it out."""
    lines = [edit(json.loads(line)) for line in run.measurements.read_text().split("\n")[:-1]]
    run.measurements.write_text("")
    measure.append(run.measurements, [measure.Measurement(**line) for line in lines if line is not None])
    for stage in ("knowledge", "evaluate"):
        count = sum(line is not None and line["stage"] == stage for line in lines)
        write_json(run.stamp(stage), {**read_json(run.stamp(stage)), "measurements": count})


def rewrite_lines(run, stage, name, edit):
    """Change the first line of a stage's raw file, and its stamp with it, as a careful forger would."""
    path = run.stage(stage) / name
    first, *rest = path.read_text().split("\n")
    path.write_text("\n".join([json.dumps(edit(json.loads(first))), *rest]))
    write_json(run.stamp(stage), {**read_json(run.stamp(stage)), "outputs": tree_sha256s(run.stage(stage))})


def test_an_owner_who_agreed_reads_what_the_page_does(full_run):
    page = (full_run.stage("card") / "EVIDENCE.md").read_text()
    assert "The page holds 20 passages" in page
    assert "below 37.5 %" in page and "at least 62.5 %" in page
    assert (full_run.stage("card") / "answers_curve.png").is_file()
    assert "10 by the owner and 10 made from the data by rules" in page
    assert "7.09 kB more to find the owner's texts" in (full_run.stage("card") / "README.md").read_text()


def test_a_run_without_the_stage_says_only_that(tmp_path, monkeypatch):
    section = section_of(write_run(tmp_path / "tea-bot", ("base", "data")), monkeypatch)
    assert section.strip().startswith("Not measured: the knowledge stage has not finished; type `tinsmith run CONFIG`")
    assert "thresholds" not in section and "visitors download" not in section


@pytest.mark.parametrize(
    ("answers", "reason"),
    [
        ({"publish": False}, "the owner has not agreed to publish answers word for word"),
        ({"publish": True, "mode": "model"}, "the owner set it so"),
    ],
)
def test_a_page_that_shows_no_passages_says_why(tmp_path, monkeypatch, answers, reason):
    run = write_run(tmp_path / "tea-bot")
    configure(run, **answers)
    section = section_of(run, monkeypatch)
    assert f"shows no passages of its owner's words: {reason}." in section
    assert "was right from memory" in section
    assert "visitors download" not in section


def test_a_ladder_that_falls_back_on_the_model_says_so(tmp_path, monkeypatch):
    run = write_run(tmp_path / "tea-bot")
    settings = run.stage("knowledge") / "answers" / "answers.json"
    write_json(settings, {**read_json(settings), "fallback": "model"})
    section = section_of(run, monkeypatch)
    assert "**Unsure**: the model answers from memory" in section
    assert "offers the closest" not in section.split("| Questions")[0]


def test_an_offered_model_is_said_to_answer_only_where_visitors_let_it(tmp_path, monkeypatch):
    run = write_run(tmp_path / "tea-bot")
    settings = run.stage("knowledge") / "answers" / "answers.json"
    write_json(settings, {**read_json(settings), "fallback": "offer"})
    section = section_of(run, monkeypatch)
    assert "Another button lets the model answer from memory" in section
    assert ", and the model only when they let it answer. This includes:" in section


def test_withheld_scores_are_marked_with_the_reason(tmp_path, monkeypatch):
    run = write_run(tmp_path / "tea-bot")
    record = run.stage("knowledge") / "knowledge.json"
    report = {"questions": {}, "curve": "", "withheld": "the judge accepted all passages at once"}
    write_json(record, read_json(record) | report)
    edit_measurements(run, lambda line: None if "right" in line["id"] and "knowledge" in line["raw"] else line)
    section = section_of(run, monkeypatch)
    expected = "| Questions that a passage answers | put the right passage first | Not measured: the judge accepted all"
    assert expected in section
    assert "had it among the first three" not in section
    assert "| Questions about something else |" in section


def test_rates_follow_from_the_raw_outcomes(tmp_path, monkeypatch):
    run = write_run(tmp_path / "tea-bot")
    wrong = {"answers.known.right": 0.85, "answers.far.refused": 0.5, "evaluate.closed_book.right": 0.5}
    edit_measurements(run, lambda line: {**line, "value": wrong.get(line["id"], line["value"])})
    write_card(run, monkeypatch)
    problems = check_card(run)
    assert sorted(problem.split(":")[0] for problem in problems) == sorted(wrong)
    assert "answers.known.right: recorded 0.85, but knowledge/answers_questions.jsonl gives 0.8" in problems


def test_a_rate_that_no_outcome_gives_is_found(tmp_path, monkeypatch):
    run = write_run(tmp_path / "tea-bot")
    edit_measurements(run, lambda line: {**line, "id": line["id"].replace("far.refused", "farther.refused")})
    write_card(run, monkeypatch)
    problems = check_card(run)
    assert "answers.farther.refused: recorded, but no raw file gives this number" in problems
    assert "answers.far.refused: not recorded, but knowledge/answers_questions.jsonl gives 1.0" in problems
    assert len(problems) == 2


def test_passages_and_answers_are_judged_again(tmp_path, monkeypatch):
    run = write_run(tmp_path / "tea-bot", STAMPED)
    rewrite_lines(
        run, "knowledge", "answers_questions.jsonl", lambda line: {**line, "right": [False, *line["right"][1:]]}
    )
    rewrite_lines(run, "evaluate", "closed_book.jsonl", lambda line: {**line, "right": False})
    write_card(run, monkeypatch)
    problems = check_card(run)
    assert "knowledge/answers_questions.jsonl:1: the passage 'p11' was judged not right, but is right" in problems
    assert "evaluate/closed_book.jsonl:1: the model's answer was judged not right, but is right" in problems
    assert any(problem.startswith("answers.known.right: recorded 0.8") for problem in problems)


def test_the_card_says_who_wrote_and_what_was_left_out(tmp_path, monkeypatch):
    run = write_run(tmp_path / "tea-bot")
    folder = run.stage("knowledge")
    record = read_json(folder / "knowledge.json")
    record["questions"] |= {"known": {"endpoint": 20}, "near": {"rules": 5}}
    write_json(folder / "knowledge.json", record)
    write_json(run.stamp("knowledge"), {**read_json(run.stamp("knowledge")), "outputs": tree_sha256s(folder)})
    section = section_of(run, monkeypatch)
    assert "answers: 20 written by another language model" in section
    assert "by no passage: 5 answerable ones, asked without the passages that answer them" in section
    assert "A model that writes questions has read the answers" in section and "made by rules use more" not in section
