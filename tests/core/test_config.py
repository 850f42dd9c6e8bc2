"""Configuration problems are reported all at once, with the key and what to write instead."""

import re
import tomllib

import pytest

from tinsmith.core.config import CardExample, RunConfig
from tinsmith.core.config_file import commented_toml, load_config, validate_config
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
    assert "train.learning_rate: must be more than 0 (found -1)" in text
    assert "bench.runs" in text and "cards: unknown key, did you mean 'card'?" in text


def test_broken_toml_names_the_line(tmp_path):
    with pytest.raises(ConfigError, match="line 2"):
        _load(tmp_path, 'name = "x"\nseed = = 3\n')


def test_missing_file(tmp_path):
    with pytest.raises(ConfigError, match="no such configuration file"):
        load_config(tmp_path / "nothing.toml")


def test_settings_override_and_paths_follow_the_file(tmp_path):
    config = _load(
        tmp_path,
        '[data]\npath = "chats"\ndocuments = "docs"\n[answers]\nquestions = "asked.csv"\n',
        "train.epochs=1",
        "name=tea",
        "train.learning_rate=1e-3",
    )
    assert (config.train.epochs, config.name, config.train.learning_rate) == (1, "tea", 1e-3)
    assert (config.data.path, config.data.documents) == (str(tmp_path / "chats"), str(tmp_path / "docs"))
    assert config.answers.questions == str(tmp_path / "asked.csv")
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
        ('app.questions=["  "]', "app.questions entry 1"),
        (f"app.questions={['x'] * 9}", "app.questions"),
        (f'app.questions=["{"x" * 501}"]', "app.questions entry 1"),
        ('card.examples=[{ question = "x" }]', "card.examples entry 1, reference"),
        ('card.examples=[{ question = "x", reference = "y", answer = "z" }]', "card.examples entry 1, answer"),
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


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("seed = -1", "seed"),
        (f"seed = {2**70}", "seed"),
        ("seed = true", "seed"),
        ('seed = "17"', "seed"),
        ("[train]\nlearning_rate = inf", "train.learning_rate"),
        ("[train]\nlearning_rate = nan", "train.learning_rate"),
        ("[train]\nlearning_rate = true", "train.learning_rate"),
        ("[train]\nlearning_rate = 50", "train.learning_rate"),
        ("[train]\nepochs = 1e12", "train.epochs"),
        ("[train]\nepochs = 1_000_000_000_000", "train.epochs"),
        ("[train]\nbatch_size = true", "train.batch_size"),
        ("[train]\nbatch_size = 2.0", "train.batch_size"),
        ("[train]\nlora_rank = 1_000_000", "train.lora_rank"),
        ("[train]\nmax_grad_norm = inf", "train.max_grad_norm"),
        ("[data]\ndrop_invalid = 1", "data.drop_invalid"),
        ("[data]\nval_fraction = nan", "data.val_fraction"),
        ("[data]\nmax_tokens = 1_000_000_000", "data.max_tokens"),
        ('[data]\npath = "a\\u0000b"', "data.path"),
        ('[data]\nsystem_prompt = "\\u001b[2J"', "data.system_prompt"),
        ("[bench]\nprompt_tokens = [-5]", "bench.prompt_tokens entry 1"),
        ("[bench]\nprompt_tokens = [32, true]", "bench.prompt_tokens entry 2"),
        ("[bench]\nprompt_tokens = [32, 32]", "bench.prompt_tokens"),
        ("[bench]\ndevices = []", "bench.devices"),
        ('[bench]\ndevices = ["wasm", "wasm"]', "bench.devices"),
        ('[bench]\ndevices = "wasm"', "bench.devices"),
        ("[export]\nmax_perplexity_ratio = inf", "export.max_perplexity_ratio"),
        ("[evaluate]\nmax_new_tokens = 100_000_000", "evaluate.max_new_tokens"),
        ('[card]\nrisks = ["a", "a"]', "card.risks"),
        ('[base]\nmodel = ""', "base.model"),
    ],
)
def test_what_cannot_work_is_refused_before_anything_runs(tmp_path, text, key):
    with pytest.raises(ConfigError) as error:
        _load(tmp_path, text)
    assert "1 problem(s)" in error.value.message and f"  {key}: must " in error.value.message


def test_every_number_has_bounds():
    for name, section in RunConfig.model_json_schema()["$defs"].items():
        for key, schema in section["properties"].items():
            for kind in (schema, schema.get("items", {})):
                if kind.get("type") in ("integer", "number"):
                    assert {"minimum", "exclusiveMinimum"} & kind.keys(), f"{name}.{key}"
                    assert {"maximum", "exclusiveMaximum"} & kind.keys(), f"{name}.{key}"


def test_every_key_says_what_it_means():
    for name, field in RunConfig.model_fields.items():
        inner = getattr(field.annotation, "model_fields", {name: field})
        for key, described in inner.items():
            assert described.description, f"{name}.{key}"


def test_half_a_surrogate_pair_from_the_command_line_is_refused(tmp_path):
    with pytest.raises(ConfigError, match=r"card.author: must not contain half of a surrogate pair"):
        _load(tmp_path, "", "card.author=caf\udce9")


@pytest.mark.parametrize("text", [f"seed = {'9' * 5000}", f"seed = {'[' * 5000}"])
def test_extreme_toml_is_a_message(tmp_path, text):
    with pytest.raises(ConfigError):
        _load(tmp_path, text)
    with pytest.raises(ConfigError, match="seed: must be a whole number"):
        _load(tmp_path, "", text.replace(" ", ""))


def test_a_configuration_survives_json(tmp_path):
    config = _load(tmp_path, '[bench]\ndevices = ["webgpu"]\n[card]\nrisks = ["a", "b"]\n')
    assert validate_config(config.model_dump(mode="json"), "config.json") == config


def test_values_are_taken_as_they_are(tmp_path):
    path = tmp_path / "tinsmith.toml"
    path.write_text('[data]\npath = "chats"\n')
    config = load_config(path, ("name=tea",), {"data.path": '/it\'s/a "path"'})
    assert (config.data.path, config.name) == ('/it\'s/a "path"', "tea")


def test_the_owners_name_is_short_and_is_the_title_by_default():
    assert RunConfig.model_validate({"name": "tea-bot"}).owner == "tea-bot"
    assert RunConfig.model_validate({"card": {"title": "Tea"}}).owner == "Tea"
    named = {"card": {"title": "Tea"}, "answers": {"owner": " Leaf & Kettle "}}
    assert RunConfig.model_validate(named).owner == "Leaf & Kettle"
    with pytest.raises(ConfigError, match=r"answers\.owner"):
        validate_config({"answers": {"owner": "x" * 81}}, "tea.toml")
