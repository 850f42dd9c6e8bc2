"""Configuration problems are reported all at once, with the key and what to write instead."""

import re
import tomllib

import pytest

from tinsmith.core.config import CardExample, RunConfig, commented_toml, load_config
from tinsmith.core.errors import ConfigError


def _load(tmp_path, text, *settings):
    path = tmp_path / "tinsmith.toml"
    path.write_text(text)
    return load_config(path, settings)


def test_all_problems_at_once_with_suggestion(tmp_path):
    with pytest.raises(ConfigError) as error:
        _load(tmp_path, "[train]\nepoch = 3\nlearning_rate = -1\n[bench]\nruns = 2\n[cards]\nx = 1\n")
    text = error.value.message
    assert "4 problem(s)" in text
    assert "train.epoch: unknown key, did you mean 'epochs'?" in text
    assert "train.learning_rate: Input should be greater than 0 (found -1)" in text
    assert "bench.runs" in text and "cards: unknown key, did you mean 'card'?" in text


def test_broken_toml_names_the_line(tmp_path):
    with pytest.raises(ConfigError, match="line 2"):
        _load(tmp_path, 'name = "x"\nseed = = 3\n')


def test_missing_file(tmp_path):
    with pytest.raises(ConfigError, match="no such configuration file"):
        load_config(tmp_path / "nothing.toml")


def test_settings_override_and_paths_follow_the_file(tmp_path):
    config = _load(tmp_path, '[data]\npath = "chats"\n', "train.epochs=1", "name=tea", "train.learning_rate=1e-3")
    assert (config.train.epochs, config.name, config.train.learning_rate) == (1, "tea", 1e-3)
    assert config.data.path == str(tmp_path / "chats")
    with pytest.raises(ConfigError, match="expected key=value"):
        _load(tmp_path, "", "train.epochs")
    with pytest.raises(ConfigError, match="'name' is not a section"):
        _load(tmp_path, 'name = "x"', "name.first=1")


def test_commented_toml_is_the_default_configuration():
    text = commented_toml()
    assert RunConfig.model_validate(tomllib.loads(text)) == RunConfig()
    assert "# Peak learning rate" in text


@pytest.mark.parametrize(
    ("setting", "key"),
    [
        ('app.questions=["  "]', "app.questions.0"),
        (f"app.questions={['x'] * 9}", "app.questions"),
        (f'app.questions=["{"x" * 501}"]', "app.questions.0"),
        ('card.examples=[{ question = "x" }]', "card.examples.0.reference"),
        ('card.examples=[{ question = "x", reference = "y", answer = "z" }]', "card.examples.0.answer"),
    ],
)
def test_texts_to_publish_have_bounds(tmp_path, setting, key):
    path = tmp_path / "tinsmith.toml"
    path.write_text("")
    with pytest.raises(ConfigError, match=rf"{re.escape(key)}: "):
        load_config(path, (setting,))


def test_texts_to_publish_are_stripped(tmp_path):
    path = tmp_path / "tinsmith.toml"
    path.write_text('app.questions = [" What? "]\ncard.examples = [{ question = " a\\n", reference = " b " }]\n')
    config = load_config(path)
    assert config.app.questions == ("What?",)
    assert config.card.examples[0] == CardExample(question="a", reference="b")
