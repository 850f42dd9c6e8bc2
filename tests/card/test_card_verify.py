"""A card that holds passes; one changed digit or byte anywhere is found and named."""

import json
import re
import shutil

import pytest

from fake_run import AUTHOR, write_card, write_run
from tinsmith.card import verify
from tinsmith.card.verify import check_card
from tinsmith.core import measure
from tinsmith.core.run_dir import RunDir, file_sha256, read_json, tree_sha256s, write_json


def other_digit(text: str, at: int) -> str:
    """`text` with the digit at `at` replaced by another; 1 to 9 so that JSON stays JSON."""
    return text[:at] + ("7" if text[at] != "7" else "8") + text[at + 1 :]


def restamp_card(run: RunDir) -> None:
    """Make the card's own stamp agree with its files, as a careful forger would."""
    stamp = {**read_json(run.stamp("card")), "outputs": tree_sha256s(run.stage("card"))}
    run.stamp("card").write_text(json.dumps(stamp))


def unnoticed_digits(run: RunDir, path, spots: list[int]) -> list[str]:
    """Surroundings of every digit of `path` at `spots` whose change `check_card` does not report."""
    original, missed = path.read_text(), []
    for at in spots:
        path.write_text(other_digit(original, at))
        if path.is_relative_to(run.stage("card")):
            restamp_card(run)
        if not check_card(run):
            missed.append(original[max(0, at - 40) : at + 10])
    path.write_text(original)
    restamp_card(run)
    return missed


def digits(text: str) -> list[int]:
    return [match.start() for match in re.finditer(r"\d", text)]


@pytest.fixture
def render_once(monkeypatch):
    """Render a run once while only files of its card change: what the card should say stays the same."""
    real, known = verify.card_files, {}
    real_evidence, evidence = verify.read_evidence, {}

    def rendered(evidence, config, name, runs):
        key = (evidence.log_bytes, evidence.log_sha256, str(runs))
        if key not in known:
            known[key] = real(evidence, config, name, runs)
        return known[key]

    def read_evidence(run, log_bytes=None):
        if log_bytes not in evidence:
            evidence[log_bytes] = real_evidence(run, log_bytes)
        return evidence[log_bytes]

    monkeypatch.setattr(verify, "card_files", rendered)
    monkeypatch.setattr(verify, "read_evidence", read_evidence)


def test_an_untouched_run_holds_and_so_does_its_copy(full_run, tmp_path):
    assert check_card(full_run) == []
    shutil.copytree(full_run.root, tmp_path / "elsewhere" / "tea-bot")
    assert check_card(RunDir(tmp_path / "elsewhere" / "tea-bot")) == []


def test_a_partial_run_holds(tmp_path, monkeypatch):
    run = write_run(tmp_path / "tea-bot", ("base", "data"))
    write_card(run, monkeypatch)
    assert check_card(run) == []


@pytest.mark.parametrize("step", [131, pytest.param(1, marks=pytest.mark.long)])
@pytest.mark.parametrize(("name", "count"), [("README.md", 400), ("EVIDENCE.md", 500)])
def test_every_digit_of_the_pages_is_watched(full_run, render_once, name, count, step):
    path = full_run.stage("card") / name
    spots = digits(path.read_text())
    assert len(spots) > count
    assert unnoticed_digits(full_run, path, spots[::step]) == []


@pytest.mark.parametrize("step", [1200, pytest.param(50, marks=pytest.mark.long)])
def test_digits_all_over_card_json_are_watched(full_run, render_once, step):
    path = full_run.stage("card") / "card.json"
    spots = digits(path.read_text())
    log = path.read_text().index('"measurement_log"')
    assert unnoticed_digits(full_run, path, spots[::step] + [at for at in spots if at > log]) == []


@pytest.mark.parametrize("step", [7, pytest.param(1, marks=pytest.mark.long)])
def test_every_digit_of_a_measurement_line_is_watched(tmp_path, monkeypatch, step):
    run = write_run(tmp_path / "tea-bot", ("base", "merge"), AUTHOR)
    write_card(run, monkeypatch, AUTHOR)
    lines = run.measurements.read_text().split("\n")
    assert [json.loads(line)["stage"] for line in lines[:-1]] == ["base", "base", *["merge"] * 5]
    assert unnoticed_digits(run, run.measurements, digits(run.measurements.read_text())[::step]) == []


def test_the_lines_of_older_runs_are_watched_too(tmp_path, monkeypatch):
    run = write_run(tmp_path / "tea-bot", ("base",))
    old = {**json.loads(run.measurements.read_text().split("\n")[0]), "value": 41, "fingerprint": "older"}
    run.measurements.write_text(json.dumps(old) + "\n" + run.measurements.read_text())
    write_card(run, monkeypatch)
    assert check_card(run) == []
    run.measurements.write_text(run.measurements.read_text().replace('"value": 41', '"value": 42'))
    assert any("card.json" in problem for problem in check_card(run))


@pytest.mark.parametrize("step", [31, pytest.param(1, marks=pytest.mark.long)])
def test_the_value_of_every_measurement_is_watched(full_run, step):
    text = full_run.measurements.read_text()
    spots = [match.end() - 1 for match in re.finditer(r'"value": \d', text)]
    assert len(spots) > 80
    assert unnoticed_digits(full_run, full_run.measurements, spots[::step]) == []


def test_a_digit_of_the_card_stages_own_measurement_is_watched(full_run):
    text = full_run.measurements.read_text()
    assert '"card.snippet.hub.seconds", "value": 2.5' in text
    full_run.measurements.write_text(
        text.replace('"card.snippet.hub.seconds", "value": 2.5', '"card.snippet.hub.seconds", "value": 2.6')
    )
    (problem,) = check_card(full_run)
    assert all(part in problem for part in ("card.snippet.hub.seconds", "recorded 2.6", "snippets.json gives 2.5"))


