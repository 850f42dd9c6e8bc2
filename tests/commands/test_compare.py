"""`tinsmith compare` on two made-up runs whose differences are known by hand, in the terminal and in Chromium."""

import json
import math
import shutil
from dataclasses import replace

import pytest
from click.testing import CliRunner

from fake_rates import PASSAGES, outcomes
from fake_replies import asked_line
from fake_run import write_run
from tinsmith.browser.chromium import Browser
from tinsmith.card.evidence import read_evidence
from tinsmith.cli import main
from tinsmith.commands.compare_page import compare_page
from tinsmith.commands.difference_rows import Row, Section
from tinsmith.commands.measurement_names import name_of
from tinsmith.commands.number_differences import UNTOLD, numbers
from tinsmith.commands.run_differences import differences
from tinsmith.core import measure
from tinsmith.core.config import RunConfig
from tinsmith.core.run_dir import RunDir, file_sha256, write_json, write_text
from tinsmith.derive.files import Files
from tinsmith.derive.replies import REPLY_RULES
from tinsmith.derive.rules import derive
from tinsmith.model.answers.rates import Outcome, outcome_record, rates

HOSTILE = '</td><script>window.hacked = 1</script> & "x"\x1b[2J\nNumbers'
OLD_NATS = [20.0, 31.0, 12.0, 43.0, 24.0, 15.0, 66.0, 27.0] * 2
GAINS = [1.0, 2.0, 1.0, 2.0, 1.0, 2.0, 1.0, 2.0] * 2
SECRET = "the price of rose tea"
FACTS = "Facts stated, held-out questions, in no training answer, INT4 package"


def rewrite(run, path, lines):
    """Write a raw file of a run and renew its hash where stamps record it."""
    stage, _, rest = path.partition("/")
    write_text(run.root / path, "".join(json.dumps(line) + "\n" for line in lines))
    for stamp_path in run.stamps.glob("*.json"):
        stamp = json.loads(stamp_path.read_text())
        recorded = stamp["outputs"] if stamp["stage"] == stage else stamp["inputs"]
        name = rest if stamp["stage"] == stage else path
        if stamp["stage"] == stage or path in recorded:
            recorded[name] = file_sha256(run.root / path)
        write_json(stamp_path, stamp)


def measured(run, id, value, **changes):
    """Give a measurement of a run another value."""
    measured_all(run, {id: {"value": value, **changes}})


def measured_all(run, changes):
    kept = [replace(m, **changes.get(m.id, {})) for m in measure.read(run.measurements)]
    run.measurements.unlink()
    measure.append(run.measurements, kept)


def configure(run, section, **values):
    config = json.loads(run.config.read_text())
    config[section] = config.get(section, {}) | values
    write_json(run.config, config)


def conversation(id, question):
    messages = [{"role": "user", "content": f"{question}?"}, {"role": "assistant", "content": SECRET}]
    return {"id": id, "category": "tea", "messages": messages}


def score(run, nats, tokens=10, ids=None):
    """Scores of int4 on the test split, with the measurements that follow from them."""
    ids = ids or [f"c{number}" for number in range(len(nats))]
    lines = [
        {"id": id, "category": "tea", "nll": nll, "tokens": tokens, "bytes": 50}
        for id, nll in zip(ids, nats, strict=True)
    ]
    rewrite(run, "evaluate/nll/test.int4.jsonl", lines)
    loss = sum(nats) / tokens / len(nats)
    values = {"loss": loss, "perplexity": math.exp(loss), "bits_per_byte": sum(nats) / math.log(2) / 50 / len(nats)}
    measured_all(run, {f"evaluate.{name}.test.int4": {"value": value} for name, value in values.items()})


def answer_pages(run, changed: list[Outcome]):
    """Outcomes of the page, with the rates that follow from them."""
    rewrite(run, "knowledge/answers_questions.jsonl", [outcome_record(outcome) for outcome in changed])
    by_id = rates(changed).items()
    new = {f"answers.{id}": {"value": one.share, "count": one.count, "spread": one.interval} for id, one in by_id}
    measured_all(run, new)


