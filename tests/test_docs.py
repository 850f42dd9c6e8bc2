"""Generated pages are current, examples are valid, and what the docs name exists."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path

from tinsmith.core.config import RunConfig

ROOT = Path(__file__).resolve().parents[1]


def test_generated_pages_are_current():
    done = subprocess.run([sys.executable, ROOT / "docs/generate.py", "--check"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_examples_are_valid():
    files = [*ROOT.glob("examples/*.toml"), ROOT / "src/tinsmith/commands/demo.toml"]
    assert len(files) >= 3
    for path in files:
        RunConfig.model_validate(tomllib.loads(path.read_text(encoding="utf-8")))


def test_links_and_files_named_in_the_readme_exist():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    targets = [t for t in re.findall(r"\]\(([^)#]+)\)", text) if "://" not in t]
    assert len(targets) >= 4
    for target in targets:
        assert (ROOT / target).exists(), target


def test_readme_commands_exist():
    from tinsmith.cli import main

    text = (ROOT / "README.md").read_text(encoding="utf-8")
    named = set(re.findall(r"^tinsmith (\w+)", text, flags=re.MULTILINE))
    assert named and named <= set(main.commands)
    makefile = (ROOT / "Makefile").read_text()
    for target in re.findall(r"^make (\w+)", text, flags=re.MULTILINE):
        assert re.search(rf"^{target}:", makefile, flags=re.MULTILINE), target
