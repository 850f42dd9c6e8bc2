"""The bill of materials: what the model was made from and what ships with it, as CycloneDX 1.6 JSON.

Version 1.6 is the first with all fields used here that common readers take. Source: https://cyclonedx.org/docs/1.6/json/
"""

import json
import re
import uuid
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

from tinsmith.card.answers import SETTINGS, shows_passages
from tinsmith.card.citation import citation_of, is_address, is_email
from tinsmith.card.evidence import required
from tinsmith.card.facts import Facts
from tinsmith.card.license import License, base_license, model_license
from tinsmith.card.metrics import Metric, published_metrics
from tinsmith.core.run_dir import combined_sha256

BOM_FILE = "bom.cdx.json"
_SPLITS = ("train", "val", "test")
_SETTINGS = "epochs steps effective_batch_size learning_rate lora_rank lora_alpha trainable_parameters".split()
"""Measurements `train.<name>` that are listed as parameters."""

Tree = dict[str, Any]


def bom(facts: Facts, name: str) -> bytes:
    """The bill of materials of the run `name`. The same run gives the same bytes."""
    packages = [*_runtime_packages(facts), *_python_packages(facts)]
    parts = [*_data(facts), *_encoders(facts), *packages]
    model = _model(facts, name)
    shipped = [part["bom-ref"] for part in parts if part.get("scope") != "excluded"]
    ancestors = [base["bom-ref"] for base in model.get("pedigree", {}).get("ancestors", ())]
    tree = {
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": f"urn:uuid:{_serial_number(facts)}",
        "version": 1,
        "metadata": {**_made(facts), "component": model},
        "components": parts,
        "dependencies": [{"ref": model["bom-ref"], "dependsOn": ancestors + shipped}],
    }
    return (json.dumps(tree, indent=2, ensure_ascii=False, allow_nan=False) + "\n").encode()


def _serial_number(facts: Facts) -> uuid.UUID:
    stamps = {stage: stamp["fingerprint"] for stage, stamp in facts.evidence.stamps.items()}
    words = facts.config.model_dump(mode="json")
    return uuid.uuid5(uuid.NAMESPACE_URL, combined_sha256({"stamps": stamps, "card": words}))


def _made(facts: Facts) -> Tree:
    """When the run was evaluated, and with which version of tinsmith."""
    stamp = facts.evidence.stamps.get("evaluate")
    versions = sorted({env["tinsmith"] for env in facts.evidence.environments.values() if env.get("tinsmith")})
    tools = [{"type": "application", "name": "tinsmith", "version": version} for version in versions]
    made: Tree = {"timestamp": stamp["finished_at"]} if stamp else {}
    return made | ({"tools": {"components": tools}} if tools else {})


def _model(facts: Facts, name: str) -> Tree:
    config = facts.config
    citation = citation_of(facts, name)
    model: Tree = {"type": "machine-learning-model", "bom-ref": "model", "name": citation.title}
    model["version"] = citation.version
    if config.domain:
        model["description"] = config.domain
    if config.author:
        model["authors"] = [{"name": config.author, **({"email": config.email} if is_email(config.email) else {})}]
    model |= _licenses(model_license(facts))
    if is_address(citation.url):
        model["externalReferences"] = [{"type": "distribution", "url": citation.url}]
    if base := _base(facts):
        model["pedigree"] = {"ancestors": [base]}
    model |= {"components": _package_files(facts), "modelCard": _model_card(facts)}
    template = facts.evidence.sha256("export/package/chat_template.jinja")
    return model | _properties({"chat_template.sha256": template} if template else {})


