"""Bring a run up to date: fingerprints, stamps, locks and crash safety, so that stages need none of them.

A stage is skipped when its stamp has the same fingerprint and its files still match the stamp. Its output is written to
`.work/<stage>-<fingerprint>` and renamed into place when complete. A process killed at any point leaves nothing
half-written that counts as done.
"""

import os
import time
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tinsmith.core import measure
from tinsmith.core.code_version import code_version
from tinsmith.core.config import RunConfig
from tinsmith.core.disk_errors import disk_problem
from tinsmith.core.errors import ArtifactError, GateError, UserError
from tinsmith.core.measure import Measurement, current_measurements
from tinsmith.core.provenance import record_environment
from tinsmith.core.run_dir import (
    NO_FOLLOW,
    RunDir,
    combined_sha256,
    entries,
    files_below,
    is_unfinished,
    read_stamp,
    sync_tree,
    tree_sha256s,
    write_json,
)
from tinsmith.core.stage_context import Say, StageContext
from tinsmith.pipeline.free_space import require_space
from tinsmith.pipeline.ownership import (
    LOCK,
    check_run_folder,
    check_stage_folder,
    mark_run,
    remove,
    remove_unfinished,
    replace_stage_folder,
)
from tinsmith.pipeline.stages import STAGE_NAMES, STAGES, Stage


def run_pipeline(
    config: RunConfig,
    run: RunDir,
    say: Say,
    first: str = "base",
    last: str = "app",
    force: bool = False,
    configuration: str | None = None,
    adopt: bool = False,
) -> list[Measurement]:
    """Bring the run up to date from stage `first` to stage `last`, and return its current measurements.

    Args:
        config: The run's configuration.
        run: The run folder, created if it is missing.
        say: Shows the user one line of progress.
        first: Name of the first stage.
        last: Name of the last stage.
        force: Run these stages even if they are up to date.
        configuration: The `configuration_id` to record in a new run; an existing run must have the same one. None
            accepts an existing run of any configuration.
        adopt: Assign an existing run to `configuration`.

    Raises:
        UserError: a stage failed; earlier results are unchanged.
    """
    selected = STAGES[STAGE_NAMES.index(first) : STAGE_NAMES.index(last) + 1]
    if not selected:
        raise UserError(f"--from {first} comes after --to {last}", f"The order is: {' '.join(STAGE_NAMES)}")
    with _explained_disk_errors(run), _owned(run, configuration, adopt):
        for stage in selected:
            check_stage_folder(run, stage.name)
        _check_inputs_lie_outside(config, run)
        _verify_unselected(run, selected)
        for path in (run.measurements, run.failed_gates):
            if message := measure.repair(path):
                say(message)
        write_json(run.config, _public(config))
        environment = record_environment(run.environments)
        for number, stage in enumerate(selected, start=1):
            heading = f"[{number}/{len(selected)}] {stage.title}"
            inputs = _input_sha256s(run, stage)
            fingerprint = _fingerprint(config, run, stage, inputs)
            has_output = is_intact(run, stage.name)
            _drop_unfinished(run, stage.name, has_output)
            if not force and has_output and _is_current(run, stage, fingerprint):
                say(f"{heading}: up to date")
                continue
            say(heading)
            _run_stage(config, run, stage, _Origin(stage.name, fingerprint, inputs, environment), say)
        return current_measurements(run)


@dataclass(frozen=True, slots=True)
class _Origin:
    """Provenance that a stage's stamp and each of its measurements record."""

    stage: str
    fingerprint: str
    inputs: dict[str, str]
    environment: str

    def as_dict(self) -> dict[str, Any]:
        return {
            "stage": self.stage,
            "fingerprint": self.fingerprint,
            "inputs": self.inputs,
            "environment": self.environment,
        }


