"""EVIDENCE.md says who judged, how the judge did on known replies, and why its grades are withheld."""

import pytest

from fake_run import write_card, write_run
from tinsmith.card.evidence import read_evidence
from tinsmith.card.facts import Facts
from tinsmith.card.judge import judge_lines
from tinsmith.core import measure
from tinsmith.core.config import CardConfig
from tinsmith.core.measure import Measurement
from tinsmith.core.run_dir import read_json, tree_sha256s, write_json

RECORD = {
    "model": "big-1",
    "host": "api.example.com",
    "calls": 1042,
    "items": 50,
    "last_asked": "2026-05-01",
    "prompts_sha256": "ab" * 32,
    "withheld": {},
    "corrected_by_people": {},
}


def judged(run, withheld, **shares):
    """The judge's record, and the share of each kind of known reply that it accepted."""
    write_json(run.stage("judge") / "judge.json", RECORD | {"withheld": withheld})
    stamp = read_json(run.stamp("judge")) | {"measurements": len(shares), "outputs": tree_sha256s(run.stage("judge"))}
    write_json(run.stamp("judge"), stamp)
    more = {"stage": "judge", "fingerprint": stamp["fingerprint"], "environment": "env1", "raw": "judge/judge.json"}
    measurements = [
        Measurement(f"judge.{id.replace('__', '.')}", share, "fraction", 20, "known replies", "a", **more)
        for id, share in shares.items()
    ]
    measure.append(run.measurements, measurements)


def test_nothing_is_said_of_a_judge_that_nobody_asked(tmp_path, monkeypatch):
    run = write_run(tmp_path / "tea-bot")
    assert judge_lines(Facts(read_evidence(run), CardConfig())) == []
    assert "Nobody has judged the replies" in (write_card(run, monkeypatch) / "EVIDENCE.md").read_text()


def test_who_judged_and_how_far_it_can_be_trusted(tmp_path, monkeypatch):
    run = write_run(tmp_path / "tea-bot")
    judged(run, {}, control__swapped=0.05, consistency=0.95)
    text = (write_card(run, monkeypatch) / "EVIDENCE.md").read_text()
    assert (
        "- The language model big-1 on api.example.com judged replies to 50 questions in 1,042 calls at temperature 0, "
        "the last on 2026-05-01 (SHA-256 of its prompts abababababab...).\n"
        "- Of the reference answers with the facts of another question, it accepted: 5 %\n"
        "- Of the questions that it was asked twice, it gave the same grade to: 95 %\n"
    ) in text
    assert "Nobody has judged" not in text and "withheld" not in text.partition("## Grades")[2].partition("##")[0]


@pytest.mark.parametrize(
    ("criteria", "whose"),
    [(("accuracy", "factual", "quality"), "Its grades"), (("quality",), "Its grades of quality")],
)
def test_why_grades_are_withheld_is_said(tmp_path, monkeypatch, criteria, whose):
    run = write_run(tmp_path / "tea-bot")
    judged(run, dict.fromkeys(criteria, "it accepts 100% of replies with swapped facts"), control__swapped=1.0)
    text = (write_card(run, monkeypatch) / "EVIDENCE.md").read_text()
    assert f"- {whose} are withheld: it accepts 100% of replies with swapped facts.\n" in text