def _base(facts: Facts) -> Tree | None:
    record = facts.evidence.record("base", "base.json")
    if record is None:
        return None
    id = required(record, "id", "base/base.json")
    group, _, name = id.rpartition("/")
    revision = record.get("revision")
    base: Tree = {"type": "machine-learning-model", "bom-ref": "base"} | ({"group": group} if group else {})
    base |= {"name": name, **({"version": revision} if revision else {}), **_licenses(base_license(facts))}
    if purl := _base_purl(record.get("source"), id, revision or ""):
        base["purl"] = purl
    files = record.get("files") or {}
    return base | ({"components": [_file(path, sha256) for path, sha256 in sorted(files.items())]} if files else {})


def _base_purl(source: str | None, id: str, revision: str) -> str:
    """Where the base's files came from; empty for a local folder or file."""
    if source == "hub":
        return f"pkg:huggingface/{quote(id)}@{revision.lower()}"
    pin = re.fullmatch(r"([\w.-]+)==([\w.+!-]+)", revision)
    return _purl("pypi", *pin.groups()) if source == "registry" and pin else ""


def _package_files(facts: Facts) -> list[Tree]:
    outputs = facts.evidence.stamps.get("export", {}).get("outputs", {})
    package = {path.removeprefix("package/"): sha256 for path, sha256 in outputs.items() if path.startswith("package/")}
    return [_file(path, sha256) for path, sha256 in sorted(package.items())]


def _file(path: str, sha256: str) -> Tree:
    return {"type": "file", "name": path, "hashes": [{"alg": "SHA-256", "content": sha256}]}


def _model_card(facts: Facts) -> Tree:
    data = [{"ref": part["bom-ref"]} for part in _data(facts)]
    parameters: Tree = {"approach": {"type": "supervised"}, "task": "text-generation"}
    parameters["architectureFamily"] = "transformer"
    if architecture := facts.raw("base", "base.json", "architecture"):
        parameters["modelArchitecture"] = architecture
    parameters |= {"datasets": data} if data else {}
    parameters |= {"inputs": [{"format": "text, as messages with roles"}], "outputs": [{"format": "text"}]}
    metrics = [_metric(metric) for metric in published_metrics(facts)]
    considerations = _considerations(facts)
    return {
        "modelParameters": parameters,
        **({"quantitativeAnalysis": {"performanceMetrics": metrics}} if metrics else {}),
        **({"considerations": considerations} if considerations else {}),
        **_properties(_recorded_settings(facts)),
    }


def _metric(metric: Metric) -> Tree:
    m = metric.measurement
    tree: Tree = {"type": metric.name, "value": repr(m.value)}
    tree["slice"] = f"{metric.data.name}; {m.count} {m.count_of}"
    if metric.interval:
        low, high = repr(m.spread["ci95_low"]), repr(m.spread["ci95_high"])
        tree["confidenceInterval"] = {"lowerBound": low, "upperBound": high}
    return tree


def _considerations(facts: Facts) -> Tree:
    """The author's words, and the energy of training if it was measured."""
    config = facts.config
    limits = [f"Out of scope: {use}" for use in config.out_of_scope_uses]
    limits += [f"Knowledge cutoff: {config.knowledge_cutoff}"] if config.knowledge_cutoff else []
    measures = {"mitigationStrategy": "; ".join(config.mitigations)} if config.mitigations else {}
    energy = facts.evidence.measurements.get("train.energy_joules")
    considerations = {
        "useCases": list(config.intended_uses),
        "technicalLimitations": limits,
        "ethicalConsiderations": [{"name": risk, **measures} for risk in config.risks],
        "environmentalConsiderations": _properties({energy.id: repr(energy.value)} if energy else {}),
    }
    return {key: value for key, value in considerations.items() if value}


def _recorded_settings(facts: Facts) -> dict[str, str]:
    """How the model was trained and quantized, by measurement id or record and key."""
    measured = [facts.evidence.measurements.get(f"train.{name}") for name in _SETTINGS]
    settings = {m.id: f"{m.value:g}" for m in measured if m is not None}
    parameters = facts.evidence.measurements.get("base.parameters")
    settings |= {parameters.id: f"{parameters.value:.0f}"} if parameters else {}
    for stage, key in (
        ("train", "method"),
        ("train", "framework"),
        ("train", "quantization"),
        ("export", "quantization"),
    ):
        if text := facts.raw(stage, f"{stage}.json", key):
            settings[f"{stage}.{key}"] = text
    return settings


