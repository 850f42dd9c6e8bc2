"""Commands replace only what tinsmith made, for the configuration it was made for, and what they print can be typed."""

import shlex
from pathlib import Path

import pytest
from click.testing import CliRunner

from fake_stages import replace_stages
from tinsmith.cli import main
from tinsmith.pipeline.stages import STAGE_NAMES


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch) -> Path:
    """An empty current folder, and stages that do next to nothing."""
    replace_stages(monkeypatch)
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    return tmp_path / "here"


def _tinsmith(*arguments):
    return CliRunner().invoke(main, [*map(str, arguments)])


def _project(folder: Path, name: str | None = None) -> Path:
    """A configuration in `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "tinsmith.toml").write_text(f'name = "{name}"\n' if name else "")
    return folder / "tinsmith.toml"


def _files(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def _refused(done, *words):
    assert done.exit_code == 2 and done.stderr.count("error: ") == 1 and "  -> " in done.stderr, done.stderr
    for word in words:
        assert word in done.stderr, done.stderr


def test_a_project_is_not_taken_for_a_run(here):
    config = _project(here / "my-guide", "my-guide")
    (here / "my-guide/data").mkdir()
    (here / "my-guide/data/chats.jsonl").write_text("precious\n")
    before = _files(here)
    _refused(_tinsmith("run", config, "--runs", "."), "my-guide: not made by tinsmith", "--set name=", "--runs")
    assert _files(here) == before and not (here / "my-guide/.lock").exists()


def test_a_base_model_is_not_taken_for_a_run(here):
    model = here / "my-model"
    model.mkdir()
    (model / "config.json").write_text('{"model_type": "llama"}')
    (model / "model.safetensors").write_text("weights")
    before = _files(here)
    _refused(_tinsmith("run", _project(here / "project"), "--runs", "."), "not made by tinsmith")
    _refused(_tinsmith("card", model), "not a run folder")
    _refused(_tinsmith("bench", model), "not a run folder")
    assert _files(model) == {name.removeprefix("my-model/"): content for name, content in before.items()}


def test_a_folder_that_a_stage_did_not_make_is_not_replaced(here):
    config = _project(here)
    assert _tinsmith("run", config, "--to", "base").exit_code == 0
    (here / "runs/my-model/data").mkdir()
    (here / "runs/my-model/data/chats.jsonl").write_text("precious\n")
    before = _files(here)
    _refused(_tinsmith("run", config), "runs/my-model/data: the stage 'data' would replace it", "Move it elsewhere")
    assert _files(here) == before
    (here / "runs/my-model/data").rename(here / "chats")
    assert _tinsmith("run", config).exit_code == 0


@pytest.mark.parametrize("name", ["data", ".work", "stamps", "environments"])
def test_a_link_inside_a_run_is_not_followed(here, name):
    config = _project(here)
    assert _tinsmith("run", config, "--to", "base").exit_code == 0
    elsewhere = here / "elsewhere"
    place = here / "runs/my-model" / name
    if place.exists():
        place.rename(elsewhere)
    else:
        elsewhere.mkdir()
    (elsewhere / "data-notes").mkdir()
    (elsewhere / "data-notes/notes.txt").write_text("precious\n")
    place.symlink_to(elsewhere)
    before = _files(elsewhere)
    _refused(_tinsmith("run", config), f"runs/my-model/{name}: a link")
    assert _files(elsewhere) == before and place.is_symlink()


def test_a_link_in_the_place_of_the_lock_is_not_followed(here):
    config = _project(here)
    (here / "runs/my-model").mkdir(parents=True)
    (here / "victim").write_text("precious")
    (here / "runs/my-model/.lock").symlink_to(here / "victim")
    _refused(_tinsmith("run", config), ".lock")
    assert (here / "victim").read_text() == "precious"


def test_a_run_folder_may_be_a_link_to_an_empty_folder_but_to_no_other(here):
    config = _project(here)
    (here / "big-disk").mkdir()
    (here / "runs").mkdir()
    (here / "runs/my-model").symlink_to(here / "big-disk")
    assert _tinsmith("run", config).exit_code == 0
    assert (here / "big-disk/app/file.txt").exists()
    (here / "photos").mkdir()
    (here / "photos/a.jpg").write_text("precious")
    (here / "runs/other").symlink_to(here / "photos")
    _refused(_tinsmith("run", config, "--set", "name=other"), "runs/other: not made by tinsmith")
    assert _files(here / "photos") == {"a.jpg": b"precious"}


def test_two_projects_of_one_name_do_not_replace_each_others_run(here):
    first, second = _project(here / "first"), _project(here / "second")
    assert _tinsmith("run", first).exit_code == 0
    before = _files(here / "runs")
    done = _tinsmith("run", second, "--set", "train.epochs=9")
    _refused(done, "runs/my-model: this run belongs to another configuration file", "--set name=", "--runs", "--adopt")
    assert _files(here / "runs") == before
    assert _tinsmith("run", second, "--set", "name=second").exit_code == 0
    assert _tinsmith("run", first).stderr.count("up to date") == len(STAGE_NAMES)


def test_a_project_moved_as_a_whole_goes_on(here):
    _project(here / "old")
    assert _tinsmith("run", "old/tinsmith.toml", "--runs", "old/runs").exit_code == 0
    (here / "old").rename(here / "new")
    done = _tinsmith("run", "new/tinsmith.toml", "--runs", "new/runs")
    assert done.exit_code == 0 and done.stderr.count("up to date") == len(STAGE_NAMES)


def test_a_moved_configuration_adopts_its_run_when_told(here):
    assert _tinsmith("run", _project(here / "old")).exit_code == 0
    (here / "old").rename(here / "new")
    _refused(_tinsmith("run", "new/tinsmith.toml"), "--adopt")
    done = _tinsmith("run", "new/tinsmith.toml", "--adopt")
    assert done.exit_code == 0 and done.stderr.count("up to date") == len(STAGE_NAMES)
    assert _tinsmith("run", "new/tinsmith.toml").exit_code == 0


def test_the_mark_names_no_path(here):
    assert _tinsmith("run", _project(here)).exit_code == 0
    mark = (here / "runs/my-model/tinsmith-run.json").read_text()
    assert here.name not in mark and "tinsmith.toml" not in mark and "/" not in mark


def test_demo_twice_is_one_run_and_another_project_called_demo_is_not_it(here):
    assert _tinsmith("demo").exit_code == 0
    done = _tinsmith("demo")
    assert done.exit_code == 0 and done.stderr.count("up to date") == len(STAGE_NAMES)
    _refused(_tinsmith("run", _project(here, "demo")), "belongs to another configuration file")


def test_demo_works_where_its_data_lies_in_a_path_with_quotes(here, monkeypatch):
    place = here / 'it\'s "here"'
    monkeypatch.setattr("importlib.resources.files", lambda package: place)
    configs = []
    monkeypatch.setattr("tinsmith.commands.demo.run_and_report", lambda config, *arguments: configs.append(config))
    assert _tinsmith("demo").exit_code == 0
    assert configs[0].data.path == str(place / "data/faq-en.jsonl")


def test_card_and_bench_work_on_the_run_they_are_given(here):
    assert _tinsmith("run", _project(here)).exit_code == 0
    (here / "runs/my-model").rename(here / "renamed")
    done = _tinsmith("card", "renamed")
    assert done.exit_code == 0 and not (here / "runs/my-model").exists() and not (here / "my-model").exists()
    assert "Next: tinsmith serve renamed" in done.stderr


@pytest.mark.parametrize("folder", ["plain", "with space", "it's", "$(touch pwned)", "ünï"])
def test_the_next_command_can_be_typed(here, folder):
    config = _project(here / folder, "tea")
    done = _tinsmith("run", config, "--runs", here / folder / "my runs", "--to", "base", "--set", "card.author=A B")
    assert done.exit_code == 0, done.stderr
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("Next: ")]
    arguments = shlex.split(line.removeprefix("Next: tinsmith "))
    assert arguments[:2] == ["run", str(config)]
    done = _tinsmith(*arguments)
    assert done.exit_code == 0 and done.stderr.count("up to date") >= 1, done.stderr
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("Next: ")]
    assert shlex.split(line) == ["Next:", "tinsmith", "serve", str(here / folder / "my runs/tea")]


@pytest.mark.parametrize(
    ("folder", "name"),
    [
        ("My Guide", "my-guide"),
        ("größe_2.0", "grosse_2.0"),
        ("./--x--", "x"),
        ("茶", "my-model"),
        ("a" * 100, "a" * 64),
        ("crème brûlée", "creme-brulee"),
    ],
)
def test_init_names_the_run_after_its_folder(here, folder, name):
    done = _tinsmith("init", folder)
    assert done.exit_code == 0
    assert f'\nname = "{name}"\n' in (here / folder / "tinsmith.toml").read_text()
    line = done.stderr.splitlines()[-1]
    assert shlex.split(line)[-3:] == ["tinsmith", "check", f"{folder}/tinsmith.toml"]
    assert _tinsmith("run", here / folder / "tinsmith.toml").exit_code == 0
    assert (here / "runs" / name / "app").is_dir()


def test_init_in_place_of_a_file_is_a_message(here):
    (here / "notes").write_text("precious")
    _refused(_tinsmith("init", "notes"), "notes: a file, not a folder")
