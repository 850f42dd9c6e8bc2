"""What a run folder says: which stages are finished, their current measurements, records and environments."""

import hashlib
import json
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any

from tinsmith.core.errors import ArtifactError
from tinsmith.core.measure import Measurement, current_measurements
from tinsmith.core.run_dir import RunDir, file_sha256, read_json

STAGES = ("base", "data", "train", "merge", "export", "evaluate", "bench", "remote")
"""The stages a card reads, in the order they ran."""


@dataclass(frozen=True, slots=True)
class Evidence:
    """Everything a card may state. A stage without a stamp is not finished, and nothing of it counts."""

    run: RunDir
    stamps: dict[str, dict[str, Any]]
    measurements: dict[str, Measurement]
    """Id -> the newest line whose stage and fingerprint equal that stage's stamp, in the order written."""
    environments: dict[str, dict[str, Any]]
    log_bytes: int
    """How much of `measurements.jsonl` had been written when the card was rendered."""
    log_sha256: str
    _records: dict[str, Any] = field(default_factory=dict, repr=False)
    """Records read so far, by run-relative path."""

    def record(self, stage: str, file: str) -> Any:
        """The JSON record `file` of a stage, or None if the stage is not finished or keeps no such file.

        Raises:
            ArtifactError: the stage's stamp lists the file and it is missing or not JSON.
        """
        path = f"{stage}/{file}"
        if self.sha256(path) is None:
            return None
        if path not in self._records:
            self._records[path] = read_json(self.run.stage(stage) / file)
        return self._records[path]

    def lines(self, stage: str, file: str) -> list[Any]:
        """The values of a JSONL file of a finished stage; none if the stage keeps no such file."""
        if self.sha256(f"{stage}/{file}") is None:
            return []
        path = self.run.stage(stage) / file
        try:
            return [json.loads(line) for line in path.read_text(encoding="utf-8").split("\n") if line]
        except (OSError, ValueError) as error:
            raise ArtifactError(
                f"{path}: cannot be read ({error})", f"Run again: tinsmith run --from {stage}"
            ) from error

    def sha256(self, path: str) -> str | None:
        """The recorded hash of a run-relative path, or None if no finished stage wrote it."""
        stage, _, rest = path.partition("/")
        return self.stamps.get(stage, {}).get("outputs", {}).get(rest)

    def files(self, stage: str, suffix: str) -> list[str]:
        """Names of a finished stage's top-level files that end in `suffix`, sorted."""
        outputs = self.stamps.get(stage, {}).get("outputs", {})
        return sorted(path for path in outputs if path.endswith(suffix) and len(PurePosixPath(path).parts) == 1)


def read_evidence(run: RunDir, log_bytes: int | None = None) -> Evidence:
    """The evidence in a run folder.

    Args:
        run: The run folder; a missing one is an empty run.
        log_bytes: Use only this much of the start of `measurements.jsonl`, as it was when a card was rendered;
            None uses all of it.

    Raises:
        ArtifactError: a stamp, an environment or a measurement cannot be read.
    """
    stamps = {stage: read_json(run.stamp(stage)) for stage in STAGES if run.stamp(stage).exists()}
    for stage, stamp in stamps.items():
        for key in ("fingerprint", "outputs", "finished_at"):
            if key not in stamp:
                raise ArtifactError(
                    f"{run.stamp(stage)}: no {key!r}", f"Run again: tinsmith run --from {stage} --force"
                )
    current = {m.id: m for m in _current(run, log_bytes) if m.stage in stamps}
    names = sorted({m.environment for m in current.values() if m.environment})
    environments = {name: read_json(run.environments / f"{name}.json") for name in names}
    log = run.measurements.read_bytes() if run.measurements.exists() else b""
    log = log if log_bytes is None else log[:log_bytes]
    return Evidence(run, stamps, current, environments, len(log), hashlib.sha256(log).hexdigest())


def _current(run: RunDir, log_bytes: int | None) -> list[Measurement]:
    try:
        return current_measurements(run, log_bytes)
    except UnicodeDecodeError as error:
        raise ArtifactError(
            f"{run.measurements}: not UTF-8 text (byte {error.start})", "Restore it, or make the run again."
        ) from error


def required(item: Any, key: str, where: str) -> Any:
    """`item[key]` of a record that a stage promised to write.

    Args:
        item: An object of the record.
        key: Its key.
        where: Run-relative file, for the message.

    Raises:
        ArtifactError: it is not there.
    """
    if not isinstance(item, dict) or key not in item:
        raise ArtifactError(
            f"{where}: no {key!r}", f"Run again: tinsmith run --from {where.split('/', maxsplit=1)[0]} --force"
        )
    return item[key]


def environment_sha256s(evidence: Evidence) -> dict[str, str]:
    """Environment id -> hash of its file."""
    return {name: file_sha256(evidence.run.environments / f"{name}.json") for name in evidence.environments}
