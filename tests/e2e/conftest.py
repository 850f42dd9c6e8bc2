"""A configuration on a tiny base, and the `tinsmith` command as a person runs it."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from e2e.planted import planted_document, planted_lines
from tiny import build_tiny, tiny_conversations
from tiny_encoder import build_tiny_encoder


def tinsmith(*arguments: str | Path, cwd: Path) -> subprocess.CompletedProcess:
    """Run the command in a process of its own."""
    return subprocess.run(
        [sys.executable, "-m", "tinsmith", *map(str, arguments)],
        cwd=cwd,
        capture_output=True,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )


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
    """(configuration, run folder, what the command printed) of a whole run in a real browser."""
    folder = tmp_path_factory.mktemp(f"line-{request.param}")
    config = write_project(folder, request.param)
    done = tinsmith("run", config, "--json", cwd=folder)
    assert done.returncode == 0, done.stderr[-3000:]
    return config, folder / "runs" / request.param, done
