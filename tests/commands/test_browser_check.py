"""A run that will need a browser says so before it trains, and one that will not is left alone."""

import pytest

from tinsmith.commands.browser_check import require_browser
from tinsmith.commands.run import RunOptions, run
from tinsmith.core.errors import MissingDependency
from tinsmith.core.run_dir import RunDir, write_json


@pytest.fixture
def nothing_installed(tmp_path, monkeypatch):
    monkeypatch.setenv("TINSMITH_BROWSER", "/nowhere/chromium")
    monkeypatch.setenv("TINSMITH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("npm_config_registry", "http://127.0.0.1:9")
    monkeypatch.setattr("tinsmith.browser.download._PAUSES_SECONDS", ())


def test_a_run_without_chromium_stops_before_its_first_stage(nothing_installed, tmp_path, monkeypatch):
    monkeypatch.setattr("tinsmith.data.stage.check_data", lambda config, seed: None)
    (tmp_path / "tinsmith.toml").write_text('[data]\npath = "chats.jsonl"\n')
    with pytest.raises(MissingDependency, match="/nowhere/chromium"):
        run(tmp_path / "tinsmith.toml", RunOptions(runs_dir=tmp_path / "runs"))
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(("first", "last", "problem"), [("base", "bench", "chromium"), ("app", "app", "cannot fetch")])
def test_each_stage_asks_for_what_it_needs(nothing_installed, tmp_path, first, last, problem):
    with pytest.raises(MissingDependency, match=problem):
        require_browser(RunDir(tmp_path), first, last)


def test_stages_without_a_browser_and_finished_ones_ask_for_nothing(nothing_installed, tmp_path):
    folder = RunDir(tmp_path)
    require_browser(folder, "base", "evaluate")
    for name in ("bench", "card", "app"):
        write_json(folder.stamp(name), {})
    require_browser(folder, "base", "app")


def test_data_is_read_first_only_to_spare_a_download(nothing_installed, tmp_path, monkeypatch):
    """Reading a million conversations takes minutes, and the data stage does it anyway."""
    checked = []
    monkeypatch.setattr("tinsmith.data.stage.check_data", lambda config, seed: checked.append(config.path))
    (tmp_path / "tinsmith.toml").write_text('name = "shop"\n[data]\npath = "chats.jsonl"\n')
    for finished in (False, True):
        if finished:
            write_json(RunDir(tmp_path / "runs" / "shop").stamp("base"), {})
        with pytest.raises(MissingDependency):
            run(tmp_path / "tinsmith.toml", RunOptions(runs_dir=tmp_path / "runs"))
        assert len(checked) == 1
