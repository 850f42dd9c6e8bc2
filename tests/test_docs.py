"""Docs name only what exists: files, functions, links, commands, keys. Generated pages are current, lines are short."""

import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from tinsmith.cli import main as cli
from tinsmith.core.config import RunConfig
from tinsmith.core.section import Section

ROOT = Path(__file__).resolve().parents[1]
PAGES = [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")] + sorted(ROOT.glob("docs/**/*.md"))
FOLDERS = ("src", "tests", "docs", "benchmarks", "examples", ".ci", ".github")
NOT_SOURCES = ("node_modules", "__pycache__", ".venv", ".work")


def source_files() -> Iterator[str]:
    for folder in FOLDERS:
        for root, folders, files in os.walk(ROOT / folder):
            folders[:] = [name for name in folders if not name.startswith(NOT_SOURCES)]
            yield from (Path(root, file).relative_to(ROOT).as_posix() for file in files)


SOURCES = list(source_files())
CODE_ENDINGS = (".py", ".js", ".mjs", ".css", ".html")
WRITTEN_BY_A_RUN = {"index.html", "card.html", "404.html", "report.html", "data/report.html", "runs/NAME-data.html"}
MAX_LINE = 140


def page_name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


each_page = pytest.mark.parametrize("page", PAGES, ids=page_name)


def code_in(text: str) -> Iterator[str]:
    """Code spans, and the lines of code blocks."""
    for block in re.findall(r"^```\w*\n(.*?)^```", text, flags=re.MULTILINE | re.DOTALL):
        yield from block.splitlines()
    yield from re.findall(r"`([^`\n]+)`", re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL))


def anchors_of(text: str) -> set[str]:
    """The anchors that GitHub gives to headings."""
    titles = re.findall(r"^#+ (.+)$", text, flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


def pattern_of(path: str) -> str:
    """A regular expression for a path in which `*` and `<name>` stand for anything but a slash."""
    return "[^/]*".join(re.escape(part) for part in re.split(r"<\w+>|\*+", path.rstrip("/")))


def matches(pattern: str) -> bool:
    return any(re.search(pattern, source) for source in SOURCES)


@each_page
def test_every_path_exists(page):
    for code in code_in(page.read_text(encoding="utf-8")):
        for word in re.findall(r"[\w./*<>-]+", code):
            bare = word.removeprefix("./").rstrip(".")
            if bare.startswith(tuple(f"{folder}/" for folder in FOLDERS)):
                assert (ROOT / bare).exists() or matches(f"^{pattern_of(bare)}"), f"{word} does not exist"
            elif bare.endswith(CODE_ENDINGS) and bare not in WRITTEN_BY_A_RUN and not bare.startswith(CODE_ENDINGS):
                assert matches(rf"(^|/){pattern_of(bare)}$"), f"no file is called {word}"


@each_page
def test_every_link_leads_somewhere(page):
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text(encoding="utf-8")):
        if "://" in target:
            continue
        file, _, anchor = target.partition("#")
        path = page.parent / file if file else page
        assert path.exists(), target
        if anchor:
            assert anchor in anchors_of(path.read_text(encoding="utf-8")), target


@each_page
def test_every_command_and_option_exists(page):
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for code in code_in(page.read_text(encoding="utf-8")):
        for target in re.findall(r"(?:^|[ =])make (?:\w+=\S+ )*([a-z][\w-]*)", code):
            assert re.search(rf"^{target}:", makefile, flags=re.MULTILINE), f"make {target}"
        command = re.match(r"(?:python -m )?tinsmith ([a-z]+)\b(.*)", code)
        if command:
            name, rest = command[1], command[2].partition("#")[0]
            assert name in cli.commands, f"tinsmith {name}"
            known = {opt for parameter in cli.commands[name].params for opt in parameter.opts} | {"--help"}
            assert set(re.findall(r"--[a-z-]+", rest)) <= known, code


@each_page
def test_every_configuration_key_exists(page):
    sections = {name: type(f.default) for name, f in RunConfig.model_fields.items() if isinstance(f.default, Section)}
    measured = (ROOT / "docs/measurements.md").read_text(encoding="utf-8")
    for code in code_in(page.read_text(encoding="utf-8")):
        for section, key in re.findall(r"(?<![\w./])([a-z]+)\.([a-z]\w*)(?=\s*=|$)", code):
            if section in sections and key not in sections[section].model_fields:
                is_file = f"{section}.{key}".endswith((*CODE_ENDINGS, ".json", ".jsonl", ".toml", ".md"))
                assert is_file or re.search(rf"\b{section}\.(\{{[\w,]*)?\b{key}\b", measured), f"{section}.{key}"


@each_page
def test_lines_are_short(page):
    in_block = False
    for number, line in enumerate(page.read_text(encoding="utf-8").splitlines(), start=1):
        in_block ^= line.startswith("```")
        assert in_block or len(line) <= MAX_LINE, f"line {number}: {len(line)} characters"


def test_the_readme_is_short():
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) <= 90


def test_what_to_change_where_is_true():
    text = (ROOT / "docs/architecture.md").read_text(encoding="utf-8")
    table = text.partition("## Where do I change X?")[2].partition("\n## ")[0]
    rows = [line for line in table.splitlines() if line.startswith("| ") and not line.startswith("| to ")]
    assert len(rows) >= 20
    for row in rows:
        _, _, where, tests, _ = (cell.strip() for cell in row.split("|"))
        names = re.findall(r"`([^`]+)`", where)
        files = [ROOT / "src/tinsmith" / name for name in names if "/" in name or name.endswith(CODE_ENDINGS)]
        assert files and all(file.exists() for file in files), row
        code = "".join(file.read_text(encoding="utf-8") for file in files if file.is_file())
        for name in names:
            is_file = "/" in name or name.endswith(CODE_ENDINGS)
            assert is_file or re.search(rf"(?<!\w){re.escape(name)}(?!\w)", code), f"{row}: no {name} there"
        for test in re.findall(r"`([^`]+)`", tests):
            assert (ROOT / "tests" / test).exists(), test


def test_every_experiment_has_a_date_and_a_decision_can_be_found():
    pages = [page for page in ROOT.glob("docs/experiments/*.md") if page.name != "README.md"]
    assert len(pages) >= 10
    for page in pages:
        dates = [
            re.search(r"\((\d{4}-\d{2}-\d{2})\)$", line)
            for line in page.read_text(encoding="utf-8").splitlines()
            if line.startswith("## ")
        ]
        assert dates and all(dates), page
        days = [date[1] for date in dates]
        assert days == sorted(days, reverse=True), f"{page}: newest first"


def test_generated_pages_are_current():
    done = subprocess.run([sys.executable, ROOT / "docs/generate.py", "--check"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_a_key_without_a_description_is_refused(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "docs")
    import generate

    monkeypatch.setattr(RunConfig.model_fields["seed"], "description", None)
    with pytest.raises(SystemExit, match="seed"):
        generate.config_page()


def test_every_command_and_option_has_a_help_text():
    for name, command in cli.commands.items():
        assert command.help, name
        for parameter in command.params:
            assert isinstance(parameter, click.Argument) or parameter.help, f"{name}: {parameter.name}"


def test_examples_are_valid():
    files = [*ROOT.glob("examples/*.toml"), ROOT / "src/tinsmith/commands/demo.toml"]
    assert len(files) >= 3
    for path in files:
        RunConfig.model_validate(tomllib.loads(path.read_text(encoding="utf-8")))