def _run_stage(config: RunConfig, run: RunDir, stage: Stage, origin: _Origin, say: Say) -> None:
    """Run one stage and put its output in place.

    Everything the stage wrote is flushed first, however it was written. Measurements and stamp are written before the
    output moves. So a stage's folder always has a stamp, by which tinsmith recognizes its own folders, and a full disk
    destroys no earlier result.
    """
    started = datetime.now(UTC)
    started_seconds = time.monotonic()
    work_dir = _work_dir(run, stage, origin.fingerprint)
    require_space(config, run, stage.name)
    context = StageContext(config.seed, lambda line: say(f"    {line}"))

    def stamped_measurements(outputs: dict[str, str]) -> list[Measurement]:
        hashes = {"inputs": combined_sha256(origin.inputs), "outputs": combined_sha256(outputs)}
        return [replace(m, **origin.as_dict() | hashes) for m in context.recorder.measurements]

    try:
        summary = stage.run(config, run, work_dir, context)
    except GateError:
        measure.append(run.failed_gates, stamped_measurements({}))
        raise
    outputs = tree_sha256s(work_dir)
    stamp = {
        **origin.as_dict(),
        "started_at": started.isoformat(timespec="seconds"),
        "finished_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "elapsed_seconds": round(time.monotonic() - started_seconds, 3),
        "measurements": len(context.recorder.measurements),
        "outputs": outputs,
    }
    check_stage_folder(run, stage.name)
    sync_tree(work_dir)
    measure.append(run.measurements, stamped_measurements(outputs))
    write_json(run.stamp(stage.name), stamp)
    replace_stage_folder(run, stage.name, work_dir)
    for line in summary:
        context.say(line)
    context.say(f"done in {time.monotonic() - started_seconds:.0f} s")


CHECKPOINTS = "checkpoints"
"""All that an interrupted stage continues from, in the folder it writes to."""


def _work_dir(run: RunDir, stage: Stage, fingerprint: str) -> Path:
    """Folder for the stage's output: its own unfinished one if the stage can resume, else empty. Removes all others."""
    work_dir = run.work / f"{stage.name}-{fingerprint[:16]}"
    for leftover in entries(run.work, f"{stage.name}-*"):
        if leftover != work_dir or leftover.is_symlink() or not stage.resumes:
            remove(leftover)
    work_dir.mkdir(parents=True, exist_ok=True)
    for path in list(work_dir.iterdir()):
        if path.name != CHECKPOINTS:  # the rest may hold a library's unfinished files
            remove(path)
    for path in filter(is_unfinished, files_below(work_dir)):
        path.unlink()
    return work_dir


def _fingerprint(config: RunConfig, run: RunDir, stage: Stage, inputs: dict[str, str]) -> str:
    """sha256 of everything that decides what the stage writes."""
    parts = {
        "settings": stage.settings(config),
        "outside": stage.outside(config, run),
        "inputs": inputs,
        "code": code_version(stage.module),
    }
    return combined_sha256(parts)


def _is_current(run: RunDir, stage: Stage, fingerprint: str) -> bool:
    """Whether a stage whose files are intact has run with this fingerprint, and its measurements are complete."""
    stamp = read_stamp(run.stamp(stage.name))
    if stamp["fingerprint"] != fingerprint:
        return False
    recorded = sum((m.stage, m.fingerprint) == (stage.name, fingerprint) for m in measure.read(run.measurements))
    return recorded >= stamp["measurements"]


def _drop_unfinished(run: RunDir, stage: str, has_output: bool) -> None:
    """Remove the last measurements if they are of an output of `stage` that a killed process did not put in place.

    A card records how long the file was, so these lines would make another card of the same run.
    """
    outputs = combined_sha256(read_stamp(run.stamp(stage))["outputs"]) if has_output else None
    measure.drop_last(run.measurements, lambda m: m.stage == stage and m.outputs != outputs)


def is_intact(run: RunDir, stage: str) -> bool:
    """Whether the stage has finished, and every file in its folder is still as it wrote it."""
    stamp, folder = run.stamp(stage), run.stage(stage)
    return stamp.exists() and folder.is_dir() and tree_sha256s(folder) == read_stamp(stamp)["outputs"]


