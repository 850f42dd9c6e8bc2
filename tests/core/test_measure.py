"""A measurement is finite, a gate that does not hold stops the stage, and the file reads back exactly."""

import math

import pytest

from fake_stages import files_end_at
from tinsmith.core import measure
from tinsmith.core.errors import ArtifactError, GateError
from tinsmith.core.measure import Measurement, Recorder, current_measurements
from tinsmith.core.run_dir import RunDir, write_json


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_not_a_number_is_refused(bad):
    with pytest.raises(ValueError, match=r"^x: value is .* must be a finite number"):
        Measurement("x", bad, "nats", 1, "tokens", "m")
    with pytest.raises(ValueError, match="ci95_low"):
        Measurement("x", 1.0, "nats", 1, "tokens", "m", spread={"ci95_low": bad})


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
    measurement = Measurement("g", value, "logits", 3, "positions", "m", gate={"op": op, "bound": 1.0})
    if holds:
        assert recorder.take(measurement).passed
    else:
        with pytest.raises(GateError, match=f"g: measured {value:g} logits over 3 positions, required {op} 1") as error:
            recorder.take(measurement)
        assert error.value.hint == ""
        with pytest.raises(GateError) as error:
            Recorder().take(measurement, "Look at the kernel.")
        assert error.value.hint == "Look at the kernel."
    assert recorder.measurements == [measurement]


def test_file_round_trip_and_broken_line(tmp_path):
    path = tmp_path / "m.jsonl"
    taken = Measurement("a.b", 0.1 + 0.2, "nats/token", 3, "tokens", "m", spread={"min": 0.1}, raw="x\u2028y")
    measure.append(path, [taken])
    measure.append(path, [taken])
    assert measure.read(path) == [taken, taken]
    path.write_text(path.read_text() + "{broken\n")
    with pytest.raises(ArtifactError, match=r"m.jsonl:3: not a measurement") as error:
        measure.read(path)
    assert "delete its line 3" in error.value.hint


def _count(value, **more):
    return Measurement("a.b", value, "count", 1, "runs", "m", **more)


def test_a_disk_that_fills_up_during_an_append_tears_no_line(tmp_path):
    path = tmp_path / "m.jsonl"
    measure.append(path, [_count(1)])
    before = path.read_bytes()
    with files_end_at(len(before) + 50), pytest.raises(OSError, match="too large"):
        measure.append(path, [_count(2)])
    assert path.read_bytes() == before
    measure.append(path, [_count(3)])
    assert [m.value for m in measure.read(path)] == [1, 3]


@pytest.mark.parametrize("tail", [b'{"id": "a.b", "val', b"\0" * 40, '{"id": "\u00e4'.encode()[:-1], b"[]"])
def test_an_incomplete_last_line_is_left_out_and_repaired(tmp_path, tail):
    path = tmp_path / "m.jsonl"
    measure.append(path, [_count(1)])
    whole = path.read_bytes()
    path.write_bytes(whole + tail)
    assert [m.value for m in measure.read(path)] == [1]
    assert "removed an incomplete last line" in measure.repair(path) and path.read_bytes() == whole
    assert measure.repair(path) == ""


def test_a_whole_last_line_only_gets_its_newline(tmp_path):
    path = tmp_path / "m.jsonl"
    measure.append(path, [_count(1)])
    whole = path.read_bytes()
    path.write_bytes(whole[:-1])
    assert "newline" in measure.repair(path) and path.read_bytes() == whole


def test_only_the_last_run_of_a_stage_counts(tmp_path):
    run = RunDir(tmp_path)
    earlier = [_count(value, stage="bench", fingerprint="f") for value in (1, 2, 3)]
    other = _count(4, stage="base", fingerprint="g")
    last = [_count(value, stage="bench", fingerprint="f") for value in (5, 6)]
    measure.append(run.measurements, [*earlier, other, *last, _count(7, stage="card", fingerprint="h")])
    for stage, fingerprint, count in (("bench", "f", 2), ("base", "g", 1), ("card", "newer", 1)):
        write_json(run.stamp(stage), {"fingerprint": fingerprint, "outputs": {}, "measurements": count})
    assert [m.value for m in current_measurements(run)] == [4, 5, 6]
    at = len("".join(run.measurements.read_text().splitlines(keepends=True)[:-2]).encode())
    write_json(run.stamp("bench"), {"fingerprint": "f", "outputs": {}, "measurements": 1})
    (run.stamp("card")).unlink()
    assert [m.value for m in current_measurements(run, at)] == [4, 5]


def test_a_line_keeps_its_letters_and_no_missing_file_is_repaired(tmp_path):
    path = tmp_path / "m.jsonl"
    assert measure.repair(path) == ""
    measure.append(path, [_count(1, raw="mätt.jsonl")])
    assert "mätt".encode() in path.read_bytes()
    broken = _count(2)
    broken.spread["ci95_low"] = math.nan  # after the check of the constructor
    with pytest.raises(ValueError, match="not JSON compliant"):
        measure.append(path, [broken])
    assert [m.value for m in measure.read(path)] == [1]


@pytest.mark.parametrize(
    ("stages", "kept"), [("aabba", "aabb"), ("aabb", "aabb"), ("aaa", ""), ("abaa", "ab"), ("", ""), ("baa", "b")]
)
def test_unwanted_lines_are_removed_from_the_end_alone(tmp_path, stages, kept):
    path = tmp_path / "m.jsonl"
    measure.append(path, [_count(number, stage=stage) for number, stage in enumerate(stages)])
    lines = path.read_bytes().splitlines(keepends=True)
    measure.drop_last(path, lambda measurement: measurement.stage == "a")
    assert path.read_bytes() == b"".join(lines[: len(kept)])


def test_nothing_is_written_where_nothing_is_unwanted(tmp_path, monkeypatch):
    path = tmp_path / "m.jsonl"
    measure.append(path, [_count(1)])
    monkeypatch.setattr(measure, "write_bytes", lambda *arguments: pytest.fail("written"))
    measure.drop_last(path, lambda measurement: False)
