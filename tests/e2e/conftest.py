"""A configuration on a tiny base, and the `tinsmith` command as a person runs it."""

import json
import os
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest
from filelock import FileLock

from e2e.planted import planted_document, planted_lines
from shared import shared_folder
from tiny import build_tiny, tiny_conversations
from tiny_encoder import build_tiny_encoder

NO_PICKLES = Path(__file__).parent / "no_pickles"
OFFLINE = Path(__file__).parents[2] / "benchmarks/offline.py"
TRACE = ["--trace"] if shutil.which("strace") else []


def tinsmith(*arguments: str | Path, cwd: Path, prefix: list = (), **variables: str) -> subprocess.CompletedProcess:
    """Run the command in a process of its own."""
    return subprocess.run(
        [*map(str, prefix), sys.executable, "-m", "tinsmith", *map(str, arguments)],
        cwd=cwd,
        capture_output=True,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1", **variables},
    )


def without_pickles(log: Path) -> dict[str, str]:
    """Environment in which reading a pickle from a file raises and is noted in `log`."""
    path = os.pathsep.join([str(NO_PICKLES), *filter(None, [os.environ.get("PYTHONPATH")])])
    return {"PYTHONPATH": path, "TINSMITH_TEST_PICKLES": str(log)}


@cache
def can_be_offline() -> bool:
    """Whether this system allows a network namespace."""
    return subprocess.run([sys.executable, OFFLINE, "--", "true"], capture_output=True).returncode == 0


def write_project(folder: Path, kind: str) -> Path:
    """Everything for a run: a tiny base and encoder, forty conversations, and planted personal data to mask.

    Returns:
        Path of the configuration.
    """
    build_tiny(kind, folder / "base-model")
    build_tiny_encoder(folder / "encoder")
    lines = [json.dumps({"messages": c.as_dicts(), "category": c.category}) for c in tiny_conversations(40)]
    lines += planted_lines()
    (folder / "chats.jsonl").write_text("\n".join(lines) + "\n")
    (folder / "notes.md").write_text(planted_document()[0])
    path = folder / "tinsmith.toml"
    path.write_text(
        f'name = "{kind}"\n[base]\nmodel = "base-model"\nlicense = "apache-2.0"\n'
        '[data]\npath = "chats.jsonl"\ndocuments = "notes.md"\nprivacy = "mask"\n'
        "[train]\nepochs = 2\n[evaluate]\nquestions = 3\nmax_new_tokens = 8\ntrain_sample = 6\n"
        '[bench]\nnew_tokens = 6\nsoftware_new_tokens = 2\n[card]\nauthor = "A. Smith"\ndomain = "tea"\n'
        '[answers]\nencoder = "encoder"\npublish = true\npublish_questions = true\n'
    )
    return path


@pytest.fixture(scope="session", params=["llama", pytest.param("gemma3", marks=pytest.mark.long)])
def finished(request, tmp_path_factory) -> tuple[Path, Path, subprocess.CompletedProcess]:
    """(configuration, run folder, what the command printed) of a whole run in a real browser.

    No process of it may read a pickle, and none has a network, where the system allows to take it away. One of pytest's
    processes runs it, in its place because a run belongs to its configuration; others wait.
    """
    folder = shared_folder(tmp_path_factory) / f"whole-run-{request.param}"
    outcome = folder / "outcome.json"
    with FileLock(f"{folder}.lock"):
        if not outcome.exists():
            shutil.rmtree(folder, ignore_errors=True)
            done = whole_run(write_project(folder, request.param))
            outcome.write_text(json.dumps({"stdout": done.stdout, "stderr": done.stderr}))
    done = subprocess.CompletedProcess((), 0, **json.loads(outcome.read_text()))
    return folder / "tinsmith.toml", folder / "runs" / request.param, done


def whole_run(config: Path) -> subprocess.CompletedProcess:
    """What a run that may read no pickle and has no network prints."""
    prefix = [sys.executable, OFFLINE, *TRACE, "--"] if can_be_offline() else []
    pickles = without_pickles(config.parent / "pickles.txt")
    done = tinsmith("run", config, "--json", cwd=config.parent, prefix=prefix, **pickles)
    assert done.returncode == 0, done.stderr[-3000:]
    return done
