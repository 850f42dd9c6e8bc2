"""Flags and counts of a whole data set, through the stage, whatever the order of its records."""

import json
import random

import numpy as np

from stage_runs import run_stage
from tinsmith.core.config import DataConfig
from tinsmith.data.stage import check_data, prepare_data
from tinsmith.data.survey import Cluster, Member, NearDuplicates, near_duplicates
from tinsmith.model.conversations import Conversation, Message

WORDS = "amber basil cedar delta ember fjord grove heron inlet jewel koala lemon mango nylon ocean piano".split()
SWEDISH = "Vi levererar till alla adresser i staden dagen efter din beställning, och det kostar ingenting alls."


def records():
    made = [
        {"q": f"Do you deliver {one} {other}?", "a": f"We deliver {one} and {other} on the next day, Kiyo style."}
        for one in WORDS
        for other in WORDS[:4]
    ]
    for record in made[:30]:
        record["a"] = record["a"].replace("Kiyo", "Kiyō")
    return [
        *made,
        {"q": "Levererar ni?", "a": SWEDISH},
        {"q": "Who are you exactly?", "a": "As an AI language model, I am nobody."},
        {"q": "When do you open?", "a": "We open at nine in the morning."},
        {"q": "When do you open?", "a": "We open early in the morning."},
    ]


def write(path, made):
    path.write_text("".join(json.dumps(record) + "\n" for record in made))
    return DataConfig(path=str(path))


def test_flags_and_counts(tmp_path, tiny_llama):
    config = write(tmp_path / "d.jsonl", records())
    (tmp_path / "base").mkdir()
    (tmp_path / "base" / "model").symlink_to(tiny_llama)
    (tmp_path / "out").mkdir()
    run_stage(prepare_data, config, tmp_path / "base", tmp_path / "out")
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    flagged = {one["reason"]: (one["count"], one["examples"]) for one in report["changes"] if one["what"] == "flagged"}
    assert {reason: (count, examples[0]["position"]) for reason, (count, examples) in flagged.items()} == {
        "language differs from that of most conversations": (1, "line 65"),
        "answer speaks as a language model": (1, "line 66"),
    }
    assert report["records"]["flagged"] == 2
    assert report["languages"]["usual"] == "en" and report["languages"]["counts"]["sv"] == 1
    assert [form["text"] for one in report["spellings"] for form in one["forms"]] == ["Kiyo", "Kiyō"]
    assert report["repeated_questions"] == {"questions": 1, "conversations": 2, "example": "When do you open?"}
    lines = [json.loads(line) for line in (tmp_path / "out" / "changes.jsonl").read_text().splitlines()]
    assert [line["position"] for line in lines if line["what"] == "flagged"] == ["line 66", "line 65"]
    assert "Kiyō" in (tmp_path / "out" / "report.html").read_text()
    assert "Kiyō" in (tmp_path / "out" / "report.md").read_text()


def test_counts_do_not_depend_on_the_order_of_records(tmp_path):
    def counts(made, name):
        report = check_data(write(tmp_path / name, made), seed=0).as_json()
        changes = sorted((one["what"], one["reason"], one["count"]) for one in report["changes"])
        names = [(form["text"], form["count"]) for one in report["spellings"] for form in one["forms"]]
        return changes, names, report["languages"], report["form"], report["repeated_questions"]

    made = records()
    expected = counts(made, "a.jsonl")
    random.Random(1).shuffle(made)
    assert counts(made, "b.jsonl") == expected


def test_the_largest_clusters_are_quoted():
    labels = np.array([3, 1, 3, 2, 1, 3, 9, 3, 3, 3])
    conversations = [
        Conversation(
            str(n), "c", (Message("user", f"Q{n}"), Message("assistant", "A")), {"file": "f", "position": str(n)}
        )
        for n in range(10)
    ]
    members = {n: Member("f", str(n), f"Q{n}") for n in range(10)}
    assert near_duplicates(labels, conversations.__getitem__) == NearDuplicates(
        8,
        2,
        (
            Cluster(6, tuple(members[n] for n in (0, 2, 5, 7, 8))),
            Cluster(2, (members[1], members[4])),
        ),
    )
    assert near_duplicates(np.arange(10), conversations.__getitem__) == NearDuplicates()
