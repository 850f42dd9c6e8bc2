"""The bill of materials is valid CycloneDX, and says of the run what the run says."""

import json
import re
import shutil

import pytest
from packageurl import PackageURL

from fake_run import AUTHOR, STAMPED, write_run
from tinsmith.card.bom import bom
from tinsmith.card.evidence import read_evidence
from tinsmith.card.facts import Facts
from tinsmith.core.config import CardConfig
from tinsmith.core.measure import current_measurements
from tinsmith.core.run_dir import RunDir, file_sha256, read_json, write_json
from validators import bom_errors


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return write_run(tmp_path_factory.mktemp("runs") / "tea-bot", author=AUTHOR)


def bom_of(run, **author) -> bytes:
    return bom(Facts(read_evidence(run), CardConfig(**author)), "tea-bot")


@pytest.fixture(scope="module")
def tree(run) -> dict:
    return json.loads(bom_of(run, **AUTHOR))


def components(part: dict):
    """Every component at any depth, the model's ancestors too."""
    for one in [*part.get("components", ()), *part.get("pedigree", {}).get("ancestors", ())]:
        yield one
        yield from components(one)


def all_components(tree: dict) -> list[dict]:
    model = tree["metadata"]["component"]
    return [model, *components(model), *components(tree)]


@pytest.mark.parametrize("stages", [(), ("base",), ("base", "data"), STAMPED], ids=len)
@pytest.mark.parametrize("author", [{}, AUTHOR, {"author": "A", "email": "nobody", "url": "no address"}], ids=len)
def test_the_strict_schema_accepts_it(tmp_path, stages, author):
    assert bom_errors(bom_of(write_run(tmp_path / "tea-bot", stages), **author)) == []


def test_the_newer_version_accepts_it_too(tree):
    assert (
        bom_errors(
            json.dumps({**tree, "specVersion": "1.7", "$schema": tree["$schema"].replace("1.6", "1.7")}).encode()
        )
        == []
    )


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("perplexity",), 9),
        (("metadata", "component", "modelCard", "accuracy"), "10 of 10"),
        (("metadata", "component", "modelCard", "quantitativeAnalysis", "performanceMetrics", 0, "unit"), "x"),
        (("metadata", "component", "modelCard", "quantitativeAnalysis", "performanceMetrics", 0, "value"), 9.0),
        (("components", 0, "hashes", 0, "content"), "abc"),
        (("components", 0, "type"), "model"),
        (("serialNumber",), "1"),
    ],
)
def test_the_strict_schema_refuses_what_is_wrong(tree, path, value):
    wrong = json.loads(json.dumps(tree))
    *parents, last = path
    place = wrong
    for key in parents:
        place = place[key]
    place[last] = value
    assert bom_errors(json.dumps(wrong).encode())


def test_references_are_unique_and_lead_somewhere(tree):
    refs = [one["bom-ref"] for one in all_components(tree) if "bom-ref" in one]
    assert len(refs) == len(set(refs))
    named = {one["ref"] for one in tree["metadata"]["component"]["modelCard"]["modelParameters"]["datasets"]}
    named |= {ref for entry in tree["dependencies"] for ref in (entry["ref"], *entry["dependsOn"])}
    assert named <= set(refs) and {"model", "base", "data-test"} <= named


def test_package_urls_are_canonical(tree):
    purls = [one["purl"] for one in all_components(tree) if "purl" in one]
    assert [PackageURL.from_string(purl).to_string() for purl in purls] == purls
    assert "pkg:pypi/torch@2.13.0" in purls


@pytest.mark.parametrize(
    ("source", "id", "revision", "purl"),
    [
        ("hub", "tea/base-1b", "AB" * 20, f"pkg:huggingface/tea/base-1b@{'ab' * 20}"),
        ("registry", "tea/base-1b", "llm_tea==0.1.2+cpu", "pkg:pypi/llm-tea@0.1.2%2Bcpu"),
        ("registry", "tea/base-1b", "a==1, b==2", None),
        ("folder", "my-model", None, None),
    ],
)
def test_the_base_says_where_its_files_came_from(tmp_path, source, id, revision, purl):
    run = write_run(tmp_path / "tea-bot", ("base",))
    record = read_json(run.stage("base") / "base.json")
    record |= {"source": source, "id": id, "revision": revision, "files": {"model.safetensors": "ab" * 32}}
    record["architecture"] = "LlamaForCausalLM"
    write_json(run.stage("base") / "base.json", record)
    content = bom_of(run)
    (base,) = json.loads(content)["metadata"]["component"]["pedigree"]["ancestors"]
    assert bom_errors(content) == []
    parameters = json.loads(content)["metadata"]["component"]["modelCard"]["modelParameters"]
    assert parameters["modelArchitecture"] == "LlamaForCausalLM"
    assert (base.get("purl"), base["name"]) == (purl, id.split("/")[-1])
    assert base["licenses"][0]["license"]["name"] == "gemma"
    assert base["components"][0]["hashes"] == [{"alg": "SHA-256", "content": "ab" * 32}]


