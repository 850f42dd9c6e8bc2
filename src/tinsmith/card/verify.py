"""Verify that a card still matches its run: every file, every number, every printed digit."""

from collections.abc import Iterator
from itertools import zip_longest
from pathlib import Path
from typing import Any

from tinsmith.card.evidence import STAGES, Evidence, read_evidence
from tinsmith.card.files import card_files
from tinsmith.card.schema import schema_problems
from tinsmith.card.snippet import snippets
from tinsmith.card.snippet_run import SnippetRun
from tinsmith.card.verify_answers import wrong_judgements
from tinsmith.card.verify_numbers import wrong_numbers
from tinsmith.core import measure
from tinsmith.core.errors import ArtifactError
from tinsmith.core.measure import Measurement
from tinsmith.core.run_dir import RunDir, combined_sha256, read_json, tree_sha256s

_SHOWN_CHARACTERS = 160


def check_card(run: RunDir) -> list[str]:
    """Everything in a run folder that contradicts its card or its stamps; empty if nothing does.

    Reads only the folder and needs no browser, network or model.
    """
    problems: list[str] = []
    try:
        problems += [problem for stage in STAGES for problem in _changed_files(run, stage)]
        if any(problem.split(":")[0].endswith((".json", ".jsonl")) for problem in problems):
            return problems  # the checks below read these records and would report the same change again
        problems += [problem for stage in ("card", "app") for problem in _changed_files(run, stage)]
        for problem in _problems(run):
            problems.append(problem)  # one by one, so that an error loses none
    except ArtifactError as error:
        problems.append(error.message)
    return problems


def _problems(run: RunDir) -> Iterator[str]:
    card = run.stage("card")
    missing = [name for name in ("README.md", "card.json", "snippets.json") if not (card / name).is_file()]
    if missing:
        yield from (f"card/{name}: missing" for name in missing)
        return
    yield from (f"card/card.json: {problem}" for problem in schema_problems((card / "card.json").read_bytes()))
    log_bytes = _log_bytes(card / "card.json")
    evidence = read_evidence(run, log_bytes)
    yield from _changed_inputs(evidence)
    yield from wrong_numbers(evidence)
    yield from wrong_judgements(evidence)
    yield from _changed_card(evidence, card)


def _changed_files(run: RunDir, stage: str) -> Iterator[str]:
    """Files of a finished stage that are missing, added or changed since its stamp."""
    if not run.stamp(stage).exists():
        return
    recorded = read_json(run.stamp(stage)).get("outputs", {})
    current = tree_sha256s(run.stage(stage))
    for path in sorted(recorded.keys() | current.keys()):
        if path not in current:
            yield f"{stage}/{path}: missing, but listed in stamps/{stage}.json"
        elif path not in recorded:
            yield f"{stage}/{path}: not listed in stamps/{stage}.json"
        elif recorded[path] != current[path]:
            before, now = recorded[path][:12], current[path][:12]
            yield f"{stage}/{path}: changed since the {stage} stage (sha256 was {before}, is {now})"


def _changed_inputs(evidence: Evidence) -> Iterator[str]:
    """Measurements whose inputs an earlier stage has since changed."""
    reported = set()
    for m in evidence.measurements.values():
        for path, recorded in m.inputs.items():
            stage, _, rest = path.partition("/")
            if stage not in evidence.stamps or (m.stage, path, recorded) in reported:
                continue  # files from outside the run folder have no stamp to compare with
            reported.add((m.stage, path, recorded))
            outputs = evidence.stamps[stage]["outputs"]
            current = outputs.get(rest) if rest else combined_sha256(outputs)
            if current != recorded:
                now = f"the sha256 {current[:12]}" if current else "no such file"
                yield (
                    f"{m.stage}: measured {path} with sha256 {recorded[:12]}, but stamps/{stage}.json has {now}; "
                    f"run again: tinsmith run --from {m.stage}"
                )


def _changed_card(evidence: Evidence, card: Path) -> Iterator[str]:
    """Differences from a newly rendered card: each file's first changed line, snippet code and snippet times."""
    config, name = evidence.config.card, evidence.config.name
    runs = [_snippet_run(item) for item in read_json(card / "snippets.json")]
    codes = {snippet.form: snippet.code for snippet in snippets(evidence, config, name)}
    for run in runs:
        if codes.get(run.form) != run.code:
            yield f"card/snippets.json: the {run.form} code that ran is not the code a new card would print"
    for file, expected in card_files(evidence, config, name, {run.form: run for run in runs}).items():
        current = (card / file).read_bytes() if (card / file).is_file() else b""
        yield from _first_difference(f"card/{file}", current, expected)
    seconds = {f"card.snippet.{run.form}.seconds": run.elapsed_seconds for run in runs}
    for m in _own_measurements(evidence.run):
        if m.value != seconds.get(m.id):
            yield f"measurements.jsonl: {m.id} is {m.value!r}, but card/snippets.json says {seconds.get(m.id)!r}"


def _own_measurements(run: RunDir) -> list[Measurement]:
    """The card stage's measurements, which were appended to the log after the card was rendered."""
    if not run.stamp("card").exists():
        return []
    fingerprint = read_json(run.stamp("card")).get("fingerprint")
    newest = {m.id: m for m in measure.read(run.measurements) if (m.stage, m.fingerprint) == ("card", fingerprint)}
    return list(newest.values())


def _first_difference(file: str, current: bytes, expected: bytes) -> Iterator[str]:
    if current == expected:
        return
    page_lines, run_lines = current.decode(errors="replace").split("\n"), expected.decode().split("\n")
    pairs = zip_longest(page_lines, run_lines, fillvalue="(end of file)")
    different = ((number, *pair) for number, pair in enumerate(pairs, start=1) if pair[0] != pair[1])
    # Bytes that are not UTF-8 can differ in lines that look the same.
    number, says, should_say = next(different, (1, page_lines[0], run_lines[0]))
    yield f"{file}:{number}: says {says[:_SHOWN_CHARACTERS]!r}, the run says {should_say[:_SHOWN_CHARACTERS]!r}"


def _snippet_run(record: dict[str, Any]) -> SnippetRun:
    try:
        return SnippetRun(**record)
    except TypeError as error:
        raise ArtifactError(f"card/snippets.json: not a record of runs ({error})", "Run: tinsmith card RUN") from error


def _log_bytes(path: Path) -> int:
    log = read_json(path).get("measurement_log")
    if not isinstance(log, dict) or not isinstance(log.get("bytes"), int):
        raise ArtifactError(f"{path}: no 'measurement_log'", "Run: tinsmith card RUN")
    return log["bytes"]