def answer(run, stopped, ids=None, stated=None):
    """Replies of all models to held-out questions: which of int4's stop, and how many of four facts each states."""
    prices = ("110 euros", "120 kg", "130 days", "140 cm")
    lines = []
    for number, id in enumerate(ids or range(len(stopped))):
        count = stated[number] if stated else 1
        text = f"It is {' and '.join(prices[:count])}." + (" a b c d" * 3 if number == 0 else "")
        line = asked_line(f"c{number}", f"{SECRET} {id}?", f"It is {' and '.join(prices)}.", {"int4": text})
        assert len(line["facts"]) == 4
        lines.append(line | {"int4": line["int4"] | {"stopped": stopped[number]}})
    rewrite(run, "evaluate/answers.jsonl", lines)
    derived = derive(REPLY_RULES, Files(run.stage, RunConfig().seed))
    measured_all(run, {m.id: {"value": m.value, "count": m.count, "spread": m.spread} for m in derived})


def make_run(root):
    run = write_run(root)
    for split, name in (("train", "t"), ("val", "v"), ("test", "c")):
        rewrite(run, f"data/{split}.jsonl", [conversation(f"{name}{n}", f"{SECRET} {name} {n}") for n in range(16)])
        stamp = json.loads(run.stamp("evaluate").read_text())
        stamp["inputs"][f"data/{split}.jsonl"] = file_sha256(run.stage("data") / f"{split}.jsonl")
        write_json(run.stamp("evaluate"), stamp)
    score(run, OLD_NATS)
    answer(run, [True] * 12 + [False] * 4)
    return run


@pytest.fixture(scope="module")
def original(tmp_path_factory):
    return make_run(tmp_path_factory.mktemp("runs") / "original")


@pytest.fixture
def old(original, tmp_path):
    return RunDir(shutil.copytree(original.root, tmp_path / "old-run"))


@pytest.fixture
def new(original, tmp_path):
    return RunDir(shutil.copytree(original.root, tmp_path / "new-run"))


def compare(*arguments):
    return CliRunner().invoke(main, ["compare", *map(str, arguments)])


def rows_of(old, new) -> dict[str, Row]:
    """Rows of all sections by name."""
    sections = differences(read_evidence(old), read_evidence(new))
    return {row.name: row for section in sections for rows in section.groups.values() for row in rows}


def notes_of(old, new) -> str:
    return "\n".join(note for section in differences(read_evidence(old), read_evidence(new)) for note in section.notes)


def with_firsts(right: dict[int, bool]) -> list[Outcome]:
    """The made-up outcomes, with these questions' first passage right or wrong."""
    return [
        replace(outcome, right=(right[number], *outcome.right[1:])) if number in right else outcome
        for number, outcome in enumerate(outcomes())
    ]


def test_equal_runs_give_nothing(old, new):
    assert differences(read_evidence(old), read_evidence(new)) == []
    done = compare(old.root, new.root)
    assert done.exit_code == 0 and "Nothing differs" in done.stdout


def test_perplexity_is_paired_by_conversation(old, new):
    score(new, [nats - gain for nats, gain in zip(OLD_NATS, GAINS, strict=True)])
    row = rows_of(old, new)["Perplexity, test split, INT4 package"]
    # 24 nats less over 160 tokens: exp(-0.15) = 0.861; every conversation lies between exp(-0.2) and exp(-0.1).
    assert row.change.startswith("0.861 times (0.8") and row.change.endswith("on the same 16 conversations")
    assert row.verdict == "lower: better"
    loss = rows_of(old, new)["Loss, test split, INT4 package"]
    assert loss.change.startswith("-0.150 (-0.1") and loss.verdict == "lower: better"
    # 24 / ln 2 / 800 bytes = 0.0433
    bits = rows_of(old, new)["Bits per byte, test split, INT4 package"]
    assert bits.change.startswith("-0.0433 (-0.0") and bits.verdict == "lower: better"