def test_the_first_differing_line_is_named_with_both_texts(full_run):
    path = full_run.stage("card") / "README.md"
    page = path.read_text()
    path.write_text(page.replace("(r=16, alpha=16)", "(r=61, alpha=16)"))
    restamp_card(full_run)
    number = next(i for i, line in enumerate(page.split("\n"), start=1) if "(r=16" in line)
    problem, *_ = check_card(full_run)  # the log says, too, that the stage wrote another file
    assert problem.startswith(f"card/README.md:{number}: says '- **Fine-tuning Method**: QLoRA (r=61,")
    assert "the run says '- **Fine-tuning Method**: QLoRA (r=16," in problem


def test_one_byte_of_the_package_is_named(full_run):
    path = full_run.stage("export") / "package" / "onnx" / "model_q4.onnx_data"
    data = bytearray(path.read_bytes())
    data[100] ^= 1
    path.write_bytes(data)
    before, now = read_json(full_run.stamp("export"))["outputs"]["package/onnx/model_q4.onnx_data"], file_sha256(path)
    assert check_card(full_run) == [
        "export/package/onnx/model_q4.onnx_data: changed since the export stage "
        f"(sha256 was {before[:12]}, is {now[:12]})"
    ]


def test_missing_and_added_files_are_named(full_run):
    (full_run.stage("train") / "loss.png").unlink()
    (full_run.stage("merge") / "extra.bin").write_bytes(b"x")
    assert check_card(full_run) == [
        "train/loss.png: missing, but listed in stamps/train.json",
        "merge/extra.bin: not listed in stamps/merge.json",
    ]


def test_a_changed_record_is_reported_alone(full_run):
    path = full_run.stage("train") / "train.json"
    path.write_text(path.read_text().replace("Testor 9000", "Testor 9001"))
    (problem,) = check_card(full_run)
    assert problem.startswith("train/train.json: changed since the train stage")


def test_stamps_environments_and_the_authors_words_are_watched(full_run):
    for path in (full_run.stamp("train"), full_run.environments / "env1.json", full_run.config):
        original = path.read_text()
        path.write_text(
            original.replace("23:00:00", "23:00:01").replace("3.11.7", "3.11.8").replace("2024-06", "2024-05")
        )
        assert path.read_text() != original
        assert any("card.json" in problem for problem in check_card(full_run)), path
        path.write_text(original)


def test_a_number_measured_on_something_else_is_found(full_run):
    stamp = read_json(full_run.stamp("data"))
    test, before = full_run.stage("data") / "test.jsonl", stamp["outputs"]["test.jsonl"][:12]
    test.write_text(test.read_text().replace("latte", "mocha"))
    stamp["outputs"]["test.jsonl"] = file_sha256(test)
    write_json(full_run.stamp("data"), stamp)
    again = "run again: tinsmith run --from evaluate"
    problems = check_card(full_run)
    now = f"the sha256 {file_sha256(test)[:12]}"
    assert (
        f"evaluate: measured data/test.jsonl with sha256 {before}, but stamps/data.json has {now}; {again}" in problems
    )
    assert "measurements.jsonl: data was measured with other outputs than stamps/data.json lists" in problems
    assert not any("with other inputs" in problem for problem in problems)
    test.unlink()
    del stamp["outputs"]["test.jsonl"]
    write_json(full_run.stamp("data"), stamp)
    problem = f"evaluate: measured data/test.jsonl with sha256 {before}, but stamps/data.json has no such file; {again}"
    assert problem in check_card(full_run)


def test_a_perplexity_that_does_not_follow_from_its_sums_is_found(tmp_path, monkeypatch):
    run = write_run(tmp_path / "tea-bot", author=AUTHOR)
    lines = [json.loads(line) for line in run.measurements.read_text().split("\n")[:-1]]
    for line in lines:
        if line["id"] in ("evaluate.perplexity.test.int4", "evaluate.ratio.test.int4_over_tuned"):
            line["value"] *= 0.999
    run.measurements.write_text("")
    measure.append(run.measurements, [measure.Measurement(**line) for line in lines])
    write_card(run, monkeypatch, AUTHOR)  # the card is made from the wrong number, so it agrees with it
    problems = check_card(run)
    assert [p.split(":")[0] for p in problems] == [
        "evaluate.perplexity.test.int4",
        "evaluate.ratio.test.int4_over_tuned",
    ]
    assert "but evaluate/nll/test.int4.jsonl gives 9.02501349943" in problems[0]


def test_code_that_ran_must_be_the_code_that_is_printed(full_run):
    path = full_run.stage("card") / "snippets.json"
    path.write_text(path.read_text().replace("'q8' : 'q4'", "'q8' : 'q8'"))
    restamp_card(full_run)
    assert "card/snippets.json: the hub code that ran is not the code a new card would print" in check_card(full_run)


def test_a_run_without_a_card_says_so(tmp_path):
    run = write_run(tmp_path / "tea-bot", ("base",))
    assert check_card(run) == ["card/README.md: missing", "card/card.json: missing", "card/snippets.json: missing"]


@pytest.mark.parametrize("name", ["answers.png", "perplexity.png", "loss.png", "answers_curve.png"])
def test_a_picture_of_other_numbers_is_found_even_with_a_new_stamp(full_run, name):
    picture = full_run.stage("card") / name
    picture.write_bytes((full_run.stage("card") / "size.png").read_bytes())
    restamp_card(full_run)
    assert any(problem.startswith(f"card/{name}") for problem in check_card(full_run))
