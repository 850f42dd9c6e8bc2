"""Brings a run up to date, and knows everything about running stages that no stage should know.

A stage is skipped when its stamp carries the same fingerprint and its files are still what the stamp says. Its output
is written to `.work/<stage>-<fingerprint>` and renamed when complete; the stamp is written last. Kill it anywhere:
nothing half-written counts as done.
"""

import errno
import os
import shutil
import sys
import time
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tinsmith.core import measure
from tinsmith.core.code_version import code_version
from tinsmith.core.config import RunConfig
from tinsmith.core.errors import ArtifactError, GateError, UserError
from tinsmith.core.measure import Measurement, current_measurements
from tinsmith.core.provenance import record_environment
from tinsmith.core.run_dir import RunDir, combined_sha256, read_json, tree_sha256s, write_json
from tinsmith.core.stage_context import Say, StageContext
from tinsmith.pipeline.stages import STAGE_NAMES, STAGES, Stage


def run_pipeline(
    config: RunConfig, run: RunDir, say: Say, first: str = "base", last: str = "app", force: bool = False
) -> list[Measurement]:
    """Bring the run up to date from stage `first` to stage `last`, and return its current measurements.

    Args:
        say: Called with one line at a time for the person watching.
        force: Run these stages even if they are up to date.

    Raises:
        UserError: a stage could not do its work; earlier results stay as they were.
    """
    selected = STAGES[STAGE_NAMES.index(first) : STAGE_NAMES.index(last) + 1]
    if not selected:
        raise UserError(f"--from {first} comes after --to {last}", f"The order is: {' '.join(STAGE_NAMES)}")
    with _lock(run), _disk_errors(run):
        _verify_outside(run, selected)
        write_json(run.config, _public(config))
        environment = record_environment(run.environments)
        for number, stage in enumerate(selected, start=1):
            heading = f"[{number}/{len(selected)}] {stage.title}"
            inputs = _input_hashes(run, stage)
            fingerprint = _fingerprint(config, run, stage, inputs)
            if not force and _is_current(run, stage, fingerprint):
                say(f"{heading}: up to date")
                continue
            say(heading)
            _run_stage(config, run, stage, fingerprint, inputs, environment, say)
    return current_measurements(run)


def _fingerprint(config: RunConfig, run: RunDir, stage: Stage, inputs: dict[str, str]) -> str:
    """sha256 of everything that decides what the stage writes."""
    parts = {
        "settings": stage.settings(config),
        "outside": stage.outside(config, run),
        "inputs": inputs,
        "code": code_version(stage.module),
    }
    return combined_sha256(parts)


def _run_stage(
    config: RunConfig, run: RunDir, stage: Stage, fingerprint: str, inputs: dict, environment: str, say: Say
) -> None:
    started = datetime.now(UTC)
    clock = time.monotonic()
    work_dir = _work_dir(run, stage, fingerprint)

    context = StageContext(config.seed, lambda line: say(f"    {line}"))

    def measurements() -> list[Measurement]:
        source = {"stage": stage.name, "fingerprint": fingerprint, "inputs": inputs, "environment": environment}
        return [replace(m, **source) for m in context.recorder.measurements]

    try:
        summary = stage.run(config, run, work_dir, context)
    except GateError:
        measure.append(run.root / "failed_gates.jsonl", measurements())
        raise
    target = run.stage(stage.name)
    run.stamp(stage.name).unlink(missing_ok=True)
    if target.exists():
        shutil.rmtree(target)
    os.replace(work_dir, target)
    measure.append(run.measurements, measurements())
    write_json(
        run.stamp(stage.name),
        {
            "stage": stage.name,
            "fingerprint": fingerprint,
            "started_at": started.isoformat(timespec="seconds"),
            "finished_at": datetime.now(UTC).isoformat(timespec="seconds"),
            "elapsed_seconds": round(time.monotonic() - clock, 3),
            "environment": environment,
            "inputs": inputs,
            "outputs": tree_sha256s(target),
        },
    )
    for line in summary:
        context.say(line)
    context.say(f"done in {time.monotonic() - clock:.0f} s")


def _work_dir(run: RunDir, stage: Stage, fingerprint: str) -> Path:
    """The stage's unfinished output: kept if it can resume from it, else made anew; others' leftovers are removed."""
    work_dir = run.work / f"{stage.name}-{fingerprint[:16]}"
    if run.work.exists():
        for other in run.work.glob(f"{stage.name}-*"):
            if other != work_dir or not stage.resumes:
                shutil.rmtree(other)
    work_dir.mkdir(parents=True, exist_ok=True)
    return work_dir


def _is_current(run: RunDir, stage: Stage, fingerprint: str) -> bool:
    stamp_path = run.stamp(stage.name)
    if not stamp_path.exists():
        return False
    stamp = read_json(stamp_path)
    folder = run.stage(stage.name)
    return stamp["fingerprint"] == fingerprint and folder.is_dir() and tree_sha256s(folder) == stamp["outputs"]


def _input_hashes(run: RunDir, stage: Stage) -> dict[str, str]:
    """Run-relative path -> sha256 of every file of the stages it reads, from their stamps.

    Raises:
        ArtifactError: such a stage has not run, or its files changed since.
    """
    hashes = {}
    for name in stage.reads:
        if not run.stamp(name).exists():
            raise ArtifactError(f"stage {stage.name!r} needs {name!r}, which has not run", f"Use --from {name}")
        for path, digest in read_json(run.stamp(name))["outputs"].items():
            hashes[f"{name}/{path}"] = digest
    return hashes


def _verify_outside(run: RunDir, selected: tuple[Stage, ...]) -> None:
    """Stages that are read but not run this time must still be what their stamps say."""
    names = {stage.name for stage in selected}
    for name in {name for stage in selected for name in stage.reads} - names:
        stamp = run.stamp(name)
        if stamp.exists() and tree_sha256s(run.stage(name)) != read_json(stamp)["outputs"]:
            raise ArtifactError(
                f"{run.stage(name)}: files changed since the stage {name!r} wrote them",
                f"Run it again with --from {name}",
            )


def _public(config: RunConfig) -> dict[str, Any]:
    """The configuration as kept in the run folder: paths outside it shortened to their last part."""
    values = config.model_dump(mode="json")
    for section, key in (("data", "path"), ("base", "model"), ("base", "tokenizer")):
        if Path(values[section][key]).is_absolute():
            values[section][key] = Path(values[section][key]).name
    return values


@contextmanager
def _lock(run: RunDir) -> Generator[None]:
    """Only one process works in a run folder; the lock goes with the process, however it ends."""
    run.root.mkdir(parents=True, exist_ok=True)
    with (run.root / ".lock").open("w") as file:
        if sys.platform != "win32":
            import fcntl

            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise UserError(
                    f"{run.root}: another tinsmith is working in this run folder",
                    "Wait for it, or choose another name.",
                ) from None
        yield


@contextmanager
def _disk_errors(run: RunDir) -> Generator[None]:
    """Turn a full or read-only disk into a message; what was finished before stays."""
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES):
            raise
        raise UserError(
            f"{error.filename or run.root}: {error.strerror}",
            "Free some space (or choose another --runs folder) and run the same command again; "
            "finished stages are kept.",
        ) from error
