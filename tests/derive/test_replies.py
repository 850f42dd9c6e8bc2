"""Rules for the numbers of replies: what they name, what withholds them, and what broken files say."""

import json
from dataclasses import replace

import pytest

from fake_replies import asked_line, reply_lines, write_reply_files
from tinsmith.core.errors import ArtifactError
from tinsmith.derive import replies
from tinsmith.derive.files import Files
from tinsmith.derive.replies import REPLY_RULES, facts_by_group, has_page, withheld
from tinsmith.derive.rules import derive
from tinsmith.model.replies import rates
from tinsmith.model.replies.asked import write_lines


def measured(folder):
    return {m.id: m for m in derive(REPLY_RULES, Files.of_stage("evaluate", folder))}


def test_each_number_names_its_file_and_its_function(tmp_path):
    write_reply_files(tmp_path)
    by_id = measured(tmp_path)
    shared = by_id["evaluate.facts.trained.int4"]
    assert (shared.value, shared.count, shared.count_of) == (0.75, 4, "facts")
    assert (shared.raw, shared.method) == ("evaluate/answers.jsonl", "tinsmith.derive.replies.fact_share")
    assert by_id["evaluate.refused.near.int4"].raw == "evaluate/out_of_scope.jsonl"
    assert by_id["evaluate.facts.control.swapped"].method == "tinsmith.derive.replies.control_share"
    for id in by_id:
        matching = [rule.id for rule in REPLY_RULES if rule.fields(id) is not None]
        assert matching, id


def test_a_control_that_passes_withholds_every_score_of_facts_and_nothing_else(tmp_path, monkeypatch):
    write_reply_files(tmp_path)
    before = measured(tmp_path)
    real = rates.control_numbers

    def passing(asked):
        numbers = real(asked)
        return numbers | {"evaluate.facts.control.soup": replace(numbers["evaluate.facts.control.swapped"], value=0.11)}

    monkeypatch.setattr(replies.rates, "control_numbers", passing)
    after = measured(tmp_path)
    reason = withheld(Files.of_stage("evaluate", tmp_path))
    assert reason.endswith("wrong by construction (soup), so the scores say nothing")
    lost = {id for id in before if id not in after}
    assert lost and all(id.startswith(("evaluate.facts.", "evaluate.contradicted.")) for id in lost)
    assert {id for id in after if id.startswith(("evaluate.facts.", "evaluate.contradicted."))} == {
        id for id in before if "wrong_numbers" in id or ".control." in id
    } | {"evaluate.facts.control.soup"}


def test_groups_and_page_are_known_from_the_lines(tmp_path):
    write_reply_files(tmp_path)
    files = Files.of_stage("evaluate", tmp_path)
    assert facts_by_group(files) == {"trained": 4, "reworded": 4, "held_out_seen": 2, "held_out_new": 4}
    assert not has_page(files), "two of the questions were not asked of it"
    write_lines(tmp_path / "answers.jsonl", reply_lines()[:12])
    assert has_page(Files.of_stage("evaluate", tmp_path))


def test_files_that_no_number_follows_from_are_named(tmp_path):
    write_reply_files(tmp_path)
    (tmp_path / "neighbours.jsonl").write_text(json.dumps({"id": "c0"}) + "\n")
    with pytest.raises(ArtifactError, match=r"answers\.jsonl: no numbers follow .*KeyError: 'close'"):
        measured(tmp_path)
    line = asked_line("c0", "What does tea cost?", "It costs 3 euros.", {})
    write_lines(tmp_path / "answers.jsonl", [line, line | {"int4": {}}])
    with pytest.raises(ArtifactError, match=r"answers\.jsonl:2: not an asked question"):
        measured(tmp_path)


def test_no_replies_give_no_numbers(tmp_path):
    assert measured(tmp_path) == {}
