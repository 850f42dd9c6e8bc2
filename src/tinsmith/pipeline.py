"""The order of the stages, and everything about running them that no stage should know.

A stage is skipped when its stamp carries the same fingerprint and its files are still what the stamp says. Its output
is written to `.work/<stage>-<fingerprint>` and renamed when complete; the stamp is written last. Kill it anywhere:
nothing half-written counts as done.
"""

import os
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tinsmith.core import measure
from tinsmith.core.code_version import code_version
from tinsmith.core.config import RunConfig
from tinsmith.core.errors import ArtifactError, GateError, UserError
from tinsmith.core.measure import Measurement, StageResult
from tinsmith.core.provenance import record_environment
from tinsmith.core.run_dir import RunDir, combined_sha256, file_sha256, read_json, tree_sha256s, write_json

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Stage:
    """One row of the pipeline."""

    name: str
    """Also its folder in the run and, where it has one, its section of the configuration."""
    title: str
    module: str
    """Module with the stage's function; its imports are part of the fingerprint."""
    reads: tuple[str, ...]
    """Earlier stages whose output it reads."""
    run: Callable[[RunConfig, RunDir, Path], StageResult]
    """`(config, run, out_dir)`; hands the stage its own section and explicit paths."""
    settings: Callable[[RunConfig], Any]
    """The part of the configuration that changes the result."""
    resumes: bool = False
    """Whether it continues from its own unfinished output after a kill."""


def _base(config: RunConfig, run: RunDir, out_dir: Path) -> StageResult:
    from tinsmith.base.stage import resolve_base

    return resolve_base(config.base, out_dir)


def _data(config: RunConfig, run: RunDir, out_dir: Path) -> StageResult:
    from tinsmith.data.stage import prepare_data

    return prepare_data(config.data, run.stage("base"), out_dir, config.seed)


def _train(config: RunConfig, run: RunDir, out_dir: Path) -> StageResult:
    from tinsmith.train.stage import train_adapter

    return train_adapter(config.train, run.stage("base"), run.stage("data"), out_dir, config.seed)


def _merge(config: RunConfig, run: RunDir, out_dir: Path) -> StageResult:
    from tinsmith.merge import merge_adapter

    return merge_adapter(run.stage("base"), run.stage("data"), run.stage("train"), out_dir)


def _export(config: RunConfig, run: RunDir, out_dir: Path) -> StageResult:
    from tinsmith.export.stage import export_int4

    return export_int4(config.export, run.stage("data"), run.stage("merge"), out_dir, config.seed)


def _evaluate(config: RunConfig, run: RunDir, out_dir: Path) -> StageResult:
    from tinsmith.evaluate.stage import evaluate_models

    return evaluate_models(
        config.evaluate,
        run.stage("base"),
        run.stage("data"),
        run.stage("merge"),
        run.stage("export"),
        out_dir,
        config.seed,
    )


def _bench(config: RunConfig, run: RunDir, out_dir: Path) -> StageResult:
    from tinsmith.bench.stage import bench_browser

    return bench_browser(config.bench, run.stage("data"), run.stage("export"), out_dir)


def _remote(config: RunConfig, run: RunDir, out_dir: Path) -> StageResult:
    from tinsmith.bench.remote_stage import take_results

    return take_results(run.stage("export"), run.received, out_dir)


def _card(config: RunConfig, run: RunDir, out_dir: Path) -> StageResult:
    from tinsmith.card.stage import render_card

    return render_card(config.card, run, config.name, out_dir)


def _app(config: RunConfig, run: RunDir, out_dir: Path) -> StageResult:
    from tinsmith.app import build_app

    return build_app(
        run.stage("data"),
        run.stage("export"),
        run.stage("card"),
        out_dir,
        config.card.title or config.name,
        config.seed,
    )


def _section(name: str) -> Callable[[RunConfig], Any]:
    return lambda config: getattr(config, name).model_dump(mode="json")


def _with_seed(name: str) -> Callable[[RunConfig], Any]:
    return lambda config: {"seed": config.seed, **getattr(config, name).model_dump(mode="json")}


STAGES = (
    Stage("base", "Base model", "tinsmith.base.stage", (), _base, _section("base")),
    Stage("data", "Conversations", "tinsmith.data.stage", ("base",), _data, _with_seed("data")),
    Stage("train", "QLoRA fine-tuning", "tinsmith.train.stage", ("base", "data"), _train, _with_seed("train"), True),
    Stage("merge", "Merge", "tinsmith.merge", ("base", "data", "train"), _merge, lambda config: {}),
    Stage("export", "INT4 package", "tinsmith.export.stage", ("data", "merge"), _export, _with_seed("export")),
    Stage(
        "evaluate",
        "Evaluation",
        "tinsmith.evaluate.stage",
        ("base", "data", "merge", "export"),
        _evaluate,
        _with_seed("evaluate"),
    ),
    Stage("bench", "Browser benchmark", "tinsmith.bench.stage", ("data", "export"), _bench, _section("bench")),
    Stage("remote", "Other devices", "tinsmith.bench.remote_stage", ("export",), _remote, lambda config: {}),
    Stage(
        "card",
        "Model card",
        "tinsmith.card.stage",
        ("base", "data", "train", "merge", "export", "evaluate", "bench", "remote"),
        _card,
        lambda config: {"name": config.name, **config.card.model_dump(mode="json")},
    ),
    Stage(
        "app",
        "Chat page",
        "tinsmith.app",
        ("data", "export", "card"),
        _app,
        lambda config: {"seed": config.seed, "title": config.card.title or config.name},
    ),
)
STAGE_NAMES = tuple(stage.name for stage in STAGES)