def _input_sha256s(run: RunDir, stage: Stage) -> dict[str, str]:
    """Run-relative path -> sha256 of every file of the stages that `stage` reads, from their stamps.

    Raises:
        ArtifactError: one of them has not run.
    """
    sha256s = {}
    for name in stage.reads:
        if not run.stamp(name).exists():
            raise ArtifactError(f"stage {stage.name!r} needs {name!r}, which has not run", f"Use --from {name}")
        for path, sha256 in read_stamp(run.stamp(name))["outputs"].items():
            sha256s[f"{name}/{path}"] = sha256
    return sha256s


def _verify_unselected(run: RunDir, selected: tuple[Stage, ...]) -> None:
    """Stop if the files of a stage that is read, but not run this time, no longer match its stamp."""
    names = {stage.name for stage in selected}
    for name in {name for stage in selected for name in stage.reads} - names:
        stamp = run.stamp(name)
        if stamp.exists() and tree_sha256s(run.stage(name)) != read_stamp(stamp)["outputs"]:
            raise ArtifactError(
                f"{run.stage(name)}: files changed since the stage {name!r} wrote them",
                f"Run it again with --from {name}",
            )


def _check_inputs_lie_outside(config: RunConfig, run: RunDir) -> None:
    """Stop if an input lies in the run folder, where stages would replace it, or the run folder lies in an input."""
    data, base = config.data, config.base
    paths = {
        "data.path": data.path,
        "data.documents": data.documents,
        "answers.questions": config.answers.questions,
        "answers.wordings": config.answers.wordings,
        "answers.encoder": config.answers.encoder,
        "base.model": base.model,
        "base.tokenizer": base.tokenizer,
    }
    root = run.root.resolve()
    for key, text in paths.items():
        path = Path(text)
        if not path.is_absolute():
            continue
        if path.resolve().is_relative_to(root):
            raise UserError(
                f"{key}: {path} lies in the run folder {run.root}, whose files the stages replace",
                "Move it elsewhere and change the configuration.",
            )
        if path.is_dir() and root.is_relative_to(path.resolve()):
            raise UserError(
                f"{key}: the folder {path} contains the run folder {run.root}, whose files would be read as input",
                "Choose a folder that contains nothing else, or another --runs folder.",
            )


_PATH_KEYS = (
    ("data", "path"),
    ("data", "documents"),
    ("answers", "questions"),
    ("answers", "wordings"),
    ("answers", "encoder"),
    ("base", "model"),
    ("base", "tokenizer"),
)


def _public(config: RunConfig) -> dict[str, Any]:
    """The configuration as saved in the run folder: paths outside it are shortened to their last part."""
    values = config.model_dump(mode="json")
    for section, key in _PATH_KEYS:
        if Path(values[section][key]).is_absolute():
            values[section][key] = Path(values[section][key]).name
    return values


@contextmanager
def _owned(run: RunDir, configuration: str | None, adopt: bool) -> Generator[None]:
    """Check the run folder, lock out other processes, and mark the folder as `configuration`'s.

    The system releases the lock when the process ends, even if it is killed.
    """
    required = None if adopt else configuration
    check_run_folder(run, required)
    run.root.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(run.root / LOCK, os.O_RDWR | os.O_CREAT | NO_FOLLOW, 0o666)
    with os.fdopen(descriptor, "w") as file:
        if os.name == "posix":
            import fcntl

            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise UserError(
                    f"{run.root}: another tinsmith is working in this run folder",
                    "Wait for it, or choose another name.",
                ) from None
        check_run_folder(run, required)  # another process may have claimed the folder meanwhile
        remove_unfinished(run)
        mark_run(run, configuration)
        yield


@contextmanager
def _explained_disk_errors(run: RunDir) -> Generator[None]:
    """Turn a full, failing or read-only disk into a message, whatever exception a library or stage raises for it."""
    try:
        yield
    except Exception as error:
        problem = disk_problem(error.__cause__ if isinstance(error, UserError) else error)
        if not problem:
            raise
        message = error.message if isinstance(error, UserError) else ""
        if (problem.where or str(run.root)) not in message:  # it is about something else, such as a damaged model
            message = f"{run.root}: the run stopped: {problem.text}"
        raise UserError(
            message if problem.reason in message else f"{message}: {problem.reason}",
            f"{problem.hint} Then run the same command again: finished stages are kept.",
        ) from error