def test_a_ratio_of_models_is_paired_too(old, new):
    for run in (old, new):
        lines = [{"id": f"c{n}", "nll": nats, "tokens": 10, "bytes": 50} for n, nats in enumerate(OLD_NATS)]
        rewrite(run, "evaluate/nll/test.tuned.jsonl", lines)
    score(new, [nats - gain for nats, gain in zip(OLD_NATS, GAINS, strict=True)])
    measured(old, "evaluate.ratio.test.int4_over_tuned", 1.0)
    measured(new, "evaluate.ratio.test.int4_over_tuned", math.exp(-0.15))
    row = rows_of(old, new)["Perplexity, test split, INT4 package over fine-tuned"]
    assert row.change.startswith("0.861 times (0.8") and row.verdict == "lower: better"


def test_swapped_runs_flip_every_sign(old, new):
    score(new, [nats - gain for nats, gain in zip(OLD_NATS, GAINS, strict=True)])
    answer_pages(new, with_firsts({9: True, 14: True, 0: False}))
    row = rows_of(new, old)["Perplexity, test split, INT4 package"]
    assert row.change.startswith("1.16") and row.verdict == "higher: worse"  # exp(0.15) = 1.162
    forth, back = (
        pair["Questions that a passage answers: put the right passage first"]
        for pair in (rows_of(old, new), rows_of(new, old))
    )
    assert (forth.old, forth.new) == (back.new, back.old)
    assert forth.change.startswith("+5 points (-14 to 23)") and back.change.startswith("-5 points (-23 to 14)")
    assert "now so for 2 more, no longer for 1" in forth.change and "now so for 1 more, no longer for 2" in back.change


def test_what_cannot_be_told_apart_is_never_better(old, new):
    # Two gained and one lost of twenty: see `test_paired.py`.
    answer_pages(new, with_firsts({9: True, 14: True, 0: False}))
    row = rows_of(old, new)["Questions that a passage answers: put the right passage first"]
    assert row.verdict == UNTOLD and "on the same 20 questions" in row.change
    # Six gained of twenty; see `test_paired.py`.
    few, more = (with_firsts(dict.fromkeys(range(6), flag)) for flag in (False, True))
    answer_pages(old, few)
    answer_pages(new, more)
    row = rows_of(old, new)["Questions that a passage answers: put the right passage first"]
    assert row.change.startswith("+30 points (7 to 51)") and row.verdict == "higher: better"


def test_changes_that_cancel_out_are_shown(old, new):
    answer_pages(new, with_firsts({14: True, 12: False}))
    row = rows_of(old, new)["Questions that a passage answers: put the right passage first"]
    assert row.old == row.new and "now so for 1 more, no longer for 1" in row.change and row.verdict == UNTOLD


def test_answers_stop_on_common_questions(old, new):
    answer(new, [True] * 13 + [False] * 3, ids=[*range(15), "other"])
    row = rows_of(old, new)["Answers that stop by themselves, INT4 package"]
    assert "on 15 questions in common of 16 and 16; now so for 1 more, no longer for 0" in row.change
    assert row.change.startswith("+7 points") and row.verdict == UNTOLD
    for run, limit in ((old, 48), (new, 96)):
        rewrite(run, "evaluate/evaluate.json", [{"decoding": {"max_new_tokens": limit}}])
    row = rows_of(old, new)["Answers that stop by themselves, INT4 package"]
    assert row.verdict == "cannot be paired: answers were cut at 48 and 96 tokens"


def test_other_questions_cannot_be_paired(old, new):
    others = [
        replace(one, question=replace(one.question, question=f"other {one.question.question}")) for one in outcomes()
    ]
    answer_pages(new, [replace(one, right=(False,) * len(one.right)) for one in others])
    rows = rows_of(old, new)
    row = rows["Questions that a passage answers: put the right passage first"]
    assert row.verdict == "cannot be paired: no questions in common"
    assert rows["Questions that a passage answers"] == Row(
        "Questions that a passage answers", "20", "20", "0 in common"
    )


def test_a_question_with_another_right_answer_is_another_one(old, new):
    first, *rest = outcomes()
    answer_pages(new, [replace(first, question=replace(first.question, must_state=("other",))), *rest])
    row = rows_of(old, new)["Questions that a passage answers"]
    assert row.change == "19 in common; 1 more with the same words, but another right answer"


