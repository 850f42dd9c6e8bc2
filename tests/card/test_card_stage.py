"""The stage itself: what it runs, writes and says."""

import pytest

from fake_run import AUTHOR, STAMPED, write_run
from stage_runs import run_stage
from tinsmith.card import stage
from tinsmith.card.snippet_run import SnippetRun
from tinsmith.card.stage import render_card
from tinsmith.core.config import CardConfig
from tinsmith.core.errors import GateError
from tinsmith.core.run_dir import RunDir, read_json, write_json
from tinsmith.model.private.masks import Masks, mask_key
from tinsmith.model.private.protect import protect
from tinsmith.model.private.record import PrivateRecord
from tiny import tiny_conversations

SECONDS = (1.26, 2.5, 0.04)
"""Of each form of the code."""


@pytest.fixture
def calls(monkeypatch):
    """The package, and what the folder of answers has, at each run of the code."""
    calls = []

    def answered(printed, package, answers):
        calls.append((package, sorted(path.name for path in answers.iterdir())))
        return [
            SnippetRun(s.form, s.code, "4 euros", "wasm", "Chromium 1", seconds)
            for s, seconds in zip(printed, SECONDS, strict=False)
        ]

    monkeypatch.setattr(stage, "run_snippets", answered)
    return calls


def render(run: RunDir, folder, **author):
    folder.mkdir()
    return run_stage(render_card, CardConfig(**author), run, "tea-bot", folder)


def test_it_says_what_was_measured_and_what_is_missing(tmp_path, calls):
    run = write_run(tmp_path / "tea-bot", STAMPED[: STAMPED.index("bench")])
    unknown = {"question": "What?", "reference": "Nothing."}
    result = render(run, tmp_path / "card", author="Ada", examples=[*AUTHOR["examples"], unknown])
    page = (tmp_path / "card/README.md").read_text()
    counts = (page.count("Not measured: "), page.count("Not stated by the author"))
    measured = len(read_json(tmp_path / "card/card.json")["measurements"])
    assert measured > 100 and min(counts) > 0
    assert result.summary == (
        f"{measured} measurements; {counts[0]} places marked not measured, {counts[1]} not stated by the author",
        "hub code ran in 1.3 s",
        "self_hosted code ran in 2.5 s",
        "answers code ran in 0.0 s",
        "warning: left out 1 of 3 card.examples, because this run has no answer to exactly this question and "
        "reference; choose others with: tinsmith approve CONFIG",
    )
    assert [run["elapsed_seconds"] for run in read_json(tmp_path / "card/snippets.json")] == [*SECONDS]
    seconds = {m.id: m.value for m in result.measurements if m.id.startswith("card.snippet.")}
    forms = ("hub", "self_hosted", "answers")
    assert seconds == {f"card.snippet.{form}.seconds": value for form, value in zip(forms, SECONDS, strict=True)}
    assert (tmp_path / "card/loss.png").read_bytes() == (run.stage("train") / "loss.png").read_bytes()
    curve = tmp_path / "card/answers_curve.png"
    assert curve.read_bytes() == (run.stage("knowledge") / "answers_curve.png").read_bytes()


def test_the_code_runs_against_the_package_and_the_answers_as_the_site_has_them(tmp_path, calls):
    run = write_run(tmp_path / "tea-bot")
    render(run, tmp_path / "card")
    ((package, answers),) = calls
    assert package == run.stage("export") / "package" and "answers.json" in answers
    write_json(run.config, {**read_json(run.config), "answers": {"publish": False}})
    render(run, tmp_path / "other")
    assert calls[1] == (package, []), "no form of the code looks anything up"


@pytest.mark.parametrize("stages", [(), ("base", "data")])
def test_without_a_package_no_code_runs_and_no_example_is_missed(tmp_path, calls, stages):
    result = render(write_run(tmp_path / "tea-bot", stages), tmp_path / "card", examples=AUTHOR["examples"])
    assert calls == [] and len(result.summary) == 1
    assert read_json(tmp_path / "card/snippets.json") == []
    assert not (tmp_path / "card/loss.png").exists()


def test_a_package_whose_stage_did_not_finish_is_not_run(tmp_path, calls):
    run = write_run(tmp_path / "tea-bot", STAMPED[: STAMPED.index("evaluate")])
    run.stamp("export").unlink()
    render(run, tmp_path / "card")
    assert calls == []


def test_a_card_with_a_value_that_the_data_hide_stops_the_run(tmp_path, calls):
    run = write_run(tmp_path / "tea-bot", ("base", "data"))
    record, masks = PrivateRecord(), Masks(mask_key(["aa"]))
    hides = tiny_conversations(1)[0]
    messages = (*hides.messages[:-1], type(hides.messages[0])("assistant", "Write to ada@home.example."))
    record.add(protect(type(hides)(hides.id, hides.category, messages), "mask", masks).findings)
    record.write(run.stage("data"), "mask", masks.key)
    render(run, tmp_path / "card", author="Ada")
    with pytest.raises(GateError, match="private"):
        render(run, tmp_path / "other", author="Ada", email="ada@home.example")
