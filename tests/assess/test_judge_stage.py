"""A judge's replies become grades and measurements; stale, partial or damaged ones do not."""

import json

import pytest

import judges
from stage_runs import run_stage
from tinsmith.assess.items import read_items
from tinsmith.assess.judge_calls import planned_calls
from tinsmith.assess.judge_file import Judge, Judgements, Reply, host_of
from tinsmith.assess.judge_stage import record_judgements
from tinsmith.core.errors import ArtifactError, UserError
from tinsmith.core.run_dir import read_json
from tinsmith.model.grades import CRITERIA
from tinsmith.model.replies.asked import GROUPS, SUBJECTS

JUDGE = Judge("big-1", "api.example.com", GROUPS, 40, "digest")


@pytest.fixture
def folders(tmp_path):
    judges.write_answers(tmp_path / "evaluate", judges.answers(40))
    for name in ("review", "judgements", "judge"):
        (tmp_path / name).mkdir()
    return tmp_path


def let_judge(folders, judge, part=slice(None)):
    folder = Judgements(folders / "judgements")
    folder.begin(JUDGE)
    for call in planned_calls(read_items(folders / "evaluate"), GROUPS, JUDGE.items, seed=3)[part]:
        folder.add(Reply(call.key, judge(call.prompt), "big-1-2026", 400, 30))
    folder.end(JUDGE, "2026-05-01")


def run(folders):
    names = ("evaluate", "review", "judgements", "judge")
    return run_stage(record_judgements, *(folders / name for name in names), seed=3)


def test_nobody_has_judged(folders):
    assert run(folders).summary == ("no language model has judged the answers",)
    assert not any((folders / "judge").iterdir())


def test_a_good_judges_scores_are_recorded_with_their_raw_file(folders):
    let_judge(folders, judges.good)
    done = run(folders)
    numbers = {m.id: m for m in done.measurements}
    assert done.summary == ("big-1 on api.example.com judges int4: accuracy 5.0, factual 5.0, quality 5.0 out of 10",)
    assert numbers["judge.accuracy.int4"].value == 5 and numbers["judge.accuracy.int4"].count == 40
    scores = {f"judge.{criterion}.{subject}" for criterion in CRITERIA for subject in SUBJECTS}
    assert scores < numbers.keys()
    assert numbers["judge.control.swapped"].value == 0 and numbers["judge.preferred.int4"].value == 0.5
    assert {m.raw for m in done.measurements} == {"judge/grades.jsonl"}
    lines = (folders / "judge/grades.jsonl").read_text().splitlines()
    assert all(json.loads(line).keys() == set(json.loads(lines[0])) for line in lines)
    assert "ml." not in "".join(lines) and "compared" not in "".join(lines), "no text of the data or the judge"
    record = read_json(folders / "judge/judge.json")
    assert record["groups"] == {"held_out": 20, "trained": 20} and record["answered_as"] == ["big-1-2026"]
    assert (record["items"], record["last_asked"], record["withheld"]) == (40, "2026-05-01", {})


def test_a_lazy_judges_scores_are_withheld_with_the_reason(folders):
    let_judge(folders, judges.lazy)
    done = run(folders)
    reason = "it accepts 100% of replies with swapped facts"
    assert done.summary == (f"the scores of big-1 on api.example.com are withheld: {reason}",)
    assert read_json(folders / "judge/judge.json")["withheld"]["accuracy"] == reason
    assert {m.id.split(".")[1] for m in done.measurements} == {"control", "consistency", "order_consistency"}


def test_replies_to_known_bad_replies_alone_are_enough_to_withhold(folders):
    calls = planned_calls(read_items(folders / "evaluate"), GROUPS, 40, seed=3)
    let_judge(folders, judges.lazy, slice(sum(bool(call.control) for call in calls)))
    assert "withheld: it accepts 100%" in run(folders).summary[0]
    assert read_json(folders / "judge/judge.json")["items"] == 20


