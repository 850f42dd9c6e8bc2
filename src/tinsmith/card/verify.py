"""Verify that a card still matches its run: every file, every number, every printed digit."""

from collections.abc import Collection, Iterable, Iterator, Mapping
from itertools import zip_longest
from pathlib import Path
from typing import Any

from tinsmith.card.evidence import STAGES, Evidence, read_evidence
from tinsmith.card.files import card_files
from tinsmith.card.pictures import COPIED_PICTURES
from tinsmith.card.schema import schema_problems
from tinsmith.card.snippet import snippets
from tinsmith.card.snippet_run import SnippetRun
from tinsmith.card.verify_answers import wrong_judgements
from tinsmith.card.verify_numbers import wrong_numbers
from tinsmith.card.verify_raw import wrong_raw_files
from tinsmith.card.verify_site import changed_copies
from tinsmith.core.errors import ArtifactError
from tinsmith.core.measure import Measurement, current_measurements
from tinsmith.core.run_dir import RunDir, combined_sha256, file_sha256, read_json, tree_sha256s
from tinsmith.derive.files import Files

_SHOWN_CHARACTERS = 160
_SITE = ("card", "app")
_HASHED = ("inputs", "outputs")
"""Keys of a stamp whose hashes are in every measurement of its stage."""


def check_card(run: RunDir) -> list[str]:
    """Everything in a run folder that contradicts its card or its stamps; empty if nothing does.

    Reads only the folder and needs no browser, network or model.
    """
    return list(run_problems(run))


def run_problems(run: RunDir) -> Iterator[str]:
    """The same, one by one, the quickest checks first."""
    try:
        problems = [problem for stage in STAGES for problem in _changed_files(run, stage)]
        yield from problems
        if any(problem.split(":")[0].endswith((".json", ".jsonl")) for problem in problems):
            return  # the checks below read these records and would report the same change again
        yield from (problem for stage in _SITE for problem in _changed_files(run, stage))
        yield from card_problems(run, run.stage("card"))
        yield from _wrong_site(run)
    except ArtifactError as error:
        yield error.message


def _wrong_site(run: RunDir) -> Iterator[str]:
    """Wrong numbers of the card and app stages, which the card does not show, and copies that differ from the card."""
    stamps = {stage: read_json(run.stamp(stage)) for stage in (*STAGES, *_SITE) if run.stamp(stage).exists()}
    measurements = {m.id: m for m in current_measurements(run) if m.stage in stamps}
    yield from changed_stamps(stamps, measurements.values())
    files = Files(run.stage, read_evidence(run).config.seed)
    yield from wrong_numbers(measurements, [stage for stage in _SITE if stage in stamps], files)
    if "app" in stamps:
        yield from changed_copies(run.stage("card"), run.stage("app"))


def card_problems(run: RunDir, card: Path, left_out: Collection[str] = ()) -> Iterator[str]:
    """What contradicts the evidence in a run folder: its numbers, and every file of a card.

    Args:
        run: The run folder, or the evidence that ships beside a card.
        card: The folder with the card's files.
        left_out: Raw files that the folder lacks.
    """
    missing = [name for name in ("README.md", "card.json", "snippets.json") if not (card / name).is_file()]
    if missing:
        yield from (f"card/{name}: missing" for name in missing)
        return
    yield from (f"card/card.json: {problem}" for problem in schema_problems((card / "card.json").read_bytes()))
    evidence = read_evidence(run, _log_bytes(card / "card.json"))
    files = Files(run.stage, evidence.config.seed)
    yield from changed_stamps(evidence.stamps, evidence.measurements.values())
    yield from wrong_numbers(evidence.measurements, evidence.stamps, files, left_out)
    if not left_out:
        yield from wrong_raw_files(run, files)
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


def changed_stamps(stamps: Mapping[str, Any], measurements: Iterable[Measurement]) -> Iterator[str]:
    """Stages whose inputs an earlier stage has since changed, or whose stamp is not the one they were measured under.

    Args:
        stamps: By stage.
        measurements: Of these stages.
    """
    hashes = {
        stage: {kind: combined_sha256(stamp.get(kind, {})) for kind in _HASHED} for stage, stamp in stamps.items()
    }
    for stage, stamp in stamps.items():
        for path, recorded in stamp.get("inputs", {}).items():
            earlier, _, rest = path.partition("/")
            current = stamps[earlier]["outputs"].get(rest) if earlier in stamps else recorded
            if current != recorded:
                now = f"the sha256 {current[:12]}" if current else "no such file"
                yield (
                    f"{stage}: measured {path} with sha256 {recorded[:12]}, but stamps/{earlier}.json has {now}; "
                    f"run again: tinsmith run --from {stage}"
                )
    of_other_files = {
        (m.stage, kind) for m in measurements for kind in _HASHED if getattr(m, kind) != hashes[m.stage][kind]
    }
    for stage, kind in sorted(of_other_files):
        yield f"measurements.jsonl: {stage} was measured with other {kind} than stamps/{stage}.json lists"


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
    for picture, path in COPIED_PICTURES.items():
        recorded = evidence.sha256(path)
        if recorded and (not (card / picture).is_file() or file_sha256(card / picture) != recorded):
            yield f"card/{picture}: not the run's {path}"


def _first_difference(file: str, current: bytes, expected: bytes) -> Iterator[str]:
    if current == expected:
        return
    if file.endswith(".png"):
        yield f"{file}: drawn from other numbers than the run's, or by another version of matplotlib"
        return
    page_lines, run_lines = current.decode(errors="replace").split("\n"), expected.decode(errors="replace").split("\n")
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
