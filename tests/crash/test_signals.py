"""Ctrl-C and SIGTERM stop a run in order; a second one stops it at once."""

import signal
import time
from collections.abc import Callable
from dataclasses import replace

import pytest

from crash.conftest import SHORT
from crash.line import Command, Ended, Line, result

_PATIENCE_SECONDS = 120


def _wait_for(is_so: Callable[[], bool], command: Command) -> None:
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while not is_so():
        assert time.monotonic() < deadline, command.text()
        time.sleep(0.02)


def _stopped(line: Line, stand_ins: str, *signals: signal.Signals) -> Ended:
    """Send signals to the command while its second stage works; each after the answer to the one before."""
    line.go_back_to("base")
    slow = Line(replace(SHORT, stand_ins=stand_ins), line.folder, line.snapshots)
    command = slow.start("run", "tinsmith.toml", "--to", "data")
    _wait_for(lambda: "working" in command.text(), command)
    for number, each in enumerate(signals):
        if number:
            _wait_for(lambda: "stopping after this step" in command.text(), command)
        command.send(each)
    return command.wait()


@pytest.mark.parametrize(("sent", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_stops_and_names_the_next_command(short_line, sent, code):
    ended = _stopped(short_line, "replace_stages_by_slow_ones", sent)
    assert ended.code == code, ended.text
    assert "stopped; finished stages are kept" in ended.text and "Traceback" not in ended.text
    assert ended.text.rstrip().endswith("Next: tinsmith run tinsmith.toml")
    again = short_line.bring_up_to("data")
    assert again.code == 0 and again.text.count("up to date") == 1
    short_line.check_finished("data")


@pytest.mark.parametrize("second", [signal.SIGINT, signal.SIGTERM])
def test_a_second_signal_stops_at_once(short_line, second):
    ended = _stopped(short_line, "replace_stages_by_steady_ones", signal.SIGINT, second)
    assert ended.code == -second, ended.text
    assert short_line.bring_up_to("data").code == 0
    short_line.check_finished("data")


@pytest.mark.long
@pytest.mark.parametrize(("sent", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_training_is_saved_at_the_step_where_the_signal_comes(whole_line, sent, code):
    arguments = ("run", "tinsmith.toml", "--to", "train", "--set", "train.epochs=30")
    whole_line.go_back_to("train")
    assert whole_line.tinsmith(*arguments).code == 0
    whole = result(whole_line.run, "train")
    whole_line.go_back_to("train")
    command = whole_line.start(*arguments)
    _wait_for(lambda: bool(list(whole_line.run.work.glob("train-*/checkpoints/step-*"))), command)
    command.send(sent)
    ended = command.wait()
    assert ended.code == code, ended.text[-2000:]
    newest = max(whole_line.run.work.glob("train-*/checkpoints/step-*"))
    step = int(newest.name.removeprefix("step-"))
    assert f"training is saved up to step {step} of " in ended.text
    assert "Next: tinsmith run tinsmith.toml --set train.epochs=30" in ended.text
    again = whole_line.tinsmith(*arguments)
    assert again.code == 0 and f"continuing after step {step}" in again.text
    assert result(whole_line.run, "train") == whole
