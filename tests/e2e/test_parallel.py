"""Two processes train as one does: the same losses on the same steps, results written once."""

import json
import os
import shutil
import socket
import subprocess
import sys

import pytest
from safetensors.torch import load_file

from e2e.conftest import tinsmith, write_project

SETTINGS = ("--to", "train", "--set", "train.batch_size=2", "--set", "train.grad_accum_steps=4")


def launched(*arguments, cwd):
    """`accelerate launch` with two processes, which talk over loopback with gloo."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [
        sys.executable,
        "-m",
        "accelerate.commands.launch",
        "--multi_gpu",
        "--num_processes",
        "2",
        "--num_machines",
        "1",
        "--mixed_precision",
        "no",
        "--dynamo_backend",
        "no",
        "--main_process_ip",
        "127.0.0.1",
        "--main_process_port",
        str(port),
        "-m",
        "tinsmith",
        *arguments,
    ]
    return subprocess.run(
        command, cwd=cwd, capture_output=True, text=True, timeout=300, env={**os.environ, "OMP_NUM_THREADS": "1"}
    )


@pytest.fixture(scope="module")
def both(tmp_path_factory):
    folder = tmp_path_factory.mktemp("parallel")
    config = write_project(folder, "llama")
    together = launched("run", str(config), "--runs", "together", *SETTINGS, cwd=folder)
    assert together.returncode == 0, together.stderr[-4000:]
    shutil.copytree(folder / "together", folder / "alone")  # the stages before training need not run again
    alone = tinsmith("run", config, "--runs", "alone", "--from", "train", "--force", *SETTINGS, cwd=folder)
    assert alone.returncode == 0, alone.stderr[-2000:]
    assert json.loads((folder / "alone" / "llama" / "train" / "train.json").read_text())["processes"] == 1
    return folder / "alone" / "llama", folder / "together" / "llama", together, config


def test_same_losses_as_one_process(both):
    alone, together, *_ = both
    logs = [[json.loads(line) for line in (run / "train" / "log.jsonl").read_text().splitlines()] for run in both[:2]]
    losses = [[line.get("loss", line.get("val_loss")) for line in log] for log in logs]
    assert len(losses[0]) == len(losses[1]) > 8
    assert losses[1] == pytest.approx(losses[0], rel=5e-3)
    assert losses[1][:2] == pytest.approx(losses[0][:2], rel=1e-6)  # before any update can differ in rounding
    for name, weight in load_file(alone / "train" / "adapter" / "adapter_model.safetensors").items():
        other = load_file(together / "train" / "adapter" / "adapter_model.safetensors")[name]
        assert (other - weight).norm() <= 0.1 * weight.norm(), name


def test_one_process_speaks_and_writes(both):
    _, together, done, _ = both
    assert done.stdout.count("parity gates passed") == 1
    assert done.stderr.count("over 2 processes") == 1
    assert json.loads((together / "train" / "train.json").read_text())["processes"] == 2
    assert not (together / ".work").exists() or not list((together / ".work").iterdir())


def test_bad_input_ends_both(both):
    folder = both[3].parent
    (folder / "bad.toml").write_text("[train]\nepoch = 1\n")
    done = launched("run", "bad.toml", cwd=folder)
    assert done.returncode != 0 and "train.epoch: unknown key, did you mean 'epochs'?" in done.stderr