def run_pipeline(
    config: RunConfig, run: RunDir, say: Say, first: str = "base", last: str = "app", force: bool = False
) -> list[Measurement]:
    """Bring the run up to date from stage `first` to stage `last`, and return its current measurements.

    Args:
        say: Called with one line at a time for the person watching.
        force: Run the chosen stages even if they are up to date.

    Raises:
        UserError: a stage could not do its work; earlier results stay as they were.
    """
    chosen = STAGES[STAGE_NAMES.index(first) : STAGE_NAMES.index(last) + 1]
    if not chosen:
        raise UserError(f"--from {first} comes after --to {last}", f"The order is: {' '.join(STAGE_NAMES)}")
    with _lock(run), _disk_errors(run):
        _verify_outside(run, chosen)
        write_json(run.config, _public(config))
        environment = record_environment(run.environments)
        for number, stage in enumerate(chosen, start=1):
            heading = f"[{number}/{len(chosen)}] {stage.title}"
            inputs = _input_hashes(run, stage)
            fingerprint = combined_sha256(
                {"settings": _settings(config, run, stage), "inputs": inputs, "code": code_version(stage.module)}
            )
            if not force and _is_current(run, stage, fingerprint):
                say(f"{heading}: up to date")
                continue
            say(heading)
            _run_stage(config, run, stage, fingerprint, inputs, environment, say)
    return current_measurements(run)


def current_measurements(run: RunDir) -> list[Measurement]:
    """Measurements of the stages as they stand now; lines of older runs of a stage are left out."""
    stamps = {name: read_json(run.stamp(name))["fingerprint"] for name in STAGE_NAMES if run.stamp(name).exists()}
    return [m for m in measure.read(run.measurements) if stamps.get(m.stage) == m.fingerprint]


def _run_stage(
    config: RunConfig, run: RunDir, stage: Stage, fingerprint: str, inputs: dict, environment: str, say: Say
) -> None:
    started = datetime.now(UTC)
    clock = time.monotonic()
    work_dir = _work_dir(run, stage, fingerprint)

    def stamped(measurements: tuple[Measurement, ...]) -> list[Measurement]:
        return [
            replace(m, stage=stage.name, fingerprint=fingerprint, inputs=inputs, environment=environment)
            for m in measurements
        ]

    try:
        result = stage.run(config, run, work_dir)
    except GateError as error:
        measure.append(run.root / "failed_gates.jsonl", stamped(error.measurements))
        raise
    target = run.stage(stage.name)
    run.stamp(stage.name).unlink(missing_ok=True)
    if target.exists():
        shutil.rmtree(target)
    os.replace(work_dir, target)
    measure.append(run.measurements, stamped(result.measurements))
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
    for line in result.summary:
        say(f"    {line}")
    say(f"    done in {time.monotonic() - clock:.0f} s")


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
    found = {}
    for name in stage.reads:
        if not run.stamp(name).exists():
            raise ArtifactError(f"stage {stage.name!r} needs {name!r}, which has not run", f"Use --from {name}")
        for path, digest in read_json(run.stamp(name))["outputs"].items():
            found[f"{name}/{path}"] = digest
    return found


def _verify_outside(run: RunDir, chosen: tuple[Stage, ...]) -> None:
    """Stages that are read but not run this time must still be what their stamps say."""
    names = {stage.name for stage in chosen}
    for name in {name for stage in chosen for name in stage.reads} - names:
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


def _settings(config: RunConfig, run: RunDir, stage: Stage) -> Any:
    """The stage's settings, with the content of outside files in place of their paths."""
    settings = stage.settings(config)
    if stage.name == "card":
        # The card also shows when stages ran and every measurement they took.
        settings["stamps"] = {name: file_sha256(run.stamp(name)) for name in stage.reads if run.stamp(name).exists()}
        settings["measurements"] = [asdict(m) for m in current_measurements(run) if m.stage in stage.reads]
    if stage.name == "remote":
        settings["files"] = _outside_hashes(run.received)
    if stage.name == "data":
        path = Path(settings.pop("path"))
        settings["files"] = _outside_hashes(path)
    if stage.name == "base":
        for key in ("model", "tokenizer"):
            path = Path(settings[key])
            if settings[key] and path.exists():
                settings[key] = {"name": path.name, "files": _outside_hashes(path)}
    return settings


def _outside_hashes(path: Path) -> dict[str, str]:
    if path.is_file():
        return {path.name: file_sha256(path)}
    return {p.relative_to(path).as_posix(): file_sha256(p) for p in sorted(path.rglob("*")) if p.is_file()}


@contextmanager
def _lock(run: RunDir) -> Iterator[None]:
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
def _disk_errors(run: RunDir) -> Iterator[None]:
    """Turn a full or read-only disk into a message; what was finished before stays."""
    try:
        yield
    except OSError as error:
        import errno

        if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES):
            raise
        raise UserError(
            f"{error.filename or run.root}: {error.strerror}",
            "Free some space (or choose another --runs folder) and run the same command again; "
            "finished stages are kept.",
        ) from error
