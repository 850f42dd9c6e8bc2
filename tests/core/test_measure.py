"""A measurement is finite, a gate that does not hold stops the stage, and the file reads back exactly."""

import math

import pytest

from tinsmith.core import measure
from tinsmith.core.errors import ArtifactError, GateError
from tinsmith.core.measure import Measurement, Recorder


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_not_a_number_is_refused(bad):
    with pytest.raises(ValueError, match="must be a finite number"):
        Measurement("x", bad, "nats", 1, "tokens", "m")
    with pytest.raises(ValueError, match="ci95_low"):
        Measurement("x", 1.0, "nats", 1, "tokens", "m", spread={"ci95_low": bad})
    with pytest.raises(GateError, match="measured"):
        Recorder().gate("g", bad, "<=", 1.0, "logits", 1, "positions", "m")


@pytest.mark.parametrize(
    ("op", "value", "holds"),
    [
        ("<=", 1.0, True),
        ("<=", 1.1, False),
        (">=", 1.0, True),
        ("<", 1.0, False),
        (">", 1.1, True),
        ("==", 0.9, False),
    ],
)
def test_gates(op, value, holds):
    recorder = Recorder()
    if holds:
        assert recorder.gate("g", value, op, 1.0, "logits", 3, "positions", "m").passed
    else:
        with pytest.raises(GateError, match=f"g: measured {value:g} logits over 3 positions, required {op} 1"):
            recorder.gate("g", value, op, 1.0, "logits", 3, "positions", "m")
    assert len(recorder.measurements) == 1


def test_file_round_trip_and_broken_line(tmp_path):
    path = tmp_path / "m.jsonl"
    taken = Measurement("a.b", 0.1 + 0.2, "nats/token", 3, "tokens", "m", spread={"min": 0.1}, raw="x\u2028y")
    measure.append(path, [taken])
    measure.append(path, [taken])
    assert measure.read(path) == [taken, taken]
    path.write_text(path.read_text() + "{broken\n")
    with pytest.raises(ArtifactError, match=r"m.jsonl:3: not a measurement"):
        measure.read(path)