def test_other_conversations_and_moves_between_splits(old, new):
    test = [conversation(f"c{n}", f"{SECRET} c {n}") for n in range(15)] + [conversation("c15", "changed")]
    test.append(conversation("moved", f"{SECRET} t 3"))
    rewrite(new, "data/test.jsonl", test)
    score(new, [*OLD_NATS[:15], 1.0, 1.0], ids=[line["id"] for line in test])
    rows = rows_of(old, new)
    assert rows["Conversations, test split"].change == (
        "15 in common by their messages; the same id, but other messages: c15"
    )
    assert "1 moved from the train to the test split: moved." in notes_of(old, new)
    row = rows["Perplexity, test split, INT4 package"]
    # All that differs is in conversations that only one run has.
    assert (
        row.change.startswith("1.00 times (1.00 to 1.00) on 15 conversations in common of 16 and 17")
        and row.verdict == UNTOLD
    )


def test_scores_on_an_older_split_are_not_paired(old, new):
    score(new, [nats - gain for nats, gain in zip(OLD_NATS, GAINS, strict=True)])
    write_text(new.stage("data") / "test.jsonl", json.dumps(conversation("c0", "new")) + "\n")
    stamp = json.loads(new.stamp("data").read_text())
    stamp["outputs"]["test.jsonl"] = file_sha256(new.stage("data") / "test.jsonl")
    write_json(new.stamp("data"), stamp)
    row = rows_of(old, new)["Perplexity, test split, INT4 package"]
    assert "times" not in row.change and "better" not in row.verdict


def test_other_tokens_leave_bits_per_byte(old, new):
    score(new, [nats - gain for nats, gain in zip(OLD_NATS, GAINS, strict=True)], tokens=12)
    rows = rows_of(old, new)
    assert "different tokens" in rows["Perplexity, test split, INT4 package"].verdict
    assert rows["Bits per byte, test split, INT4 package"].verdict == "lower: better"


def test_settings_name_values_but_no_texts(old, new):
    configure(new, "data", system_prompt=f"{SECRET}!", path="/home/ada/other.jsonl")
    configure(new, "train", epochs=4, schedule="linear")
    configure(new, "card", examples=[{"question": SECRET, "reference": SECRET}])
    rows = rows_of(old, new)
    assert (rows["train.epochs"].old, rows["train.epochs"].new) == ("not recorded", "4")
    assert rows["train.schedule"].new == "linear" and rows["data.path"].new == "other.jsonl"
    assert rows["data.system_prompt"].old == "13 characters (not printed)"
    assert rows["data.system_prompt"].new == "22 characters (not printed)"
    configure(old, "data", system_prompt=f"{SECRET}?", path="/srv/other.jsonl")
    alike = rows_of(old, new)
    assert alike["data.path"].change == "in another folder" and alike["data.system_prompt"].change == "another text"
    assert rows["card.examples"].new == "1 text (not printed)"


def test_versions_and_machines_stage_by_stage(old, new):
    environment = json.loads((new.environments / "env1.json").read_text())
    environment["packages"]["torch"] = "2.14.0"
    write_json(new.environments / "env1.json", environment)
    section = next(s for s in differences(read_evidence(old), read_evidence(new)) if s.title.startswith("Versions"))
    assert section.groups == {"All stages": [Row("torch", "2.13.0", "2.14.0")]}
    write_json(new.environments / "env2.json", environment | {"cpu": "Testor 1"})
    stamp = json.loads(new.stamp("bench").read_text())
    write_json(new.stamp("bench"), stamp | {"environment": "env2"})
    measured(new, "bench.wasm.decode_tokens_per_second", 20.0, spread={"min": 19.0, "max": 21.0})
    rows = rows_of(old, new)
    assert rows["cpu"] == Row("cpu", "Testor 9000", "Testor 1")
    row = rows["WASM: decoding"]
    assert row.verdict == "the ranges are apart; on another machine" and row.change == "+11.2 tokens/s"


