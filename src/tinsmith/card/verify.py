"""Does the card still say what was measured? Every file, number and printed digit is compared with its source."""

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tinsmith.card.evidence import STAGES, Evidence, read_evidence, required
from tinsmith.card.render import render
from tinsmith.card.snippet import SnippetRun, snippets
from tinsmith.core import measure
from tinsmith.core.config import CardConfig
from tinsmith.core.errors import ArtifactError
from tinsmith.core.measure import Measurement
from tinsmith.core.run_dir import RunDir, combined_sha256, read_json, tree_sha256s
from tinsmith.model.package_format import MEASURED_GRAPHS

_RELATIVE_TOLERANCE = 1e-9  # only the order of a float64 sum may differ
_SHOWN_CHARACTERS = 160


def check_card(run: RunDir) -> list[str]:
    """Everything that does not fit together in a run folder with a card; empty if all of it does.

    Needs nothing but the folder: no browser, no network, no model.
    """
    problems: list[str] = []
    try:
        problems += [problem for stage in STAGES for problem in _changed_files(run, stage)]
        if any(problem.split(":")[0].endswith((".json", ".jsonl")) for problem in problems):
            return problems  # what follows reads these records; a changed one can only repeat the same finding
        problems += [problem for stage in ("card", "app") for problem in _changed_files(run, stage)]
        for problem in _problems(run):
            problems.append(problem)
    except ArtifactError as error:
        problems.append(error.message)
    return problems


def _problems(run: RunDir) -> Iterator[str]:
    card = run.stage("card")
    missing = [name for name in ("README.md", "card.json", "snippets.json") if not (card / name).is_file()]
    if missing:
        yield from (f"card/{name}: missing" for name in missing)
        return
    log_bytes = _log_bytes(card / "card.json")
    evidence = read_evidence(run, log_bytes)
    yield from _changed_inputs(evidence)
    yield from _wrong_sums(evidence)
    yield from _changed_card(evidence, card)


def _changed_files(run: RunDir, stage: str) -> Iterator[str]:
    """Files of a finished stage that are not the ones its stamp lists."""
    if not run.stamp(stage).exists():
        return
    recorded = read_json(run.stamp(stage)).get("outputs", {})
    found = tree_sha256s(run.stage(stage))
    for path in sorted(recorded.keys() | found.keys()):
        if path not in found:
            yield f"{stage}/{path}: missing, but listed in stamps/{stage}.json"
        elif path not in recorded:
            yield f"{stage}/{path}: not listed in stamps/{stage}.json"
        elif recorded[path] != found[path]:
            yield f"{stage}/{path}: changed since the {stage} stage (sha256 {found[path][:12]}, was {recorded[path][:12]})"


def _changed_inputs(evidence: Evidence) -> Iterator[str]:
    """Measurements of something else than what the earlier stages left in the folder."""
    seen = set()
    for m in evidence.measurements.values():
        for path, recorded in m.inputs.items():
            stage, _, rest = path.partition("/")
            if stage not in evidence.stamps or (m.stage, path, recorded) in seen:
                continue  # data from outside the run folder has no stamp to compare with
            seen.add((m.stage, path, recorded))
            outputs = evidence.stamps[stage]["outputs"]
            current = outputs.get(rest) if rest else combined_sha256(outputs)
            if current != recorded:
                yield (
                    f"{m.stage}: measured {path} with sha256 {recorded[:12]}, stamps/{stage}.json has "
                    f"{current[:12] if current else 'no such file'}; run again: tinsmith run --from {m.stage}"
                )


