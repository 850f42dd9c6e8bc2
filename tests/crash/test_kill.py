"""A command killed at any moment costs nothing but time: the next one ends with the same bytes."""

import random
import signal
import time
from pathlib import Path

import pytest

from crash.again import Problems, counter, next_command, points
from crash.conftest import SHORT, WHOLE
from crash.line import Command, Line
from crash.system_calls import Call


def _changes(call: Call) -> bool:
    return call.changes


def _listing(root: Path) -> list[tuple]:
    """Every name in the run folder, and what changes with each write."""
    facts = ((path, path.lstat()) for path in sorted(root.rglob("*")))
    return [(path, status.st_ino, status.st_size, status.st_mtime_ns) for path, status in facts]


def _kill_points(line: Line, stage: str) -> tuple[int, list[int]]:
    """How many operations change or flush something, and the numbers of those before which the folder is a new one."""
    line.go_back_to(stage)
    count, last, seen, new = counter(_changes), 0, None, []

    def decide(call: Call, command: Command) -> int:
        nonlocal last, seen
        if number := count(call):
            last, listing = number, _listing(line.run.root)
            if listing != seen:
                seen = listing
                new.append(number)
        return 0

    ended = line.repeat(stage, decide)
    assert ended.code == 0, ended.text
    return last, new


def _kill_at_every_operation(line: Line, stage: str, sample: int | None) -> str:
    """Kill the command before each operation that follows a change of the folder, and check the next command.

    A kill before any other operation leaves the same folder as the kill before.
    """
    again, problems = next_command(line, stage), Problems()
    operations, new = _kill_points(line, stage)
    numbers = [new[point - 1] for point in points(len(new), sample)]
    for number in numbers:
        line.go_back_to(stage)
        count = counter(_changes)

        def decide(call: Call, command: Command, number: int = number, count=count) -> int:
            if count(call) == number:
                command.kill()
            return 0

        ended = line.repeat(stage, decide)
        with problems.noted():
            assert ended.code == -signal.SIGKILL, f"operation {number}: {ended.text[-2000:]}"
            again.check(f"a kill before operation {number}")
    problems.require_none()
    assert len(numbers) > 5 and again.beginnings
    return (
        f"{stage}: {operations} operations, {len(numbers)} kills, {again.beginnings} different beginnings of the next"
    )


@pytest.mark.parametrize("stage", SHORT.stages)
def test_killed_at_any_operation_of_the_pipeline_itself(short_line, stage):
    _kill_at_every_operation(short_line, stage, 12)


@pytest.mark.long
@pytest.mark.parametrize("stage", WHOLE.stages)
def test_killed_at_every_operation(whole_line, stage):
    print("\n" + _kill_at_every_operation(whole_line, stage, None))


@pytest.mark.long
@pytest.mark.parametrize("seed", range(4))
def test_killed_at_random_times(whole_line, seed):
    """50 for each seed, any moment of the seconds that the whole line takes as likely as another."""
    draw = random.Random(seed)
    lengths = {}
    for stage in WHOLE.stages:
        whole_line.go_back_to(stage)
        started = time.monotonic()
        assert whole_line.bring_up_to(stage).code == 0
        lengths[stage] = time.monotonic() - started
    killed, problems, again = 0, Problems(), {stage: next_command(whole_line, stage) for stage in WHOLE.stages}
    while killed < 50:
        (stage,) = draw.choices(list(lengths), list(lengths.values()))
        whole_line.go_back_to(stage)
        command = whole_line.start("run", "tinsmith.toml", "--to", stage)
        seconds = draw.uniform(0, lengths[stage])
        time.sleep(seconds)
        command.kill()
        if command.wait().code == -signal.SIGKILL:
            killed += 1
            with problems.noted():
                again[stage].check(f"a kill in {stage} after {seconds:.3f} s")
    print(f"\nseed {seed}: {killed} kills at random moments")
    problems.require_none()