def test_what_a_stage_resolved_is_compared(old, new):
    record = json.loads((new.stage("train") / "train.json").read_text())
    write_json(new.stage("train") / "train.json", record | {"compute_dtype": "float32"})
    record = json.loads((new.stage("base") / "base.json").read_text())
    write_json(new.stage("base") / "base.json", record | {"revision": "pkg==1.3"})
    section = next(s for s in differences(read_evidence(old), read_evidence(new)) if s.title.startswith("Versions"))
    assert section.groups == {
        "Base model": [Row("revision", "pkg==1.2", "pkg==1.3")],
        "QLoRA fine-tuning": [Row("trained in", "bfloat16", "float32")],
    }


def test_facts_are_paired_by_question(old, new):
    answer(new, [True] * 12 + [False] * 4, stated=[2, 2, 1, 2, 2, 2, 1, 2] * 2)
    row = rows_of(old, new)[FACTS]
    # 12 facts more of 64: 18.75 points; no question gained more than one fact of four.
    assert row.change.startswith("+19 points (")
    assert row.change.endswith("on the same 16 questions; now so for 12 more, no longer for 0")
    assert row.verdict == "higher: better"
    lines = [json.loads(line) for line in (new.stage("evaluate") / "answers.jsonl").read_text().splitlines()]
    rewrite(new, "evaluate/answers.jsonl", [line | {"facts": line["facts"][1:]} for line in lines])
    row = rows_of(old, new)[FACTS]
    assert row.verdict.startswith("cannot be paired: other facts")


def test_unpaired_intervals_say_no_more_than_that_they_overlap(old, new):
    id, name = "export.recipe.gptq.perplexity_ratio", "Recipe gptq: perplexity, INT4 over fine-tuned"
    measured(old, id, 1.04, spread={"ci95_low": 1.02, "ci95_high": 1.06})
    measured(new, id, 1.07, spread={"ci95_low": 1.05, "ci95_high": 1.09})
    row = rows_of(old, new)[name]
    assert row.change == "+0.030" and row.verdict == f"{UNTOLD}: the intervals overlap"
    measured(new, id, 1.09, spread={"ci95_low": 1.07, "ci95_high": 1.11})
    row = rows_of(old, new)[name]
    assert row.change == "+0.050" and row.verdict == "the intervals are apart"
    measured(new, "export.weights_bytes", 84_000)
    assert rows_of(old, new)["Weights to download"] == Row("Weights to download", "86.5 kB", "84 kB", "-2.50 kB")


def test_rounding_errors_are_left_out_but_no_count_is(old, new):
    measured(new, "evaluate.loss.test.base", 4.00001)
    measured(new, "base.parameters", 134_515_009)
    rows = rows_of(old, new)
    assert list(rows) == ["Parameters"] and rows["Parameters"].change == "+1"
    assert "Left out: 1 that differ by less than 0.01 %." in notes_of(old, new)


def test_gates_come_last_under_their_ids(old, new):
    measured(new, "gate.merge.adapter_norm", 4.0)
    measured(new, "evaluate.loss.val.base", 3.0)
    groups = numbers(read_evidence(old), read_evidence(new))[1].groups
    assert (
        list(groups) == ["Evaluation", "Parity gates"] and groups["Parity gates"][0].name == "gate.merge.adapter_norm"
    )


def test_unfinished_stages_and_missing_numbers_are_named(tmp_path, old):
    unfinished = write_run(tmp_path / "unfinished", stages=("base", "data", "knowledge"))
    notes = notes_of(old, unfinished)
    missing = "QLoRA fine-tuning, Merge, INT4 package, Evaluation, Browser benchmark, Other devices, "
    missing += "Review by people, Review by a language model"
    assert f"The new run has not finished: {missing}." in notes and "The old run" not in notes
    assert f"The old run has not finished: {missing}." in notes_of(unfinished, old)
    found = [m for m in measure.read(unfinished.measurements) if m.id != "knowledge.passages"]
    unfinished.measurements.unlink()
    measure.append(unfinished.measurements, found)
    stamp = json.loads(unfinished.stamp("knowledge").read_text())
    write_json(unfinished.stamp("knowledge"), stamp | {"measurements": stamp["measurements"] - 1})
    assert "Only the old run measured: knowledge.passages." in notes_of(old, unfinished)


