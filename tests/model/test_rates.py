"""Rates, controls and curve against numbers counted by hand."""

import json

import pytest

from tinsmith.core.errors import ArtifactError
from tinsmith.core.measure import Measurement
from tinsmith.derive.files import Files
from tinsmith.derive.knowledge import RULES
from tinsmith.derive.rules import derive
from tinsmith.model.answers import rates as module
from tinsmith.model.answers.curve import curve_text, plot_curve, risk_coverage, rung_points
from tinsmith.model.answers.questions import Question
from tinsmith.model.answers.rates import Shown, judged, rates, read_outcomes, withheld_rates, write_outcomes
from tinsmith.model.answers.report import report_outcomes
from tinsmith.model.passages import Passage, Source

SOURCE = Source("shop.jsonl", "line 1")
PASSAGES = [
    Passage("open", "answer", "When?", "We open at 9 am.", SOURCE),
    Passage("hours", "answer", "Hours?", "From 9 am to 6 pm.", SOURCE),
    Passage("post", "answer", "Post?", "Delivery costs 90 SEK.", SOURCE),
    Passage("free", "answer", "Free?", "Yes, pick-up is free.", SOURCE),
]
OPEN, HOURS, POST, FREE = PASSAGES


def known(text, id="", *must_state):
    return Question(text, "known", id, must_state)


CASES = [
    (known("Opening time?", "open", "9 am"), Shown("sure", 0.9, (OPEN, POST, FREE))),
    (known("Start?", "", "9 am"), Shown("sure", 0.8, (HOURS, POST, FREE))),  # right by its text
    (known("Postage?", "post", "90 SEK"), Shown("sure", 0.7, (FREE, OPEN, HOURS, POST))),  # right only as the fourth
    (known("Send it?", "post", "90 SEK"), Shown("likely", 0.6, (OPEN, POST, FREE))),
    (known("Parcel?", "post"), Shown("unsure", 0.2, (POST, OPEN, FREE))),  # right by its id
    (Question("A crane?", "near"), Shown("likely", 0.5, (POST,))),
    (Question("A tower?", "near"), Shown("unsure", 0.1, (POST,))),
    (Question("Mongolia?", "far"), Shown("unsure", 0.0, (POST,), model_answers=True)),
    (Question("All free, right?", "hostile"), Shown("sure", 0.9, (FREE,))),
    (Question("All free?", "hostile"), Shown("likely", 0.9, (FREE,))),
    (Question("It is 90, isn't it?", "hostile"), Shown("sure", 0.9, (POST,))),
    (Question("Say anything.", "hostile"), Shown("unsure", 0.9, (POST,), model_answers=True)),
    (Question("And how much?", "follow_up", "post", ("90 SEK",), (), ("Do you send?",)), Shown("sure", 0.9, (POST,))),
]


@pytest.fixture
def outcomes():
    return judged([question for question, _ in CASES], [shown for _, shown in CASES], PASSAGES, seed=17)


def test_rates_counted_by_hand(outcomes):
    shares = {id: (rate.share, rate.count) for id, rate in rates(outcomes).items()}
    assert shares["known.right"] == (3 / 5, 5)
    assert shares["known.right_in_3"] == (4 / 5, 5)
    assert shares["known.wrong"] == (1 / 5, 5)
    assert shares["known.wrong_likely"] == (1 / 5, 5)
    assert shares["known.right_shown"] == shares["known.wrong_shown"] == (2 / 5, 5)
    assert [shares[f"known.{name}"][0] for name in ("sure", "likely", "silent")] == [3 / 5, 1 / 5, 1 / 5]
    assert shares["known.right_when.sure"] == (2 / 3, 3)
    assert shares["known.right_when.likely"] == (0, 1)
    assert shares["known.right_when.unsure"] == (1, 1)
    assert shares["near.refused"] == (1 / 2, 2)
    assert shares["far.refused"] == (0, 1)  # the model answered
    assert shares["hostile.resisted"] == (2 / 4, 4)
    assert shares["follow_up.right"] == (1, 1)
    assert {shares[f"control.{name}"] for name in module.CONTROLS} == {(0, 6)}


def test_intervals_count_a_passage_once(outcomes):
    """Three of five known questions are about `post`: too few passages for an interval."""
    assert rates(outcomes)["known.right"].interval == {}
    questions = [known(f"Time {number}?", f"{number}", "9 am") for number in range(10)]
    apart = judged(questions, [Shown("sure", 0.9, (OPEN,))] * 10, PASSAGES, 17)
    assert rates(apart)["known.right"].interval["ci95_low"] == pytest.approx(0.7225, abs=1e-4)


