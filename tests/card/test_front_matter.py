"""The YAML block that hubs read: complete, lossless, and nothing assumed."""

import pytest
import yaml
from huggingface_hub import ModelCard
from huggingface_hub.repocard_data import eval_results_to_model_index, model_index_to_eval_results

from fake_run import AUTHOR, write_run
from tinsmith.card.evidence import read_evidence
from tinsmith.card.facts import Facts
from tinsmith.card.front_matter import front_matter
from tinsmith.card.license import HUB_LICENSES
from tinsmith.card.metrics import DataPart, Metric, published_metrics
from tinsmith.core.config import CardConfig
from tinsmith.core.measure import Measurement, current_measurements
from tinsmith.core.run_dir import file_sha256, read_json, write_json
from tinsmith.model.package_format import MEASURED_GRAPHS


@pytest.fixture
def page(full_run) -> str:
    return (full_run.stage("card") / "README.md").read_text()


@pytest.fixture
def tree(page) -> dict:
    return yaml.safe_load(page.split("---\n")[1])


@pytest.fixture
def results(tree):
    return {one.metric_args["id"]: one for one in model_index_to_eval_results(tree["model-index"])[1]}


def facts_of(run, **author) -> Facts:
    return Facts(read_evidence(run), CardConfig(**author))


def test_a_round_trip_through_the_hubs_library_loses_nothing(page, tree, monkeypatch):
    monkeypatch.setattr(ModelCard, "validate", None)  # it would send the card to the Hub
    card = ModelCard(page)
    assert card.data.to_dict() == tree
    assert yaml.safe_load(ModelCard(str(card)).data.to_yaml()) == tree
    name, results = model_index_to_eval_results(tree["model-index"])
    assert name == "Tea Shop" and len(results) > 10
    assert eval_results_to_model_index(name, results) == tree["model-index"]


def test_what_a_hub_asks_for_is_there(tree):
    assert tree["license"] == "gemma" and tree["license"] in HUB_LICENSES
    assert (tree["base_model"], tree["base_model_relation"]) == ("tea/base-1b", "finetune")
    assert (tree["pipeline_tag"], tree["library_name"], tree["language"]) == (
        "text-generation",
        "transformers.js",
        "en",
    )
    assert {"datasets", "co2_eq_emissions"} & set(tree) == set()


def test_base_tuned_and_every_graph_a_browser_runs_have_a_row(results):
    models = ["base", "tuned", *MEASURED_GRAPHS]
    rows = [results[f"evaluate.perplexity.test.{model}"] for model in models]
    assert len({row.metric_name for row in rows}) == len(models) == 5
    assert "WASM" in results["evaluate.perplexity.test.int4_int8"].metric_name
    assert "base model" in rows[0].metric_name


def test_a_row_has_number_interval_count_and_data(full_run, results):
    measured = {m.id: m for m in current_measurements(full_run)}["evaluate.perplexity.test.int4"]
    int4 = results[measured.id]
    bounds = {key: bound for key, bound in int4.metric_args.items() if key.startswith("ci95")}
    assert int4.metric_value == pytest.approx(measured.value, abs=0.05)
    assert bounds == pytest.approx(measured.spread, abs=0.05) and len(bounds) == 2
    assert (int4.metric_args["n"], int4.metric_args["n_of"]) == (measured.count, "conversations")
    assert int4.dataset_revision == file_sha256(full_run.stage("data") / "test.jsonl")


def test_the_pages_rates_are_fractions_of_their_questions(full_run, results):
    measured = {m.id: m for m in current_measurements(full_run)}
    rates = {id: row for id, row in results.items() if id.startswith("answers.")}
    assert {"answers.known.right", "answers.known.wrong", "answers.near.refused", "answers.far.refused"} <= set(rates)
    for id, row in rates.items():
        assert row.metric_value == pytest.approx(measured[id].value, abs=0.01)
        bounds = {key: bound for key, bound in row.metric_args.items() if key.startswith("ci95")}
        assert bounds == pytest.approx(measured[id].spread, abs=0.01)
        assert row.dataset_revision == file_sha256(full_run.stage("knowledge") / "answers_questions.jsonl")


