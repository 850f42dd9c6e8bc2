"""Measurements: the only way a number gets from a stage into the model card.

A stage records `Measurement`s without knowing where they go. The pipeline stamps each with the stage, its fingerprint,
the hashes of what the stage read, and the environment, then adds it to `measurements.jsonl` at full precision.
Rounding happens once, in `card/facts.py`. A number that was not measured has no line, and is never recorded as 0.
"""

import json
import math
import operator
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Literal, TypedDict

from tinsmith.core.errors import ArtifactError, GateError
from tinsmith.core.run_dir import RunDir, entries, read_stamp, write_bytes

_COMPARE = {"<=": operator.le, ">=": operator.ge, "<": operator.lt, ">": operator.gt, "==": operator.eq}


Operator = Literal["<=", ">=", "<", ">", "=="]


class Gate(TypedDict, total=False):
    """The comparison that must be true for the run to continue."""

    op: Operator
    bound: float


@dataclass(frozen=True, slots=True)
class Measurement:
    """One number, with everything needed to defend it.

    Raises:
        ValueError: `value` or a spread is not finite. Leave out a number that could not be measured.
    """

    id: str
    """Dotted name the card uses, such as `evaluate.perplexity.test.int4`."""
    value: float
    unit: str
    """Unit, such as `nats/token`, `perplexity`, `tokens/s`, `bytes`, `seconds`, `fraction`, `count`, `ratio`."""
    count: int
    """Number of items that the value was computed from."""
    count_of: str
    """Kind of these items: `conversations`, `tokens`, `runs`, `files`, ..."""
    method: str
    """Dotted name of the function that defines the number, or a short name of the protocol."""
    spread: dict[str, float] = field(default_factory=dict)
    """Values by name: `min`, `max`, `ci95_low`, `ci95_high`. Empty if the value is exact or single."""
    raw: str = ""
    """Run-relative path of the raw observations, if they were saved."""
    gate: Gate = field(default_factory=Gate)
    """`{"op": "<=", "bound": 0.01}` if the run depends on this number; empty otherwise."""
    stage: str = ""
    fingerprint: str = ""
    inputs: str = ""
    """Hash of `inputs` in the stage's stamp: what the stage read. Stamped by the pipeline."""
    outputs: str = ""
    """Hash of `outputs` in the stage's stamp: what the stage wrote. Stamped by the pipeline."""
    environment: str = ""
    """Id of `environments/<id>.json`. Stamped by the pipeline."""

    def __post_init__(self) -> None:
        for name, number in {"value": self.value, **self.spread}.items():
            if not math.isfinite(number):
                raise ValueError(f"{self.id}: {name} is {number}; a measurement must be a finite number")

    @property
    def passed(self) -> bool:
        """Whether the gate passes; True for a measurement without a gate."""
        return not self.gate or _COMPARE[self.gate["op"]](self.value, self.gate["bound"])


class Recorder:
    """Collects a stage's measurements and stops the stage at the first gate that fails."""

    def __init__(self) -> None:
        self.measurements: list[Measurement] = []

    def take(self, measurement: Measurement, hint: str = "") -> Measurement:
        """Record a measurement and stop unless its gate passes.

        Raises:
            GateError: the gate's comparison is false.
        """
        self.measurements.append(measurement)
        if not measurement.passed:
            op, bound = measurement.gate["op"], measurement.gate["bound"]
            raise GateError(
                f"{measurement.id}: measured {measurement.value:.6g} {measurement.unit} over {measurement.count} "
                f"{measurement.count_of}, required {op} {bound:g}",
                hint,
            )
        return measurement


def append(path: Path, measurements: Iterable[Measurement]) -> None:
    """Add one JSON line per measurement to the end of `path`.

    The whole file is rewritten and renamed into place, so that a killed process, a full disk or a power failure
    cannot leave an incomplete line. This is cheap, because the file has only a few hundred kilobytes.
    """
    lines = "".join(json.dumps(asdict(m), ensure_ascii=False, allow_nan=False) + "\n" for m in measurements)
    earlier = path.read_bytes() if path.exists() else b""
    write_bytes(path, earlier + lines.encode())


def repair(path: Path) -> str:
    """Remove an incomplete last line from a file of measurements, or add the newline that a complete one lacks.

    `append` never leaves an incomplete line, but an editor or an interrupted copy can.

    Returns:
        What was repaired, as a sentence for the user; empty if nothing was.
    """
    content = path.read_bytes() if path.exists() else b""
    whole, newline, tail = content.rpartition(b"\n")
    if not tail:
        return ""
    if _is_measurement(tail):
        write_bytes(path, content + b"\n")
        return f"{path}: ended the last line with a newline"
    write_bytes(path, whole + newline)
    return f"{path}: removed an incomplete last line of {len(tail)} bytes"


def drop_last(path: Path, is_unwanted: Callable[[Measurement], bool]) -> None:
    """Remove unwanted measurements from the end of `path`, up to the last that is wanted."""
    measurements = read(path)
    wanted = len(measurements)
    while wanted and is_unwanted(measurements[wanted - 1]):
        wanted -= 1
    if wanted < len(measurements):
        write_bytes(path, b"".join(path.read_bytes().splitlines(keepends=True)[:wanted]))


def _is_measurement(line: bytes) -> bool:
    try:
        Measurement(**json.loads(line))
    except (ValueError, TypeError):
        return False
    return True


def read(path: Path, length_bytes: int | None = None) -> list[Measurement]:
    """All measurements in `path`, oldest first. A last line without a newline is ignored; a missing file has none.

    Args:
        path: A file that `append` wrote.
        length_bytes: Read only the first `length_bytes` of the file.

    Raises:
        ArtifactError: a line is not a measurement.
    """
    if not path.exists():
        return []
    measurements = []
    for number, line in enumerate(path.read_bytes()[:length_bytes].split(b"\n")[:-1], start=1):
        try:
            measurements.append(Measurement(**json.loads(line)))
        except (ValueError, TypeError) as error:
            raise ArtifactError(
                f"{path}:{number}: not a measurement ({error})",
                f"Restore the file from a copy, or delete its line {number} and run again: the stage that took this "
                "measurement repeats it.",
            ) from error
    return measurements


def current_measurements(run: RunDir, length_bytes: int | None = None) -> list[Measurement]:
    """The measurements from the latest run of each finished stage, in the order they were recorded.

    Args:
        run: The run folder.
        length_bytes: Read only the first `length_bytes` of `measurements.jsonl`.
    """
    stamps = {path.stem: read_stamp(path) for path in entries(run.stamps, "*.json")}
    same_fingerprint = [
        m
        for m in read(run.measurements, length_bytes)
        if m.stage in stamps and stamps[m.stage]["fingerprint"] == m.fingerprint
    ]
    # A stage may have run several times with this fingerprint. Its stamp says how many of the last lines are current.
    outdated_count = Counter(m.stage for m in same_fingerprint)
    outdated_count.subtract({stage: stamp["measurements"] for stage, stamp in stamps.items()})
    current = []
    for m in same_fingerprint:
        if outdated_count[m.stage] > 0:
            outdated_count[m.stage] -= 1
        else:
            current.append(m)
    return current
