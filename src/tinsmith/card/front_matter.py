"""The YAML block that model hubs read: licence, base model and evaluation results, from the same facts as the page."""

import re
from typing import Any

from tinsmith.card.facts import Facts
from tinsmith.card.license import license_metadata
from tinsmith.card.metrics import Metric, published_metrics


def front_matter(facts: Facts, title: str) -> str:
    """YAML for the block between the card's `---` lines, with a newline at the end.

    Unknown values are left out; a licence is never assumed. There is no `co2_eq_emissions`: at best the energy was
    measured, and what a kilowatt-hour emits depends on the grid. `base_model_relation` is `finetune` even though the
    package is quantized: its weights were trained, and without the key the Hub infers `quantized` from the ONNX files.
    """
    from huggingface_hub import ModelCardData

    base_id = facts.raw("base", "base.json", "id") or ""
    is_hub_id = re.fullmatch(r"[\w.-]+/[\w.-]+", base_id) is not None
    language = facts.raw("data", "report.json", "language")
    hub_id = facts.raw("data", "report.json", "hub.id")
    results = _eval_results(facts)
    data = ModelCardData(
        language=language or None,
        **license_metadata(facts),
        library_name="transformers.js",
        pipeline_tag="text-generation",
        datasets=list(dict.fromkeys((*([hub_id] if hub_id else ()), *facts.config.datasets))) or None,
        base_model=base_id if is_hub_id else None,
        base_model_relation="finetune" if is_hub_id else None,
        tags=_tags(facts),
        model_name=title if results else None,
        eval_results=results or None,
    )
    return data.to_yaml(line_break="\n") + "\n"


def _tags(facts: Facts) -> list[str]:
    method = facts.raw("train", "train.json", "method")
    tags = ["onnx", "transformers.js", "conversational", "tinsmith"]
    if facts.has("export.weights_bytes"):
        tags.insert(1, "int4")
    return tags + ([method.lower()] if method else [])


def _eval_results(facts: Facts) -> list:
    from huggingface_hub import EvalResult

    return [
        EvalResult(
            task_type=metric.task,
            dataset_type="custom",
            dataset_name=metric.data.name,
            dataset_config=metric.data.config,
            dataset_split=metric.data.split,
            dataset_revision=facts.evidence.sha256(metric.data.file),
            metric_type=metric.type,
            metric_name=metric.name,
            metric_value=metric.value,
            metric_args=_args(metric),
        )
        for metric in published_metrics(facts)
    ]


def _args(metric: Metric) -> dict[str, Any]:
    m = metric.measurement
    args: dict[str, Any] = {"id": m.id, "unit": m.unit, "n": m.count, "n_of": m.count_of}
    if metric.interval:
        args["ci95_low"], args["ci95_high"] = metric.interval
    return {**args, "method": m.method}