def _wrong_sums(evidence: Evidence) -> Iterator[str]:
    """Losses, perplexities, bits per byte and ratios that do not follow from the sums kept for each conversation."""
    derived = {}
    for path in evidence.stamps.get("evaluate", {}).get("outputs", {}):
        parts = path.removeprefix("nll/").removesuffix(".jsonl").split(".")
        if not path.startswith("nll/") or len(parts) != 2:
            continue
        split, model = parts
        lines = evidence.lines("evaluate", path)
        nll, tokens, size_bytes = (
            math.fsum(required(line, key, f"evaluate/{path}") for line in lines) for key in ("nll", "tokens", "bytes")
        )
        derived[f"evaluate.loss.{split}.{model}"] = nll / tokens
        derived[f"evaluate.perplexity.{split}.{model}"] = math.exp(nll / tokens)
        derived[f"evaluate.bits_per_byte.{split}.{model}"] = nll / math.log(2) / size_bytes
    for split in ("train", "val", "test"):
        for over, under in (("tuned", "base"), *((model, "tuned") for model in MEASURED_GRAPHS)):
            above, below = (derived.get(f"evaluate.perplexity.{split}.{model}") for model in (over, under))
            if above and below:
                derived[f"evaluate.ratio.{split}.{over}_over_{under}"] = above / below
    for id, value in derived.items():
        m = evidence.measurements.get(id)
        if m is not None and not math.isclose(m.value, value, rel_tol=_RELATIVE_TOLERANCE):
            yield f"{id}: recorded {m.value!r}, but the sums in evaluate/nll give {value!r}"


def _changed_card(evidence: Evidence, card: Path) -> Iterator[str]:
    """The first line of README.md and card.json that a new rendering would print otherwise."""
    config, name = _author(evidence.run)
    runs = [_snippet_run(item) for item in read_json(card / "snippets.json")]
    printed = {snippet.form: snippet.code for snippet in snippets(evidence, config, name)}
    for found in runs:
        if printed.get(found.form) != found.code:
            yield f"card/snippets.json: the {found.form} code that ran is not the code a new card would print"
    page, tree = render(evidence, config, name, {found.form: found for found in runs})
    for file, expected in (("README.md", page), ("card.json", tree)):
        yield from _first_difference(f"card/{file}", (card / file).read_bytes(), expected.encode())
    seconds = {f"card.snippet.{found.form}.seconds": found.elapsed_seconds for found in runs}
    for m in _own_measurements(evidence.run):
        if m.value != seconds.get(m.id):
            yield f"measurements.jsonl: {m.id} is {m.value!r}, card/snippets.json says {seconds.get(m.id)!r}"


def _own_measurements(run: RunDir) -> list[Measurement]:
    """What the card stage measured when it wrote this card; appended after the part of the log that the card names."""
    if not run.stamp("card").exists():
        return []
    fingerprint = read_json(run.stamp("card")).get("fingerprint")
    newest = {m.id: m for m in measure.read(run.measurements) if (m.stage, m.fingerprint) == ("card", fingerprint)}
    return list(newest.values())


def _first_difference(file: str, found: bytes, expected: bytes) -> Iterator[str]:
    if found == expected:
        return
    left, right = found.decode(errors="replace").split("\n"), expected.decode().split("\n")
    count = max(len(left), len(right))
    left, right = (lines + ["(end of file)"] * (count - len(lines)) for lines in (left, right))
    number = next((i for i in range(count) if left[i] != right[i]), 0)
    yield (
        f"{file}:{number + 1}: says {left[number][:_SHOWN_CHARACTERS]!r}, "
        f"the run says {right[number][:_SHOWN_CHARACTERS]!r}"
    )


def _author(run: RunDir) -> tuple[CardConfig, str]:
    """The author's words and the run's name, from the run's own configuration."""
    tree = read_json(run.config) if run.config.exists() else {}
    return CardConfig(**tree.get("card", {})), tree.get("name", run.root.name)


def _snippet_run(item: dict[str, Any]) -> SnippetRun:
    try:
        return SnippetRun(**item)
    except TypeError as error:
        raise ArtifactError(f"card/snippets.json: not a record of runs ({error})", "Run: tinsmith card RUN") from error


def _log_bytes(path: Path) -> int:
    log = read_json(path).get("measurement_log")
    if not isinstance(log, dict) or not isinstance(log.get("bytes"), int):
        raise ArtifactError(f"{path}: no 'measurement_log'", "Run: tinsmith card RUN")
    return log["bytes"]