def test_hashes_are_those_of_the_files(run, tree):
    model = tree["metadata"]["component"]
    package = run.stage("export") / "package"
    listed = {one["name"]: one["hashes"][0]["content"] for one in model["components"]}
    on_disk = {path.relative_to(package).as_posix(): file_sha256(path) for path in package.rglob("*") if path.is_file()}
    assert listed == on_disk and len(listed) > 2
    (test,) = [one for one in tree["components"] if one["bom-ref"] == "data-test"]
    assert test["hashes"][0]["content"] == file_sha256(run.stage("data") / "test.jsonl")
    assert test["licenses"][0]["license"]["id"] == "CC-BY-4.0"


def test_the_chat_templates_hash_is_a_property(tmp_path):
    run = write_run(tmp_path / "tea-bot", ("base", "export"))
    stamp = read_json(run.stamp("export"))
    stamp["outputs"]["package/chat_template.jinja"] = "cd" * 32
    write_json(run.stamp("export"), stamp)
    properties = json.loads(bom_of(run))["metadata"]["component"]["properties"]
    assert properties == [{"name": "tinsmith:chat_template.sha256", "value": "cd" * 32}]


def test_metrics_are_the_measurements_at_full_precision(run, tree):
    measured = {m.id: m for m in current_measurements(run)}
    metrics = {
        one["type"]: one
        for one in tree["metadata"]["component"]["modelCard"]["quantitativeAnalysis"]["performanceMetrics"]
    }
    for id, name in (
        ("evaluate.perplexity.test.tuned", "Perplexity (fine-tuned, bf16)"),
        ("answers.known.wrong", "The chat page gave a wrong passage as the answer"),
    ):
        spread = measured[id].spread
        assert float(metrics[name]["value"]) == measured[id].value
        bounds = metrics[name]["confidenceInterval"]
        assert (float(bounds["lowerBound"]), float(bounds["upperBound"])) == (spread["ci95_low"], spread["ci95_high"])
    base = measured["evaluate.perplexity.test.base"]
    assert metrics["Perplexity (base model)"]["slice"].endswith(f"; {base.count} conversations")


def test_considerations_are_the_authors_words_and_the_measured_energy(tree):
    considerations = tree["metadata"]["component"]["modelCard"]["considerations"]
    assert considerations == {
        "useCases": ["Answer questions about tea"],
        "technicalLimitations": ["Out of scope: Medical advice", "Knowledge cutoff: 2024-06"],
        "ethicalConsiderations": [{"name": "Wrong prices", "mitigationStrategy": "Prices are on the wall"}],
        "environmentalConsiderations": {"properties": [{"name": "tinsmith:train.energy_joules", "value": "5400.5"}]},
    }


def test_without_the_authors_words_and_energy_there_are_no_considerations(tmp_path):
    run = write_run(tmp_path / "tea-bot", ("base", "data"))
    assert "considerations" not in json.loads(bom_of(run))["metadata"]["component"]["modelCard"]


def test_the_parts_are_listed_with_their_versions(run, tree):
    parts = {one["bom-ref"]: one for one in tree["components"]}
    assert parts["pkg:pypi/torch@2.13.0"]["scope"] == "excluded", "it made the model, and does not ship with it"
    encoders = [one for ref, one in parts.items() if ref.startswith("encoder-")]
    assert [(one["name"], one["purl"]) for one in encoders] == [
        ("tea/mini-encoder", "pkg:huggingface/tea/mini-encoder")
    ]
    parameters = tree["metadata"]["component"]["modelCard"]["properties"]
    assert {"name": "tinsmith:train.lora_rank", "value": "16"} in parameters


def test_the_browser_runtime_is_the_measured_one(tmp_path):
    run = write_run(tmp_path / "tea-bot")
    record = read_json(run.stage("bench") / "wasm.json")
    write_json(run.stage("bench") / "wasm.json", {**record, "runtime": {"@huggingface/transformers": "4.3.1"}})
    parts = [one for one in json.loads(bom_of(run))["components"] if one["type"] == "library"]
    assert parts[0] == {
        "type": "library",
        "bom-ref": "pkg:npm/%40huggingface/transformers@4.3.1",
        "name": "@huggingface/transformers",
        "version": "4.3.1",
        "scope": "required",
        "purl": "pkg:npm/%40huggingface/transformers@4.3.1",
    }


def test_a_copy_elsewhere_gives_the_same_bytes(run, tmp_path):
    shutil.copytree(run.root, tmp_path / "elsewhere")
    assert bom_of(RunDir(tmp_path / "elsewhere"), **AUTHOR) == bom_of(run, **AUTHOR)
    assert not re.search(rb'"/|file:', bom_of(run, **AUTHOR))


def test_another_run_has_another_serial_number(run, tmp_path):
    numbers = {json.loads(bom_of(one, **AUTHOR))["serialNumber"] for one in (run, write_run(tmp_path / "b", ("base",)))}
    assert len(numbers) == 2