def _data(facts: Facts) -> Iterator[Tree]:
    """The splits of the conversations. Their hashes identify them; they are not published."""
    report = facts.evidence.record("data", "report.json") or {}
    hub = report.get("hub") or {}
    license = report.get("license") or hub.get("license")
    source = report.get("source") or hub.get("address")
    for split in _SPLITS:
        sha256 = facts.evidence.sha256(f"data/{split}.jsonl")
        if sha256 is None:
            continue
        count = facts.evidence.measurements.get(f"data.conversations.{split}")
        description = f"{count.value:.0f} conversations, not published" if count else "Conversations, not published"
        yield {
            "type": "data",
            "bom-ref": f"data-{split}",
            "name": f"{split} split",
            "description": description,
            "hashes": [{"alg": "SHA-256", "content": sha256}],
            **_licenses(License(license, "") if license else None),
            "data": [{"type": "dataset", "name": f"{split}.jsonl", "description": source or description}],
        }


def _encoders(facts: Facts) -> Iterator[Tree]:
    """The encoders that find passages, if the site has any."""
    if not shows_passages(facts):
        return
    for encoder in facts.raw("knowledge", SETTINGS, "encoders") or []:
        name, id, license, weights = (
            required(encoder, key, f"knowledge/{SETTINGS}") for key in ("name", "id", "license", "weights")
        )
        sha256 = facts.evidence.sha256(f"knowledge/answers/{weights}")
        yield {
            "type": "machine-learning-model",
            "bom-ref": f"encoder-{name}",
            "name": id,
            "description": "Encoder with cut vocabulary and 8-bit weights, to find passages",
            **({"hashes": [{"alg": "SHA-256", "content": sha256}]} if sha256 else {}),
            **_licenses(License(license, "")),
            "purl": f"pkg:huggingface/{quote(id)}",
        }


def _runtime_packages(facts: Facts) -> Iterator[Tree]:
    """The JavaScript packages that the page ran with when it was measured."""
    versions: dict[str, str] = {}
    for file in facts.evidence.files("bench", ".json"):
        versions |= (facts.evidence.record("bench", file) or {}).get("runtime") or {}
    for name, version in sorted(versions.items()):
        yield _library("npm", name, version, "required")


def _python_packages(facts: Facts) -> Iterator[Tree]:
    """The Python packages that made the model. None of them ships with it."""
    environments = facts.evidence.environments.values()
    pins = {(name, version) for env in environments for name, version in (env.get("packages") or {}).items()}
    for name, version in sorted(pins):
        yield _library("pypi", name, version, "excluded")


def _library(registry: str, name: str, version: str, scope: str) -> Tree:
    purl = _purl(registry, name, version)
    return {"type": "library", "bom-ref": purl, "name": name, "version": version, "scope": scope, "purl": purl}


def _purl(registry: str, name: str, version: str) -> str:
    """The address of a package in a registry, as a package URL (https://github.com/package-url/purl-spec)."""
    normalized = re.sub(r"[-_.]+", "-", name).lower() if registry == "pypi" else quote(name, safe="/")
    return f"pkg:{registry}/{normalized}@{quote(version, safe='')}"


def _licenses(license: License | None) -> Tree:
    if license is None:
        return {}
    named: Tree = {"id": license.spdx_id} if license.spdx_id else {"name": license.id}
    if is_address(license.link):
        named["url"] = license.link
    return {"licenses": [{"license": {**named, "acknowledgement": "declared"}}]}


def _properties(values: dict[str, str]) -> Tree:
    properties = [{"name": f"tinsmith:{name}", "value": value} for name, value in values.items()]
    return {"properties": properties} if properties else {}
