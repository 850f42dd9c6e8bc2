"""The trial of Unsloth: its failure becomes a sentence without paths; on a GPU the real one must pass or say why."""

import importlib.util
import subprocess
from pathlib import Path

import pytest
import torch

from tinsmith.core.config import TrainConfig
from tinsmith.core.device import Device, choose_device
from tinsmith.core.errors import MissingDependency
from tinsmith.train import unsloth

CUDA = Device(torch.device("cuda", 0), torch.bfloat16, "for this test")


@pytest.fixture
def broken_unsloth(tmp_path, monkeypatch):
    """A package called unsloth whose import fails the way the real one does without a driver."""
    (tmp_path / "unsloth").mkdir()
    (tmp_path / "unsloth" / "__init__.py").write_text(
        "raise ImportError('no CUDA driver for ' + __import__('sys').argv[1])"
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.syspath_prepend(str(tmp_path))


def test_failed_trial_is_reported_by_its_last_line_without_paths(broken_unsloth, tiny_llama):
    problem = unsloth.unsloth_problem(CUDA, tiny_llama)
    assert problem == "Unsloth's trial step failed: ImportError: no CUDA driver for MODEL"
    assert unsloth.choose_backend(TrainConfig(), CUDA, tiny_llama) == ("peft", problem)
    with pytest.raises(MissingDependency, match="no CUDA driver for MODEL"):
        unsloth.choose_backend(TrainConfig(backend="unsloth"), CUDA, tiny_llama)


@pytest.mark.parametrize(
    ("line", "shown"),
    [
        ("OSError: libcuda.so.1: cannot open /home/ada/venv/lib/libcuda.so.1", "cannot open libcuda.so.1"),
        ("OSError: [Errno 2] No such file: '/home/ada love/my chats/a.json'", "No such file: 'a.json'"),
        ("ImportError: cannot import name 'x' from 'a' (/home/ada/a/__init__.py)", "from 'a' (__init__.py)"),
        ("OSError: PATH=/usr/bin:/home/ada/bin, file:///home/ada/x.so", "PATH=bin:bin, x.so"),
        (r"OSError: C:\Users\ada\x.dll and ~/ada/y.so", "x.dll and y.so"),
        ("OSError: see https://docs.example/ada/install and/or 3/4", "see https://docs.example/ada/install and/or 3/4"),
        (f"OSError: {Path.home()}/.cache/ada/z.so is missing", "z.so is missing"),
    ],
)
def test_no_path_of_this_machine_is_in_the_reason(broken_unsloth, tiny_llama, tmp_path, line, shown):
    kind, message = line.split(": ", 1)
    (tmp_path / "unsloth" / "__init__.py").write_text(f"raise {kind}({message!r})")
    problem = unsloth.unsloth_problem(CUDA, tiny_llama)
    assert problem.endswith(shown)
    assert "ada/" not in problem.replace("example/ada/", "") and "ada\\" not in problem and "love" not in problem


@pytest.mark.skipif(importlib.util.find_spec("unsloth") is not None, reason="Unsloth is installed")
def test_missing_unsloth_is_said_so(tiny_llama):
    assert unsloth.unsloth_problem(CUDA, tiny_llama) == "Unsloth is not installed"


def test_trial_that_hangs_is_ended(broken_unsloth, tiny_llama, monkeypatch):
    def hang(command, timeout, **_):
        raise subprocess.TimeoutExpired(command, timeout)

    monkeypatch.setattr(subprocess, "run", hang)
    assert "did not finish within 900 s" in unsloth.unsloth_problem(CUDA, tiny_llama)


def test_configured_peft_never_tries_unsloth(tiny_llama, monkeypatch):
    monkeypatch.setattr(unsloth, "unsloth_problem", lambda *_: pytest.fail("tried Unsloth"))
    assert unsloth.choose_backend(TrainConfig(backend="peft"), CUDA, tiny_llama)[0] == "peft"


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_unsloth_takes_a_step_on_a_gpu(tiny_llama):
    pytest.importorskip("unsloth")
    assert unsloth.unsloth_problem(choose_device(), tiny_llama) is None