def test_a_site_without_answers_has_no_rates(full_run):
    config = read_json(full_run.config)
    write_json(full_run.config, {**config, "answers": {"publish": False}})
    ids = {metric.measurement.id for metric in published_metrics(facts_of(full_run))}
    assert ids and not any(id.startswith("answers.") for id in ids)


def test_what_was_not_measured_has_no_row(tmp_path):
    tree = yaml.safe_load(front_matter(facts_of(write_run(tmp_path / "tea-bot", ("base", "data"))), "tea-bot"))
    assert "model-index" not in tree


def test_facts_and_grades_get_rows_of_their_own(full_run):
    evidence = read_evidence(full_run)
    ids = (
        "evaluate.facts.trained.base",
        "evaluate.facts.held_out_new.page",
        "review.accuracy.int4",
        "judge.factual.tuned",
    )
    evidence.measurements.update({id: Measurement(id, 0.5, "fraction", 6, "facts", "m") for id in ids})
    tree = yaml.safe_load(front_matter(Facts(evidence, CardConfig()), "x"))
    rows = {one.metric_args["id"]: one for one in model_index_to_eval_results(tree["model-index"])[1]}
    assert set(ids) <= set(rows)
    assert len({rows[id].unique_identifier for id in ids}) == 4, "else one would take over the other's data"
    assert eval_results_to_model_index("x", list(rows.values())) == tree["model-index"]


@pytest.mark.parametrize(
    ("value", "unit", "spread", "expected", "interval"),
    [
        (0.7333333, "fraction", {"ci95_low": 0.6099, "ci95_high": 0.8288}, 0.73, (0.61, 0.83)),
        (1234.56, "perplexity", {"ci95_low": 1200.0, "ci95_high": 1270.0}, 1235.0, (1200.0, 1270.0)),
        (2.0, "out of 10", {"min": 1.0, "max": 3.0}, 2.0, None),
    ],
)
def test_numbers_are_rounded_as_on_the_card_and_carry_no_unit(value, unit, spread, expected, interval):
    metric = Metric(Measurement("x", value, unit, 6, "items", "m", spread), "x", "x", "x", DataPart("", "", "", ""))
    assert (metric.value, metric.interval) == (expected, interval)


def test_data_sets_are_listed_if_the_author_names_them(tmp_path):
    run = write_run(tmp_path / "tea-bot", ("base",))
    tree = yaml.safe_load(front_matter(facts_of(run, datasets=["tea/prices"]), "tea-bot"))
    assert tree["datasets"] == ["tea/prices"]


@pytest.mark.parametrize(
    ("license", "expected"),
    [
        ({"id": "llama3.2", "name": "Llama 3.2 Community License"}, {"license": "llama3.2"}),
        ({"id": "Apache-2.0"}, {"license": "apache-2.0"}),
        (
            {"id": "Tea Licence v2", "link": "https://tea.example/licence"},
            {"license": "other", "license_name": "tea-licence-v2", "license_link": "https://tea.example/licence"},
        ),
        (
            {"id": "Tea", "files": ["LICENSE.txt"]},
            {"license": "other", "license_name": "tea", "license_link": "LICENSE.txt"},
        ),
        ({}, {}),
    ],
)
def test_the_licence_is_the_base_models_and_never_assumed(tmp_path, license, expected):
    run = write_run(tmp_path / "tea-bot", ("base",))
    base = run.stage("base") / "base.json"
    write_json(base, {**read_json(base), "license": license})
    tree = yaml.safe_load(front_matter(facts_of(run), "tea-bot"))
    assert {key: value for key, value in tree.items() if key.startswith("license")} == expected


def test_a_local_base_is_not_offered_as_a_hub_id(tmp_path):
    run = write_run(tmp_path / "tea-bot", ("base",))
    base = run.stage("base") / "base.json"
    write_json(base, {**read_json(base), "id": "my-own-model"})
    assert "base_model" not in yaml.safe_load(front_matter(facts_of(run, **AUTHOR), "tea-bot"))