@pytest.mark.parametrize("judge", [judges.good, judges.lazy])
def test_a_judge_who_has_not_finished_gives_no_number(folders, judge):
    let_judge(folders, judge, slice(50))
    done = run(folders)
    assert "has not judged all answers" in done.summary[0] and not done.measurements


def test_other_answers_than_those_judged_give_no_number(folders):
    let_judge(folders, judges.good)
    rows = judges.answers(40)
    rows[7]["int4"]["text"] = "Something else."
    judges.write_answers(folders / "evaluate", rows)
    done = run(folders)
    # Three criteria, both orders of a comparison, and repeats among them.
    assert 5 <= int(done.summary[0].split("(")[1].split()[0]) <= 8 and not done.measurements


def test_a_reply_that_a_kill_cut_off_is_asked_again(folders):
    let_judge(folders, judges.good)
    path = folders / "judgements/replies.jsonl"
    content = path.read_bytes()
    path.write_bytes(content[:-9])
    folder = Judgements(folders / "judgements")
    last = json.loads(content.splitlines()[-1])["key"]
    assert last not in folder.replies()
    folder.begin(JUDGE)
    assert path.read_bytes() == content[: content[:-1].rindex(b"\n") + 1]


@pytest.mark.parametrize("line", ["[]", "{}", '{"key": 1', '{"key": "a", "text": "b"}'])
def test_what_is_no_reply_is_refused_by_its_line(folders, line):
    let_judge(folders, judges.good, slice(1))
    with (folders / "judgements/replies.jsonl").open("a") as file:
        file.write(f"{line}\n")
    with pytest.raises(ArtifactError, match=r"replies\.jsonl:2: not a reply"):
        run(folders)


@pytest.mark.parametrize("text", ["[]", "{}", '{"answered_as": []}', '{"model": "m", "answered_as": null}'])
def test_what_is_no_record_is_refused(folders, text):
    (folders / "judgements/judge.json").write_text(text)
    with pytest.raises(ArtifactError, match="not a judge's record"):
        run(folders)


def test_two_judges_are_not_mixed(folders):
    let_judge(folders, judges.good, slice(5))
    with pytest.raises(UserError, match=r"big-1 on api\.example\.com has judged this run"):
        Judgements(folders / "judgements").begin(Judge("big-2", "api.example.com", GROUPS, 40, "digest"))


@pytest.mark.parametrize(
    ("address", "host"),
    [
        ("http://127.0.0.1:8080/v1", "this machine"),
        ("http://[::1]/v1", "this machine"),
        ("https://api.example.com:444/v1", "api.example.com"),
    ],
)
def test_a_host_is_named_without_port(address, host):
    assert host_of(address) == host


def test_what_most_people_said_corrects_the_judge(folders):
    let_judge(folders, judges.good)
    raters = {"Ada": 1, "Bo": 1, "Cy": 0}
    grades = [
        {"item": f"cup-{number}", "subject": "int4", "criterion": "accuracy", "rater": rater, "grade": grade}
        for number in range(36)
        for rater, grade in (raters | ({"Bo": 0} if number % 2 else {})).items()
    ]
    undecided = [
        grades[0] | {"item": "cup-38", "rater": rater, "grade": grade} for rater, grade in [("A", 0), ("B", 1)]
    ]
    (folders / "review/grades.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in grades + undecided))
    numbers = {m.id: m for m in run(folders).measurements}
    assert (numbers["judge.agreement.accuracy"].value, numbers["judge.agreement.accuracy"].count) == (1, 36)
    record = read_json(folders / "judge/judge.json")
    assert record["corrected_by_people"] == {"accuracy": ["int4"], "factual": [], "quality": []}
    assert numbers["judge.accuracy.int4"].value == pytest.approx(5)
    wilson = numbers["judge.factual.int4"].spread
    assert numbers["judge.accuracy.int4"].spread["ci95_low"] != wilson["ci95_low"]