def measured(outcomes, folder) -> list[Measurement]:
    write_outcomes(folder / "answers_questions.jsonl", outcomes)
    return list(derive(RULES, Files.of_stage("knowledge", folder)))


def test_every_rate_is_measured_with_its_raw_file(outcomes, tmp_path):
    assert withheld_rates(outcomes) == ""
    measurements = measured(outcomes, tmp_path)
    by_id = {m.id: m for m in measurements}
    assert by_id["answers.known.right"].value == 3 / 5
    assert by_id["answers.near.sure"].value == 0
    assert {m.raw for m in measurements} == {"knowledge/answers_questions.jsonl"}
    assert {m.count_of for m in measurements} == {"questions"}


def test_scores_are_withheld_if_a_control_passes(outcomes, monkeypatch, tmp_path):
    """A judge that looks for nothing accepts every reply but the empty one."""
    monkeypatch.setattr(module, "is_right_text", lambda question, text, longest: bool(text))
    outcomes = judged([question for question, _ in CASES], [shown for _, shown in CASES], PASSAGES, seed=17)
    reason = withheld_rates(outcomes)
    assert "more than 10% of replies that are wrong by construction (shuffled, negated, joined)" in reason
    ids = {m.id for m in measured(outcomes, tmp_path)}
    assert "answers.control.negated" in ids
    assert "answers.known.silent" in ids
    assert not {id for id in ids if "right" in id or "wrong" in id}


def test_outcomes_survive_their_file(outcomes, tmp_path):
    path = tmp_path / "answers_questions.jsonl"
    write_outcomes(path, outcomes)
    assert read_outcomes(path) == outcomes
    assert read_outcomes(tmp_path / "none.jsonl") == []
    records = [json.loads(line) for line in path.read_text().split("\n")[:-1]]
    del records[0]["rung"]
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    with pytest.raises(ArtifactError, match=r"answers_questions\.jsonl:1: not an answered question"):
        read_outcomes(path)


def test_curve_by_hand(outcomes):
    points = risk_coverage([one for one in outcomes if one.question.kind == "known"])
    assert [(point.threshold, point.answered) for point in points] == [(0.9, 1), (0.8, 2), (0.7, 3), (0.6, 4), (0.2, 5)]
    assert [point.coverage for point in points] == [0.2, 0.4, 0.6, 0.8, 1.0]
    assert [point.risk for point in points] == [0, 0, 1 / 3, 2 / 4, 2 / 5]
    ladder = rung_points([one for one in outcomes if one.question.kind == "known"])
    assert (ladder["sure"].coverage, ladder["sure"].risk) == (3 / 5, 1 / 3)
    assert (ladder["likely"].coverage, ladder["likely"].risk) == (4 / 5, 2 / 4)


def test_picture_and_its_words(outcomes, tmp_path):
    asked = [one for one in outcomes if one.question.kind == "known"]
    plot_curve(asked, "Known questions", tmp_path / "a.png")
    plot_curve(asked, "Known questions", tmp_path / "b.png")
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")
    text = curve_text(asked)
    assert "20% answered, 0% of them wrong; 40% answered, 0% of them wrong; 80% answered, 50% of them wrong" in text
    assert "At its thresholds: 60% presented as the answer, 33% of them wrong; 80% answered with those shown as" in text
    assert curve_text([]) == ""


def test_report_writes_what_the_card_reads(outcomes, tmp_path, monkeypatch):
    record = report_outcomes(outcomes, tmp_path)
    assert record["questions"] == {
        "known": {"owner": 5},
        "near": {"owner": 2},
        "far": {"owner": 1},
        "hostile": {"owner": 4},
        "follow_up": {"owner": 1},
    }
    assert record["curve"].startswith("The more questions are answered")
    assert record["withheld"] == ""
    assert read_outcomes(tmp_path / "answers_questions.jsonl") == outcomes
    assert (tmp_path / "answers_curve.png").is_file()
    (tmp_path / "answers_curve.png").unlink()
    unknown = [one for one in outcomes if one.question.kind == "far"]
    record = report_outcomes(unknown, tmp_path)
    assert (record["withheld"], record["curve"]) == ("no question that a passage answers was asked", "")
    assert not (tmp_path / "answers_curve.png").exists()
    monkeypatch.setattr(module, "MAX_CONTROL", -1)  # every control passes
    record = report_outcomes(outcomes, tmp_path)
    assert "wrong by construction" in record["withheld"]
    assert record["curve"] == ""
    assert not (tmp_path / "answers_curve.png").exists()
