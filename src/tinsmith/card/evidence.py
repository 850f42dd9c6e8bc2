"""Evidence in a run folder: its finished stages with their records, current measurements and environments."""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any

from pydantic import ValidationError

from tinsmith.core.config import RunConfig
from tinsmith.core.errors import ArtifactError
from tinsmith.core.measure import Measurement, current_measurements
from tinsmith.core.run_dir import RunDir, file_sha256, read_json

STAGES = ("base", "data", "knowledge", "train", "merge", "export", "evaluate", "bench", "remote", "review", "judge")
"""Stages that a card reads, in the order they run."""


@dataclass(frozen=True, slots=True)
class Evidence:
    """Everything a card may state. A stage without a stamp is unfinished and contributes nothing."""

    run: RunDir
    config: RunConfig
    """The run's own configuration; the defaults if the run folder has none."""
    stamps: dict[str, dict[str, Any]]
    """By finished stage."""
    measurements: dict[str, Measurement]
    """By id, in the order recorded; only those from the latest run of each finished stage."""
    environments: dict[str, dict[str, Any]]
    """By id."""
    log_bytes: int
    """Length of `measurements.jsonl` when the card was rendered."""
    log_sha256: str
    """Hash of those bytes."""
    reads: set[str] = field(default_factory=set, repr=False)
    """Run-relative paths of the stages' files that were read so far."""
    _records: dict[str, Any] = field(default_factory=dict, repr=False)
    """Cache of records, by run-relative path."""

    def record(self, stage: str, file: str) -> Any:
        """A stage's JSON record; None if the stage is unfinished or writes no such file.

        Raises:
            ArtifactError: the stage's stamp lists the file, but it is missing or not JSON.
        """
        path = f"{stage}/{file}"
        if self.sha256(path) is None:
            return None
        self.reads.add(path)
        if path not in self._records:
            self._records[path] = read_json(self.run.stage(stage) / file)
        return self._records[path]

    def lines(self, stage: str, file: str) -> list[Any]:
        """The values in a stage's JSONL file; none if the stage is unfinished or writes no such file.

        Raises:
            ArtifactError: the stage's stamp lists the file, but it is missing or not JSONL.
        """
        return list(self.each_line(stage, file))

    def each_line(self, stage: str, file: str) -> Iterator[Any]:
        """As `lines`, but one by one, for files too large to keep."""
        if self.sha256(f"{stage}/{file}") is None:
            return
        self.reads.add(f"{stage}/{file}")
        path = self.run.stage(stage) / file
        try:
            with path.open(encoding="utf-8", newline="\n") as lines:
                yield from (json.loads(line) for line in lines if line != "\n")
        except (OSError, ValueError) as error:
            raise ArtifactError(
                f"{path}: cannot be read ({error})", f"Run again: tinsmith run --from {stage}"
            ) from error

    def sha256(self, path: str) -> str | None:
        """The recorded hash of a run-relative path, or None if no finished stage wrote it."""
        stage, _, rest = path.partition("/")
        return self.stamps.get(stage, {}).get("outputs", {}).get(rest)

    def files(self, stage: str, suffix: str) -> list[str]:
        """Sorted names of a finished stage's top-level files that end in `suffix`."""
        outputs = self.stamps.get(stage, {}).get("outputs", {})
        return sorted(path for path in outputs if path.endswith(suffix) and len(PurePosixPath(path).parts) == 1)


def read_evidence(run: RunDir, log_bytes: int | None = None) -> Evidence:
    """Read a run folder.

    Args:
        run: A folder that does not exist counts as an empty run.
        log_bytes: Read only this many bytes of `measurements.jsonl`, to see it as an earlier card did. None reads all.

    Raises:
        ArtifactError: the configuration, a stamp, an environment or a measurement cannot be read.
    """
    stamps = {stage: read_json(run.stamp(stage)) for stage in STAGES if run.stamp(stage).exists()}
    for stage, stamp in stamps.items():
        for key in ("fingerprint", "outputs", "measurements", "finished_at"):
            if key not in stamp:
                raise ArtifactError(
                    f"{run.stamp(stage)}: no {key!r}", f"Run again: tinsmith run --from {stage} --force"
                )
    current = {m.id: m for m in current_measurements(run, log_bytes) if m.stage in stamps}
    names = sorted({m.environment for m in current.values() if m.environment})
    environments = {name: read_json(run.environments / f"{name}.json") for name in names}
    log = run.measurements.read_bytes() if run.measurements.exists() else b""
    log = log if log_bytes is None else log[:log_bytes]
    return Evidence(run, _config(run), stamps, current, environments, len(log), hashlib.sha256(log).hexdigest())


def _config(run: RunDir) -> RunConfig:
    if not run.config.exists():
        return RunConfig()
    try:
        return RunConfig.model_validate(read_json(run.config))
    except ValidationError as error:
        raise ArtifactError(
            f"{run.config}: not valid for this version of tinsmith ({error.error_count()} problem(s))",
            "Run again with your tinsmith.toml: tinsmith run CONFIG",
        ) from error


def required(item: Any, key: str, where: str) -> Any:
    """`item[key]` of a stage's record.

    Args:
        item: An object in the record.
        key: A key that the stage always writes.
        where: Run-relative path of the record, for the message.

    Raises:
        ArtifactError: the key is missing.
    """
    if not isinstance(item, dict) or key not in item:
        raise ArtifactError(
            f"{where}: no {key!r}", f"Run again: tinsmith run --from {where.split('/', maxsplit=1)[0]} --force"
        )
    return item[key]


def environment_sha256s(evidence: Evidence) -> dict[str, str]:
    """Hash of each environment's file, by id."""
    return {name: file_sha256(evidence.run.environments / f"{name}.json") for name in evidence.environments}