def test_another_device_is_not_compared(old, new):
    record = json.loads((new.stage("remote") / "1.json").read_text())
    write_json(new.stage("remote") / "1.json", record | {"name": "Other"})
    measured(new, "remote.1.wasm.decode_tokens_per_second", 99.0)
    assert "Device 1 of the old run is not that of the new one" in notes_of(old, new)
    assert "Other devices" not in numbers(read_evidence(old), read_evidence(new))[1].groups


def test_mistakes_say_what_to_do(tmp_path, old):
    done = compare(old.root, tmp_path / "none")
    assert done.exit_code == 2 and "none: not a run folder" in done.stderr
    (tmp_path / "mine").mkdir()
    done = compare(tmp_path / "mine", old.root)
    assert done.exit_code == 2 and "mine: not a run folder" in done.stderr
    (tmp_path / "page.html").write_text("mine")
    done = compare(old.root, old.root, "--html", tmp_path / "page.html")
    assert done.exit_code == 2 and "already there" in done.stderr and (tmp_path / "page.html").read_text() == "mine"
    rewrite(old, "evaluate/answers.jsonl", [{"id": "c0"}])
    done = compare(old.root, old.root)
    assert done.exit_code == 2 and "evaluate/answers.jsonl:1: not an asked question" in done.stderr


def test_no_text_of_the_data_is_printed_and_names_stay_on_their_line(old, new, tmp_path):
    test = [conversation(HOSTILE if n == 7 else f"c{n}", f"{SECRET} c {n} new") for n in range(16)]
    rewrite(new, "data/test.jsonl", test)
    score(new, OLD_NATS[::-1], ids=[line["id"] for line in test])
    old_test = [conversation(HOSTILE if n == 7 else f"c{n}", f"{SECRET} c {n}") for n in range(16)]
    rewrite(old, "data/test.jsonl", old_test)
    configure(new, "data", system_prompt=SECRET, path=HOSTILE.replace("\x1b", ""))
    answer_pages(new, with_firsts({9: True}))
    answer(new, [True] * 16)
    done = compare(old.root, new.root, "--html", tmp_path / "page.html")
    assert done.exit_code == 0, done.output
    page = (tmp_path / "page.html").read_text()
    for shown in (done.stdout, page):
        assert SECRET not in shown and "Tea." not in shown and PASSAGES[0].text not in shown
    assert "\x1b" not in done.stdout and done.stdout.count("\nNumbers\n") == 1
    assert "<script" not in page and "&lt;script&gt;" in page


def test_every_number_of_a_run_has_words(old):
    unnamed = [m.id for m in read_evidence(old).measurements.values() if name_of(m.id).words == m.id]
    assert all(id.startswith("gate.") for id in unnamed), unnamed
    names = [name_of(m.id).words for m in read_evidence(old).measurements.values() if m.stage != "remote"]
    assert len(names) == len(set(names)), "two numbers have the same words"


@pytest.fixture(scope="module")
def browser():
    with Browser(webgpu="none") as browser:
        yield browser


@pytest.mark.browser
def test_the_page_loads_nothing_fits_a_phone_and_has_both_schemes(browser, tmp_path):
    rows = [
        Row(HOSTILE, "25.1 (22.4 to 28.0)", "24.1", "0.96 times (0.94 to 0.98) on the same 8 conversations", "x" * 80)
    ]
    sections = [Section("Numbers", {HOSTILE: rows, "Exact": [Row("a", "1 %", "2 <b>")]}, [HOSTILE])]
    (tmp_path / "page.html").write_text(compare_page(sections, HOSTILE, "new"), encoding="utf-8")
    page = browser.open((tmp_path / "page.html").as_uri())
    page.wait_for("document.querySelectorAll('table').length === 2")
    grounds = set()
    for dark in (False, True):
        page.screenshot(tmp_path / "page.png", 360, 740, dark)
        assert page.evaluate("document.documentElement.scrollWidth") <= 360
        grounds.add(page.evaluate("getComputedStyle(document.body).backgroundColor"))
    assert len(grounds) == 2
    cells = "[...document.querySelectorAll('tbody tr')[1].children].map((cell) => cell.textContent)"
    assert page.evaluate(cells) == ["a", "1\N{NO-BREAK SPACE}%", "2 <b>"]
    assert (
        page.evaluate("document.querySelector('td').textContent.split('\\x1b')[0]")
        == HOSTILE.split("\x1b", maxsplit=1)[0]
    )
    assert not page.evaluate("'hacked' in window") and page.evaluate("document.scripts.length") == 0
    assert [request.url.rpartition("/")[2] for request in page.requests] == ["page.html"]
    assert page.console == [] and page.exceptions == []


