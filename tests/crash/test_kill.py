"""A command killed at any moment costs nothing but time: the next one ends with the same bytes."""

import random
import signal
import time

import pytest

from crash.again import NextCommand, counter, points
from crash.conftest import SHORT, WHOLE
from crash.line import Command, Line
from crash.system_calls import Call


def _changes(call: Call) -> bool:
    return call.changes


def _operations(line: Line, stage: str) -> list[Call]:
    """Every operation of a stage that changes or flushes something, in order."""
    line.go_back_to(stage)
    calls: list[Call] = []

    def note(call: Call, command: Command) -> int:
        calls.append(call)
        return 0

    ended = line.bring_up_to(stage, decide=note)
    assert ended.code == 0, ended.text
    return [call for call in calls if call.changes]


def _kill_at_every_operation(line: Line, stage: str, sample: int | None) -> tuple[int, int]:
    """Kill the command before each operation, and check the next; returns how many kills and how many states."""
    again = NextCommand(line, stage)
    numbers = points(len(_operations(line, stage)), sample)
    for number in numbers:
        line.go_back_to(stage)
        count = counter(_changes)

        def decide(call: Call, command: Command, number: int = number, count=count) -> int:
            if count(call) == number:
                command.kill()
            return 0

        ended = line.bring_up_to(stage, decide=decide)
        assert ended.code == -signal.SIGKILL, f"operation {number}: {ended.text[-2000:]}"
        again.check(f"a kill before operation {number}")
    return len(numbers), again.states


@pytest.mark.parametrize("stage", SHORT.stages)
def test_killed_at_any_operation_of_the_pipeline_itself(short_line, stage):
    kills, states = _kill_at_every_operation(short_line, stage, 20)
    assert kills == 20 and states > 3


@pytest.mark.long
@pytest.mark.parametrize("stage", WHOLE.stages)
def test_killed_at_every_operation(whole_line, stage, record_property):
    kills, states = _kill_at_every_operation(whole_line, stage, None)
    record_property("kills", kills)
    record_property("states", states)
    print(f"\n{stage}: killed before each of {kills} operations, {states} different states")
    assert kills > 20 and states > 3


@pytest.mark.long
@pytest.mark.parametrize("seed", range(4))
def test_killed_at_random_times(whole_line, seed):
    """50 times of each seed, spread over the seconds that the stages take. Any of its moments is as likely as another."""
    draw = random.Random(seed)
    lengths = {}
    for stage in WHOLE.stages:
        whole_line.go_back_to(stage)
        started = time.monotonic()
        assert whole_line.bring_up_to(stage).code == 0
        lengths[stage] = time.monotonic() - started
    killed, again = 0, {stage: NextCommand(whole_line, stage) for stage in WHOLE.stages}
    while killed < 50:
        (stage,) = draw.choices(list(lengths), list(lengths.values()))
        whole_line.go_back_to(stage)
        command = whole_line.start("run", "tinsmith.toml", "--to", stage)
        seconds = draw.uniform(0, lengths[stage])
        time.sleep(seconds)
        command.kill()
        if command.wait().code == -signal.SIGKILL:
            killed += 1
            again[stage].check(f"a kill in {stage} after {seconds:.3f} s")