def graded(run, points_of, raters=("Ada",), stage="review"):
    """Grades of int4's replies to the test questions."""
    asked = [json.loads(line) for line in (run.stage("evaluate") / "answers.jsonl").read_text().splitlines()]
    lines = [
        {"item": line["id"], "cluster": line["id"], "group": "held_out", "subject": "int4", "rater": 1}
        | {"criterion": "quality", "grade": grade}
        for line, grade in zip(asked, points_of, strict=True)
    ]
    rewrite(run, f"{stage}/grades.jsonl", lines)
    rewrite(run, f"{stage}/{stage}.json", [{"raters": [{"name": name} for name in raters]}])
    kept = [m for m in measure.read(run.measurements) if m.stage != stage]
    score = replace(kept[0], id=f"{stage}.quality.int4", stage=stage, fingerprint=f"print-{stage}", unit="out of 10")
    stamp = json.loads(run.stamp(stage).read_text())
    write_json(run.stamp(stage), stamp | {"measurements": 1})
    run.measurements.unlink()
    measure.append(run.measurements, [*kept, replace(score, value=2.5 * (sum(points_of) / len(points_of) - 1))])


def test_grades_by_the_same_people_are_paired_by_question(old, new):
    name = "Response quality out of 10, judged by people, INT4 package"
    graded(old, [3] * 16)
    graded(new, [3] * 8 + [4] * 6 + [5, 2])
    row = rows_of(old, new)[name]
    # Six by 2.5, one by 5, one by -2.5, over 16.
    assert row.change.startswith("+1.1 (") and row.change.endswith("on the same 16 questions")
    assert row.verdict == "higher: better" and f"Better: {name}." in notes_of(old, new)
    graded(new, [3] * 8 + [4] * 6 + [5, 2], raters=("Grace",))
    assert rows_of(old, new)[name].verdict == "cannot be paired: other people graded"


def test_questions_that_share_a_passage_count_together(old, new):
    """Ten questions about one passage are gained together: that is one passage that changed."""
    first, *rest = outcomes()
    of_one = [
        replace(first, question=replace(first.question, question=f"{n}?"), right=(False, *first.right[1:]))
        for n in range(10)
    ]
    answer_pages(old, [*of_one, *rest])
    answer_pages(new, [*(replace(one, right=(True, *one.right[1:])) for one in of_one), *rest])
    row = rows_of(old, new)["Questions that a passage answers: put the right passage first"]
    assert "now so for 10 more, no longer for 0" in row.change and row.verdict == UNTOLD


def test_the_summary_names_what_is_better_and_worse_first(old, new):
    assert differences(read_evidence(old), read_evidence(new)) == []
    score(new, [nats - gain for nats, gain in zip(OLD_NATS, GAINS, strict=True)])
    answer(new, [False] * 16)
    first, *others = differences(read_evidence(old), read_evidence(new))
    assert first.title == "In short" and first.groups == {} and "Numbers" in [section.title for section in others]
    better, worse = first.notes
    assert better.startswith("Better: ") and "Perplexity, test split, INT4 package" in better
    assert worse == "Worse: Answers that stop by themselves, INT4 package."
    answer(new, [True] * 11 + [False] * 5)
    assert "1 other number changed by no more than chance may explain." in notes_of(old, new)
